package e2e

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// What set-up makes works: a person logs in through it, a worker gets tokens with the key that was made for it, a gate that is configured as it says accepts both and nobody else, and the
// doctor agrees. The second run changes nothing.
func TestOktaSetup(t *testing.T) {
	d := shared(t)
	u := d.newcomer(t, "alice@acme.example")
	dir := filepath.Join(u.home, "okta")
	type client struct {
		Name     string   `json:"name"`
		ClientID string   `json:"client_id"`
		KeyFile  string   `json:"key_file"`
		KeyID    string   `json:"key_id"`
		TokenURL string   `json:"token_url"`
		Scopes   []string `json:"scopes"`
	}
	type outcome struct {
		Done   int `json:"done"`
		Result struct {
			Issuer   string            `json:"issuer"`
			Issuers  []identity.Issuer `json:"issuers"`
			CLI      client            `json:"cli"`
			Services []client          `json:"services"`
		} `json:"result"`
	}
	setup := []string{"okta", "setup", "--dev", "--name", "e2e", "--namespace", "payments", "--worker", "deploy", "--rotation", "--membership", "--out", dir, "--yes"}
	var first, second outcome
	u.json(t, &first, setup...)
	u.json(t, &second, setup...)
	if first.Done < 20 || second.Done != 0 || len(first.Result.Services) != 2 {
		t.Fatalf("%d done, then %d; %+v", first.Done, second.Done, first.Result)
	}
	var checked struct {
		OK bool `json:"ok"`
	}
	if u.json(t, &checked, "okta", "doctor", "--dev", "--config", filepath.Join(dir, "okta.json")); !checked.OK {
		t.Error("the doctor finds something wrong")
	}

	verifier, err := identity.NewVerifier(identity.Config{Issuers: first.Result.Issuers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = verifier.Close() })
	if err := u.signIn("--context", "e2e", "--issuer", first.Result.Issuer, "--client-id", first.Result.CLI.ClientID, "--address", d.context.Address); err != nil {
		t.Fatal(err)
	}
	tok, err := readTokens(filepath.Join(u.home, "temporal.toml"))
	if err != nil {
		t.Fatal(err)
	}
	who, err := verifier.Verify(t.Context(), identity.ParseUnverified(tok.Access))
	if err != nil {
		t.Fatal(err)
	}
	if c := who.Claims(); c.Login != "alice@acme.example" || !slices.Contains(c.Groups, "temporal:payments:read") || slices.Contains(c.Groups, "Everyone") {
		t.Errorf("%+v", c)
	}

	w := first.Result.Services[slices.IndexFunc(first.Result.Services, func(c client) bool { return c.Name == "worker-deploy" })]
	worker := func(scope string) (string, error) {
		credentials, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: w.TokenURL, ClientID: w.ClientID, PrivateKeyFile: w.KeyFile, KeyID: w.KeyID, Scopes: []string{scope}})
		if err != nil {
			return "", err
		}
		return credentials.Token(t.Context())
	}
	raw, err := worker(w.Scopes[0])
	if err != nil {
		t.Fatal(err)
	}
	secrets.add("the worker's access token", raw)
	if service, err := verifier.Verify(t.Context(), identity.ParseUnverified(raw)); err != nil || service.Claims().ClientID != w.ClientID || service.Claims().Kind != identity.Client {
		t.Errorf("%v, %v", service.Claims(), err)
	}
	if _, err := worker("temporal"); err == nil {
		t.Error("a worker got a token with people's scope: no rule of its policy says so")
	}
	// Somebody with the same roles, by another authorization server of the same org.
	other := d.user(t, "bob@acme.example").token(t)
	if _, err := verifier.Verify(t.Context(), identity.ParseUnverified(other)); err == nil {
		t.Error("a token of another authorization server is accepted")
	}
}
