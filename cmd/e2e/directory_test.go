package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// okta calls the development org's management API as its operator.
func okta(t *testing.T, d *dev, method, path, body string, into any) {
	t.Helper()
	org, err := url.Parse(d.context.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, org.Scheme+"://"+org.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s %v", method, path, res.Status, raw, err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGroupsBeyondTheToken: tokens carry no groups at all; gates look them up, a removal counts at once, and when nobody can tell, nothing opens.
func TestGroupsBeyondTheToken(t *testing.T) {
	d := start(t, newSettings(t, "--no-ui", "--no-worker", "--groups", "lookup"))
	defer d.stop(t)
	var claims []map[string]any
	okta(t, d, http.MethodGet, "/api/v1/authorizationServers/default/claims", "", &claims)
	for _, c := range claims {
		if c["valueType"] != "GROUPS" {
			continue
		}
		c["status"] = "INACTIVE"
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		okta(t, d, http.MethodPut, "/api/v1/authorizationServers/default/claims/"+c["id"].(string), string(raw), nil)
	}
	users := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := users[0], users[1]
	token := alice.token(t)
	if raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1]); err != nil || strings.Contains(string(raw), "temporal:deploy") {
		t.Fatalf("the token carries groups, so that the test proves nothing: %s %v", raw, err)
	}
	token = "Bearer " + token
	works := func() string {
		if r, ok := describe(t, d, token); !ok {
			return r.reason
		}
		return ""
	}
	soon(t, "from a token without groups to an answer", 30*time.Second, func() bool { return works() == "" })

	carol.ok(t, "dev", "people", "remove-group", "alice@acme.example", "temporal:deploy:write")
	soon(t, "from the removal of her group to the refusal, although it was remembered", 30*time.Second, func() bool { return works() == "no_permission" })
	carol.ok(t, "dev", "people", "add-group", "alice@acme.example", "temporal:deploy:write")
	soon(t, "from being a member again to an answer", 90*time.Second, func() bool { return works() == "" })

	var s struct {
		Users, Groups int
		AsOf          time.Time `json:"as_of"`
		Error         string
	}
	carol.json(t, &s, "directory", "sync", "--full", "--wait", "2m")
	if s.Users == 0 || s.Groups == 0 || s.AsOf.IsZero() || s.Error != "" {
		t.Errorf("after a full sync: %+v", s)
	}
	var shown struct {
		User   struct{ Login, Status string }
		Groups []struct{ Name string }
	}
	carol.json(t, &shown, "directory", "show", "alice@acme.example")
	if shown.User.Status != "ACTIVE" || len(shown.Groups) == 0 {
		t.Errorf("%+v", shown)
	}
	if r := alice.run(t, "directory", "show", "carol@acme.example"); r.code == 0 {
		t.Error("whoever may not read the log sees people")
	}
}
