package main

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
)

// oktaServers is Okta's API of authorization servers, as rotations know it.
type oktaServers struct{ client *okta.Client }

func (o oktaServers) Signing(ctx context.Context, server string) (out rotation.Signing, err error) {
	is, err := o.client.AuthServer(ctx, server)
	if err != nil {
		return out, oktaFault(err)
	}
	keys, err := o.client.SigningKeys(ctx, server)
	if err != nil {
		return out, oktaFault(err)
	}
	out.Mode, out.LastRotated = is.Credentials.Signing.RotationMode, is.Credentials.Signing.LastRotated
	for _, k := range keys {
		if k.KeyID == "" || k.Kty != "RSA" || k.N == "" {
			return out, &rotation.Fault{Code: "okta_malformed", Detail: "Okta lists a key that is no RSA key with an id", Next: "look at the authorization server in Okta's admin console", Passing: true}
		}
		jwk, err := json.Marshal(struct {
			Kty string `json:"kty"`
			KID string `json:"kid"`
			Alg string `json:"alg,omitempty"`
			N   string `json:"n"`
			E   string `json:"e"`
		}{k.Kty, k.KeyID, k.Alg, k.N, k.E})
		if err != nil {
			return out, err
		}
		out.Keys = append(out.Keys, rotation.Key{ID: k.KeyID, Status: k.Status, JWK: string(jwk)})
	}
	return out, nil
}

func (o oktaServers) SetManual(ctx context.Context, server string) error {
	_, err := o.client.SetRotationMode(ctx, server, "MANUAL")
	return oktaFault(err)
}

func (o oktaServers) Rotate(ctx context.Context, server string) error {
	_, err := o.client.RotateSigningKeys(ctx, server)
	return oktaFault(err)
}

// oktaApps is Okta's API of clients' credentials, as rotations know it.
type oktaApps struct{ client *okta.Client }

func (o oktaApps) Keys(ctx context.Context, app string) (out []rotation.Credential, err error) {
	keys, err := o.client.ClientKeys(ctx, app)
	for _, k := range keys {
		out = append(out, rotation.Credential{ID: k.ID, KID: k.KeyID, N: k.N, Active: k.Status == "ACTIVE", Created: k.Created})
	}
	return out, oktaFault(err)
}

func (o oktaApps) AddKey(ctx context.Context, app, kid string, public *rsa.PublicKey) error {
	_, err := o.client.AddClientKey(ctx, app, kid, public)
	return oktaFault(err)
}

func (o oktaApps) RemoveKey(ctx context.Context, app, id string) error {
	return removed(o.client.DeactivateClientKey(ctx, app, id), func() error { return o.client.DeleteClientKey(ctx, app, id) })
}

func (o oktaApps) Secrets(ctx context.Context, app string) (out []rotation.Credential, err error) {
	secrets, err := o.client.ClientSecrets(ctx, app)
	for _, s := range secrets {
		out = append(out, rotation.Credential{ID: s.ID, Active: s.Status == "ACTIVE", Created: s.Created})
	}
	return out, oktaFault(err)
}

func (o oktaApps) AddSecret(ctx context.Context, app, secret string) error {
	_, err := o.client.AddClientSecret(ctx, app, secret)
	return oktaFault(err)
}

func (o oktaApps) RemoveSecret(ctx context.Context, app, id string) error {
	return removed(o.client.DeactivateClientSecret(ctx, app, id), func() error { return o.client.DeleteClientSecret(ctx, app, id) })
}

// removed deletes what was deactivated. What is gone already is as good.
func removed(deactivated error, remove func() error) error {
	if okta.IsNotFound(deactivated) {
		return nil
	}
	if deactivated != nil {
		return oktaFault(deactivated)
	}
	if err := remove(); !okta.IsNotFound(err) {
		return oktaFault(err)
	}
	return nil
}

// oktaFault says which of Okta's refusals may pass, and what an operator can do about the others.
func oktaFault(err error) error {
	var refused *okta.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case okta.IsRateLimited(err):
		f := &rotation.Fault{Code: "okta_rate_limited", Detail: "Okta's rate limit is used up", Next: "wait; if it stays so, see who uses it in Okta's rate limit dashboard", Passing: true, Err: err}
		if errors.As(err, &refused) && !refused.Reset.IsZero() {
			f.After = min(max(time.Until(refused.Reset), time.Second), time.Minute)
		}
		return f
	case okta.IsForbidden(err):
		return &rotation.Fault{Code: "okta_forbidden", Detail: "Okta does not let the control plane's service app do this", Err: err,
			Next: "grant it okta.authorizationServers.manage and okta.apps.manage and an admin role that reaches them, then rotate again"}
	case errors.As(err, &refused) && refused.Status == 400 && (refused.Code == "consent_required" || refused.Code == "invalid_scope" || refused.Code == "unauthorized_client" || refused.Code == "invalid_client"):
		return &rotation.Fault{Code: "okta_forbidden", Detail: "Okta gives the control plane's service app no token", Err: err,
			Next: "see that the app is active, its key registered, and okta.authorizationServers.manage and okta.apps.manage granted; then rotate again"}
	case okta.IsNotFound(err):
		return &rotation.Fault{Code: "okta_unknown", Detail: "Okta knows no such authorization server, app or credential", Next: "see that the ids in the settings are this org's", Err: err}
	case okta.IsBadRequest(err):
		return &rotation.Fault{Code: "okta_refused", Detail: "Okta refuses it", Next: "Okta says why; correct it and rotate again", Err: err}
	}
	return &rotation.Fault{Code: "okta_unavailable", Detail: "Okta does not answer as it should", Next: "it is tried again for a while; see Okta's status page", Passing: true, Err: err}
}
