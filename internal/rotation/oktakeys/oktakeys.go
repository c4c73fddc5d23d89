// Package oktakeys is Okta's API of keys and credentials as rotations know it.
//
// It owns which of Okta's refusals may pass, and what an operator can do about the others. It refuses to know when and in which order keys are replaced.
package oktakeys

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
)

// Servers is Okta's API of authorization servers, as rotations know it.
type Servers struct{ Client *okta.Client }

// Signing implements rotation.Servers.
func (o Servers) Signing(ctx context.Context, server string) (out rotation.Signing, err error) {
	is, err := o.Client.AuthServer(ctx, server)
	if err != nil {
		return out, fault(err)
	}
	keys, err := o.Client.SigningKeys(ctx, server)
	if err != nil {
		return out, fault(err)
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

// SetManual implements rotation.Servers.
func (o Servers) SetManual(ctx context.Context, server string) error {
	_, err := o.Client.SetRotationMode(ctx, server, "MANUAL")
	return fault(err)
}

// Rotate implements rotation.Servers.
func (o Servers) Rotate(ctx context.Context, server string) error {
	_, err := o.Client.RotateSigningKeys(ctx, server)
	return fault(err)
}

// Apps is Okta's API of clients' credentials, as rotations know it.
type Apps struct{ Client *okta.Client }

// Keys implements rotation.Apps.
func (o Apps) Keys(ctx context.Context, app string) (out []rotation.Credential, err error) {
	keys, err := o.Client.ClientKeys(ctx, app)
	for _, k := range keys {
		out = append(out, rotation.Credential{ID: k.ID, KID: k.KeyID, N: k.N, Active: k.Status == "ACTIVE", Created: k.Created})
	}
	return out, fault(err)
}

// AddKey implements rotation.Apps.
func (o Apps) AddKey(ctx context.Context, app, kid string, public *rsa.PublicKey) error {
	_, err := o.Client.AddClientKey(ctx, app, kid, public)
	return fault(err)
}

// RemoveKey implements rotation.Apps.
func (o Apps) RemoveKey(ctx context.Context, app, id string) error {
	return removed(o.Client.DeactivateClientKey(ctx, app, id), func() error { return o.Client.DeleteClientKey(ctx, app, id) })
}

// Secrets implements rotation.Apps.
func (o Apps) Secrets(ctx context.Context, app string) (out []rotation.Credential, err error) {
	secrets, err := o.Client.ClientSecrets(ctx, app)
	for _, s := range secrets {
		out = append(out, rotation.Credential{ID: s.ID, Active: s.Status == "ACTIVE", Created: s.Created})
	}
	return out, fault(err)
}

// AddSecret implements rotation.Apps.
func (o Apps) AddSecret(ctx context.Context, app, secret string) error {
	_, err := o.Client.AddClientSecret(ctx, app, secret)
	return fault(err)
}

// RemoveSecret implements rotation.Apps.
func (o Apps) RemoveSecret(ctx context.Context, app, id string) error {
	return removed(o.Client.DeactivateClientSecret(ctx, app, id), func() error { return o.Client.DeleteClientSecret(ctx, app, id) })
}

// removed deletes what was deactivated. What is gone already is as good.
func removed(deactivated error, remove func() error) error {
	if okta.IsNotFound(deactivated) {
		return nil
	}
	if deactivated != nil {
		return fault(deactivated)
	}
	if err := remove(); !okta.IsNotFound(err) {
		return fault(err)
	}
	return nil
}

// fault says which of Okta's refusals may pass, and what an operator can do about the others.
func fault(err error) error {
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
