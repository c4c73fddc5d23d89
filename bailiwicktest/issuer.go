// Package bailiwicktest is the kit for testing against Bailiwick: real parts on loopback, in temporary directories.
//
// It owns test issuers and the fixtures that several modules share. It refuses to know production configuration, and nothing but tests may
// import it.
package bailiwicktest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience is the audience of every token that an Issuer makes.
const Audience = "api://temporal"

// Issuer is a token issuer on loopback: discovery document and key set over real HTTP, tokens in the shape of an Okta custom authorization
// server (RS256, header with only alg and kid, uid for people and only cid for services).
type Issuer struct {
	URL string // the tokens' iss, such as http://127.0.0.1:39999/oauth2/default

	server *httptest.Server
	key    *rsa.PrivateKey
	kid    string
	serial atomic.Int64
	down   atomic.Bool

	mu    sync.Mutex        // guards codes
	codes map[string]pledge // authorization codes not yet redeemed
}

// NewIssuer starts an issuer that lives as long as the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("making a signing key: %v", err)
	}
	i := &Issuer{key: key, kid: fmt.Sprintf("test-%x", key.N.Bytes()[:6]), codes: map[string]pledge{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth2/default/.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /oauth2/default/.well-known/oauth-authorization-server", i.discovery)
	mux.HandleFunc("GET /oauth2/default/v1/keys", i.keys)
	mux.HandleFunc("GET /oauth2/default/v1/authorize", i.authorize)
	mux.HandleFunc("POST /oauth2/default/v1/token", i.redeem)
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			http.Error(w, "down for the test", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL + "/oauth2/default"
	return i
}

// SetDown makes every endpoint answer 503, or work again.
func (i *Issuer) SetDown(down bool) { i.down.Store(down) }

// Token makes an access token from the claims given, over defaults that Okta would fill in: ver, jti, iss, aud, iat, exp (one hour), and
// for tokens with a uid auth_time. A claim set to nil is left out.
func (i *Issuer) Token(claims map[string]any) string {
	now := time.Now()
	all := jwt.MapClaims{
		"ver": 1, "jti": fmt.Sprintf("AT.test-%d", i.serial.Add(1)), "iss": i.URL, "aud": Audience,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "cid": "0oatestclient0000001", "scp": []string{"temporal"},
	}
	if _, person := claims["uid"]; person {
		all["auth_time"] = now.Unix()
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return i.sign(all)
}

// User makes the access token of a person: login is the sub, the uid is derived from it.
func (i *Issuer) User(login string, groups ...string) string {
	return i.Token(map[string]any{"sub": login, "uid": UID(login), "groups": groups})
}

// Client makes the access token of a service that acts for itself (client credentials: sub is cid, no uid).
func (i *Issuer) Client(cid string, groups ...string) string {
	claims := map[string]any{"sub": cid, "cid": cid}
	if len(groups) > 0 {
		claims["groups"] = groups
	}
	return i.Token(claims)
}

// UID is the uid that User gives to a login.
func UID(login string) string {
	name, _, _ := strings.Cut(login, "@")
	return "00utest" + name
}

func (i *Issuer) sign(claims jwt.MapClaims) string {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header = map[string]any{"alg": "RS256", "kid": i.kid} // Okta's access tokens have no typ
	raw, err := token.SignedString(i.key)
	if err != nil {
		panic("bailiwicktest: signing a token: " + err.Error()) // an RSA key that was just made cannot fail to sign
	}
	return raw
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer":                                i.URL,
		"authorization_endpoint":                i.URL + "/v1/authorize",
		"token_endpoint":                        i.URL + "/v1/token",
		"jwks_uri":                              i.URL + "/v1/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	b64 := base64.RawURLEncoding.EncodeToString
	writeJSON(w, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": i.kid,
		"n": b64(i.key.N.Bytes()), "e": b64(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nothing to tell it
}
