package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// TestSigningKeyRotation: when the org changes its signing key, tokens of the new key are accepted without a restart, those of the old one go
// on until they expire, and those of the one before that are refused once the gate has seen that the key is gone.
func TestSigningKeyRotation(t *testing.T) {
	s := newSettings(t, "--no-ui", "--no-worker")
	d := start(t, s)
	alice := d.user(t, "alice@acme.example")
	old := alice.token(t)
	rotate := func() {
		t.Helper()
		url := strings.TrimSuffix(d.context.Issuer, "/oauth2/default") + "/api/v1/authorizationServers/default/credentials/lifecycle/keyRotate"
		req, err := http.NewRequest("POST", url, strings.NewReader(`{"use":"sig"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
		req.Header.Set("Content-Type", "application/json")
		var keys []struct{ Status string }
		ask(t, req, http.StatusOK, &keys)
	}
	if r, ok := describe(t, d, "Bearer "+old); !ok {
		t.Fatalf("before the rotation: %+v", r)
	}
	rotate()
	alice.expire(t)
	fresh := alice.token(t)
	if f := newForger(t, d); keyID(t, fresh) != f.kid {
		t.Fatal("the new token is not signed with the new key, so this test would prove nothing")
	}
	if r, ok := describe(t, d, "Bearer "+fresh); !ok {
		t.Errorf("the first token of the new key is refused: %+v", r)
	}
	if r, ok := describe(t, d, "Bearer "+old); !ok {
		t.Errorf("a token of the retired key is refused, though the org still publishes it: %+v", r)
	}
	rotate()
	alice.expire(t)
	newest := alice.token(t)
	if r, ok := describe(t, d, "Bearer "+newest); !ok {
		t.Errorf("the first token of the newest key is refused: %+v", r)
	}
	// The gate asks for the keys every few minutes, and at most every ten seconds when it meets an unknown one.
	f := newForger(t, d)
	eventually(t, "a token of a key that the org has forgotten is refused", func() string {
		describe(t, d, "Bearer "+f.sign(t, f.key, f.header(map[string]any{"kid": rand.Text()}), f.claims(nil)))
		if r, ok := describe(t, d, "Bearer "+old); ok || r.reason != "token_key_unknown" {
			return fmt.Sprintf("accepted %v, reason %q", ok, r.reason)
		}
		return ""
	})
	if r, ok := describe(t, d, "Bearer "+newest); !ok {
		t.Errorf("a token of the newest key is refused: %+v", r)
	}
	d.stop(t)
}

// keyID reads the kid of a token's header.
func keyID(t *testing.T, token string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	var header struct {
		KID string `json:"kid"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	return header.KID
}
