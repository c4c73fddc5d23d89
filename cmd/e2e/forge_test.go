package e2e

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// forger makes tokens that the org would never issue, signed with the org's own key where a test needs a good signature on a bad token. It
// takes the key out of the org's database, which is how far an attacker would have to get.
type forger struct {
	issuer string
	kid    string
	key    *rsa.PrivateKey
}

func newForger(t testing.TB, d *dev) forger {
	t.Helper()
	s, err := store.Open(context.Background(), filepath.Join(d.state(), "org", "org.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := forger{issuer: d.context.Issuer}
	err = s.View(context.Background(), func(tx *store.Tx) error {
		row, err := tx.SigningKey("default", store.Active)
		if err != nil {
			return err
		}
		key, err := x509.ParsePKCS8PrivateKey(row.PKCS8)
		if err != nil {
			return err
		}
		f.kid, f.key = row.KID, key.(*rsa.PrivateKey)
		return nil
	})
	if err != nil {
		t.Fatalf("reading the org's signing key: %v", err)
	}
	return f
}

// claims are what the org would put into a token for carol, who may do everything, with changes over them; a nil value removes a claim.
func (f forger) claims(changes map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"ver": 1, "jti": "AT." + rand.Text(), "iss": f.issuer, "aud": "api://temporal", "sub": "carol@acme.example", "uid": "00ucarol000000000001",
		"cid": "0oabailiwickcli00001", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "auth_time": now.Unix(),
		"scp": []string{"openid", "temporal"}, "groups": []string{"temporal:deploy:admin"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (f forger) header(changes map[string]any) map[string]any {
	h := map[string]any{"alg": "RS256", "kid": f.kid}
	maps.Copy(h, changes)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return h
}

// sign makes an RS256 token with the key given.
func (f forger) sign(t testing.TB, key *rsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	input := compact(t, header) + "." + compact(t, claims)
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// hmac makes an HS256 token whose secret is the org's public key in PEM: what a verifier that lets the token choose the algorithm accepts.
func (f forger) hmac(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	input := compact(t, f.header(map[string]any{"alg": "HS256"})) + "." + compact(t, f.claims(nil))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func compact(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
