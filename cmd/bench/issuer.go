package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const audience = "api://temporal"

// issuer signs tokens that both Bailiwick and Temporal's stock mapper accept, and is the stock mapper's key provider.
type issuer struct {
	*httptest.Server
	key    *rsa.PrivateKey
	serial int
}

func newIssuer() (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	answer := func(v func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v()) // the verifier reports what it misses
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", answer(func() any {
		return map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	}))
	mux.HandleFunc("GET /keys", answer(func() any {
		b64 := base64.RawURLEncoding.EncodeToString
		return map[string]any{"keys": []map[string]string{{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1",
			"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}}}
	}))
	i.Server = httptest.NewServer(mux)
	return i, nil
}

func (i *issuer) token() string { return i.tokenOf("00ualice000000000001") }

// tokenOf is one of somebody else, alike in all but the uid.
func (i *issuer) tokenOf(uid string) string {
	i.serial++
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"ver": 1, "jti": fmt.Sprintf("AT.bench-%d", i.serial), "iss": i.URL, "aud": audience, "sub": "alice@acme.example", "uid": uid,
		"cid": "0oabailiwickcli00001", "scp": []string{"openid", "temporal"}, "auth_time": now.Unix(), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"groups": []string{"temporal:deploy:write", "temporal:payments:read"}, "permissions": []string{"deploy:write", "payments:read"},
	})
	t.Header = map[string]any{"alg": "RS256", "kid": "k1"}
	raw, err := t.SignedString(i.key)
	if err != nil {
		panic("bench: signing a token: " + err.Error()) // a key that was just made cannot fail to sign
	}
	return raw
}

// signatureAndJSON is the least that any verifier must do: one RSA verification and one decode of the claims.
func (i *issuer) signatureAndJSON(raw string) error {
	last := strings.LastIndexByte(raw, '.')
	signature, err := base64.RawURLEncoding.DecodeString(raw[last+1:])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(raw[:last]))
	if err := rsa.VerifyPKCS1v15(&i.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return err
	}
	payload, err := base64.RawURLEncoding.DecodeString(raw[strings.IndexByte(raw, '.')+1 : last])
	if err != nil {
		return err
	}
	var claims struct {
		JTI, Iss, Aud, Sub, UID, CID string
		Scp, Groups                  []string
		AuthTime                     int64 `json:"auth_time"`
		Iat, Exp                     int64
	}
	return json.Unmarshal(payload, &claims)
}

// The stock mapper's key provider: keys at hand, no network, which favours the baseline.

func (i *issuer) RsaKey(string, string) (*rsa.PublicKey, error) { return &i.key.PublicKey, nil }
func (i *issuer) EcdsaKey(string, string) (*ecdsa.PublicKey, error) {
	return nil, errors.New("no such key")
}
func (i *issuer) HmacKey(string, string) ([]byte, error) { return nil, errors.New("no such key") }
func (i *issuer) SupportedMethods() []string             { return []string{"RS256"} }
