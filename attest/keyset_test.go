package attest_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	encpem "encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// The key and thumbprint of RFC 8037 appendix A.3.
func TestThumbprintOfRFC8037(t *testing.T) {
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	if got := attest.Thumbprint(x); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint %s", got)
	}
}

func TestKeySetRoundTripAndMerge(t *testing.T) {
	a, b := attest.NewSigner(fixedKey("a")), attest.NewSigner(fixedKey("b"))
	both := a.PublicKeySet().Merge(b.PublicKeySet())
	retired := both.Retire(a.KeyID(), typical().IssuedAt)
	parsed, err := attest.ParseKeySet(retired.JSON())
	if err != nil {
		t.Fatal(err)
	}
	if !parsed.Equal(retired) || parsed.Equal(both) || parsed.Len() != 2 {
		t.Errorf("read %s, wrote %s", parsed.JSON(), retired.JSON())
	}
	if merged := both.Merge(retired); !merged.Equal(retired) {
		t.Errorf("the second set's validity does not count: %s", merged.JSON())
	}
	for _, s := range []*attest.Signer{a, b} {
		if _, err := parsed.Verify(mustSign(t, s, typical()), audience); err != nil {
			t.Error(err)
		}
	}
	if got := string(attest.KeySet{}.JSON()); got != `{"keys":[]}` {
		t.Errorf("empty set: %s", got)
	}
}

func TestParseKeySetRefuses(t *testing.T) {
	s := attest.NewSigner(fixedKey("a"))
	good := string(s.PublicKeySet().JSON())
	one := strings.TrimSuffix(strings.TrimPrefix(good, `{"keys":[`), `]}`)
	x := base64.RawURLEncoding.EncodeToString(fixedKey("a").Public().(ed25519.PublicKey))
	for name, doc := range map[string]string{
		"HTML":               "<html>",
		"empty":              "",
		"no keys":            `{"keys":[]}`,
		"only an RSA key":    `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"x"}]}`,
		"same key twice":     `{"keys":[` + one + `,` + one + `]}`,
		"private":            strings.Replace(good, `"kty"`, `"d":"AAAA","kty"`, 1),
		"for encryption":     strings.Replace(good, `"use":"sig"`, `"use":"enc"`, 1),
		"other algorithm":    strings.Replace(good, `"alg":"EdDSA"`, `"alg":"RS256"`, 1),
		"kid not its own":    strings.Replace(good, s.KeyID(), "some-other-name", 1),
		"short x":            strings.Replace(good, x, x[:10], 1),
		"non-canonical x":    strings.Replace(good, x, x[:42]+"_", 1),
		"validity backwards": strings.Replace(good, `"kty"`, `"nbf":20,"exp":10,"kty"`, 1),
		"too large":          `{"keys":[` + one + `],"pad":"` + strings.Repeat("x", 1<<20) + `"}`,
		"too many":           `{"keys":[` + one + strings.Repeat(`,{"kty":"RSA"}`, 300) + `]}`,
		"keys not objects":   `{"keys":[1]}`,
	} {
		if set, err := attest.ParseKeySet([]byte(doc)); err == nil {
			t.Errorf("%s: accepted as %s", name, set.JSON())
		} else if set.Len() != 0 {
			t.Errorf("%s: an error and %d keys", name, set.Len())
		}
	}
	mixed, err := attest.ParseKeySet([]byte(`{"keys":[{"kty":"RSA","kid":"r"},` + one + `],"extra":1}`))
	if err != nil || mixed.Len() != 1 {
		t.Errorf("a key of another type beside ours: %d keys, %v", mixed.Len(), err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attestation.key")
	// Processes that start together must agree on one key.
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			s, err := attest.LoadOrCreateSigner(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = s.KeyID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("key ids %v", ids)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".attestation-key-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
}

func TestKeyFileErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := filepath.Join(dir, "good.key")
	if _, err := attest.LoadOrCreateSigner(good); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	// An X25519 key: well-formed PKCS#8, but not for signing.
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(exchange)
	if err != nil {
		t.Fatal(err)
	}
	x25519 := string(encpem.EncodeToMemory(&encpem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for _, c := range []struct{ path, want string }{
		{write("wide.key", string(pem), 0o644), "chmod 600"},
		{write("empty.key", "", 0o600), "PEM"},
		{write("torn.key", string(pem[:len(pem)/2]), 0o600), "PEM"},
		{write("two.key", string(pem)+string(pem), 0o600), "PEM"},
		{write("x25519.key", x25519, 0o600), "not an Ed25519 key"},
		{filepath.Join(dir, "nowhere", "a.key"), "creating attestation key"},
		{dir, "reading attestation key"},
	} {
		_, err := attest.LoadOrCreateSigner(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", filepath.Base(c.path), err, c.want)
		}
	}
}
