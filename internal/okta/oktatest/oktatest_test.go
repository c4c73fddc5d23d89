package oktatest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/okta/oktatest"
)

func TestDevelopmentOrg(t *testing.T) {
	base, _ := orgtest.Start(t, devorg.Config{Seed: devorg.Acme()})
	admin, err := okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken)})
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := admin.AddClientKey(t.Context(), devorg.ManagementClient, "k1", &key.PublicKey); err != nil || k.Status != "ACTIVE" || k.KeyID != "k1" {
		t.Fatalf("%+v, %v", k, err)
	}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"verification": r.Header.Get("X-Okta-Verification-Challenge")})
	}))
	t.Cleanup(echo.Close)
	oktatest.Run(t, oktatest.Org{Client: oktatest.ServiceClient(t, base, devorg.ManagementClient, "k1", key), HookURI: echo.URL, AuthServer: "default", App: devorg.ManagementClient})
}

func TestRealOrg(t *testing.T) { oktatest.Run(t, oktatest.FromEnvironment(t)) }
