package okta

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// AuthServer is a custom authorization server.
type AuthServer struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Audiences   []string `json:"audiences"`
	Issuer      string   `json:"issuer"`
	Status      string   `json:"status"`
	Credentials struct {
		Signing struct {
			RotationMode string    `json:"rotationMode"` // AUTO or MANUAL
			LastRotated  time.Time `json:"lastRotated"`
			NextRotation time.Time `json:"nextRotation"` // zero in MANUAL
			KeyID        string    `json:"kid"`
		} `json:"signing"`
	} `json:"credentials"`
}

// SigningKey is a public key of an authorization server.
type SigningKey struct {
	KeyID   string    `json:"kid"`
	Status  string    `json:"status"` // ACTIVE signs, NEXT will, EXPIRED has
	Kty     string    `json:"kty"`
	Alg     string    `json:"alg"`
	Use     string    `json:"use"`
	E       string    `json:"e"`
	N       string    `json:"n"`
	Created time.Time `json:"created"`
}

// AuthServers yields the custom authorization servers.
func (c *Client) AuthServers(ctx context.Context) iter.Seq2[AuthServer, error] {
	return pages[AuthServer](ctx, c, "/api/v1/authorizationServers", url.Values{"limit": {"200"}})
}

// AuthServer finds one by id.
func (c *Client) AuthServer(ctx context.Context, id string) (a AuthServer, err error) {
	_, err = c.do(ctx, http.MethodGet, serverPath(id, ""), nil, nil, &a)
	return a, err
}

// SetRotationMode chooses who rotates the server's signing keys: "AUTO" is Okta, "MANUAL" whoever calls RotateSigningKeys. What else the server is
// stays as it is.
func (c *Client) SetRotationMode(ctx context.Context, id, mode string) (a AuthServer, err error) {
	var now map[string]json.RawMessage // whatever fields there are go back as they came
	if _, err = c.do(ctx, http.MethodGet, serverPath(id, ""), nil, nil, &now); err != nil {
		return a, err
	}
	in := map[string]any{"credentials": map[string]any{"signing": map[string]string{"rotationMode": mode}}}
	for _, name := range []string{"name", "description", "audiences", "issuerMode"} {
		if raw, has := now[name]; has {
			in[name] = raw
		}
	}
	_, err = c.do(ctx, http.MethodPut, serverPath(id, ""), nil, in, &a)
	return a, err
}

// SigningKeys lists a server's keys: ACTIVE, NEXT and EXPIRED.
func (c *Client) SigningKeys(ctx context.Context, id string) (keys []SigningKey, err error) {
	_, err = c.do(ctx, http.MethodGet, serverPath(id, "/credentials/keys"), nil, nil, &keys)
	return keys, err
}

// RotateSigningKeys makes NEXT the ACTIVE key, and returns the keys as they are then. It is not sent twice: each rotates.
func (c *Client) RotateSigningKeys(ctx context.Context, id string) (keys []SigningKey, err error) {
	_, err = c.do(ctx, http.MethodPost, serverPath(id, "/credentials/lifecycle/keyRotate"), nil, map[string]string{"use": "sig"}, &keys)
	return keys, err
}

func serverPath(id, rest string) string {
	return "/api/v1/authorizationServers/" + url.PathEscape(id) + rest
}
