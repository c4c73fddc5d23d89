package okta

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"net/http"
	"net/url"
	"time"
)

// App is an OAuth client of the org.
type App struct {
	ID          string `json:"id"` // also its client id
	Label       string `json:"label"`
	Status      string `json:"status"` // ACTIVE or INACTIVE
	Credentials struct {
		OAuth struct {
			ClientID   string `json:"client_id"`
			AuthMethod string `json:"token_endpoint_auth_method"`
		} `json:"oauthClient"`
	} `json:"credentials"`
}

// ClientKey is a public key by which a client proves itself (private_key_jwt).
type ClientKey struct {
	ID      string    `json:"id"`
	KeyID   string    `json:"kid"`
	Status  string    `json:"status"` // ACTIVE or INACTIVE
	N       string    `json:"n"`      // modulus
	E       string    `json:"e"`
	Created time.Time `json:"created"`
}

// ClientSecret is a client's secret. Do not log its value.
type ClientSecret struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Value   string    `json:"client_secret"`
	Hash    string    `json:"secret_hash"`
	Created time.Time `json:"created"`
}

// Format keeps the secret out of whatever prints it.
func (s ClientSecret) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "secret %s (%s)", s.ID, s.Status) }

// Apps yields the apps whose label begins with prefix.
func (c *Client) Apps(ctx context.Context, prefix string) iter.Seq2[App, error] {
	q := url.Values{"limit": {"200"}}
	if prefix != "" {
		q.Set("q", prefix)
	}
	return pages[App](ctx, c, "/api/v1/apps", q)
}

// App finds one by id.
func (c *Client) App(ctx context.Context, id string) (a App, err error) {
	_, err = c.do(ctx, http.MethodGet, appPath(id, ""), nil, nil, &a)
	return a, err
}

// GrantedScopes lists the scopes of this API that an app may ask for.
func (c *Client) GrantedScopes(ctx context.Context, app string) (scopes []string, err error) {
	for g, err := range pages[struct {
		Scope string `json:"scopeId"`
	}](ctx, c, appPath(app, "/grants"), nil) {
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, g.Scope)
	}
	return scopes, nil
}

// GrantScope lets an app ask for a scope of this API.
func (c *Client) GrantScope(ctx context.Context, app, scope string) error {
	_, err := c.do(ctx, http.MethodPost, appPath(app, "/grants"), nil, map[string]string{"scopeId": scope, "issuer": c.URL()}, nil)
	return err
}

// ClientKeys lists a client's keys.
func (c *Client) ClientKeys(ctx context.Context, app string) ([]ClientKey, error) {
	var raw json.RawMessage
	if _, err := c.do(ctx, http.MethodGet, appPath(app, "/credentials/jwks"), nil, nil, &raw); err != nil {
		return nil, err
	}
	return parseClientKeys(raw)
}

// parseClientKeys reads the three forms in which orgs answer: an array, a JWK set, and one inside {"jwks"}.
func parseClientKeys(raw []byte) (keys []ClientKey, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		err = json.Unmarshal(raw, &keys)
	} else {
		var set struct {
			Keys []ClientKey `json:"keys"`
			JWKS struct {
				Keys []ClientKey `json:"keys"`
			} `json:"jwks"`
		}
		if err = json.Unmarshal(raw, &set); err == nil {
			keys = append(set.Keys, set.JWKS.Keys...)
		}
	}
	if err != nil {
		return nil, errors.New("okta: the list of a client's keys is of no known form")
	}
	return keys, nil
}

// AddClientKey registers a key's public half under a key id.
func (c *Client) AddClientKey(ctx context.Context, app, keyID string, key *rsa.PublicKey) (k ClientKey, err error) {
	b64 := base64.RawURLEncoding.EncodeToString
	jwk := map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": keyID, "status": "ACTIVE", "e": b64(big.NewInt(int64(key.E)).Bytes()), "n": b64(key.N.Bytes())}
	_, err = c.do(ctx, http.MethodPost, appPath(app, "/credentials/jwks"), nil, jwk, &k)
	return k, err
}

// ActivateClientKey lets the key count again.
func (c *Client) ActivateClientKey(ctx context.Context, app, id string) error {
	return c.step(ctx, appPath(app, "/credentials/jwks/"+url.PathEscape(id)+"/lifecycle/activate"))
}

// DeactivateClientKey lets the key count no more.
func (c *Client) DeactivateClientKey(ctx context.Context, app, id string) error {
	return c.step(ctx, appPath(app, "/credentials/jwks/"+url.PathEscape(id)+"/lifecycle/deactivate"))
}

// DeleteClientKey removes an inactive key.
func (c *Client) DeleteClientKey(ctx context.Context, app, id string) error {
	_, err := c.do(ctx, http.MethodDelete, appPath(app, "/credentials/jwks/"+url.PathEscape(id)), nil, nil, nil)
	return err
}

// ClientSecrets lists a client's secrets: one, or two while they are exchanged.
func (c *Client) ClientSecrets(ctx context.Context, app string) (secrets []ClientSecret, err error) {
	_, err = c.do(ctx, http.MethodGet, appPath(app, "/credentials/secrets"), nil, nil, &secrets)
	return secrets, err
}

// AddClientSecret gives a client a second secret, active at once: the value, or one that Okta draws when it is empty.
func (c *Client) AddClientSecret(ctx context.Context, app, value string) (s ClientSecret, err error) {
	in := map[string]string{}
	if value != "" {
		in["client_secret"] = value
	}
	_, err = c.do(ctx, http.MethodPost, appPath(app, "/credentials/secrets"), nil, in, &s)
	return s, err
}

// DeactivateClientSecret lets a secret count no more. Okta refuses it for the only active one.
func (c *Client) DeactivateClientSecret(ctx context.Context, app, id string) error {
	return c.step(ctx, appPath(app, "/credentials/secrets/"+url.PathEscape(id)+"/lifecycle/deactivate"))
}

// DeleteClientSecret removes an inactive secret.
func (c *Client) DeleteClientSecret(ctx context.Context, app, id string) error {
	_, err := c.do(ctx, http.MethodDelete, appPath(app, "/credentials/secrets/"+url.PathEscape(id)), nil, nil, nil)
	return err
}

// step is a POST without a body that does nothing when it is done already.
func (c *Client) step(ctx context.Context, path string) error {
	_, err := c.do(ctx, http.MethodPost, path, nil, nil, nil)
	return err
}

func appPath(id, rest string) string { return "/api/v1/apps/" + url.PathEscape(id) + rest }
