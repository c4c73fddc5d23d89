package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorsForPeopleAndPrograms: the same problem is told in words, and with --json as one line with a stable code and a fix. That no output
// holds a token or an escape code is checked for every command of every test, in user.run.
func TestErrorsForPeopleAndPrograms(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "dave@acme.example", "erin@acme.example")
	alice, dave, erin := team[0], team[1], team[2]
	stranger := d.newcomer(t, "nobody@acme.example")
	nowhere := &user{login: "nobody@acme.example", home: t.TempDir(), dev: d}
	for _, c := range []struct {
		name string
		who  *user
		args []string
		code int
		err  string   // stable code
		says []string // for people
	}{
		{"not logged in", stranger, []string{"whoami"}, 3, "not_logged_in", []string{"bailiwick login"}},
		{"no environment", nowhere, []string{"login"}, 1, "", []string{"bailiwick dev"}},
		{"read only", alice, []string{"run", "start", "deploy", "--namespace", "payments"}, 3, "no_permission", []string{"write in payments", "temporal:payments:write"}},
		{"forbidden", dave, []string{"run", "start", "deploy", "--namespace", "deploy"}, 3, "forbidden", []string{"Contractors may look but not change anything"}},
		{"no groups", erin, []string{"run", "list", "--namespace", "deploy"}, 3, "no_permission", []string{"read in deploy"}},
		{"unknown namespace", alice, []string{"run", "start", "deploy", "--namespace", "nowhere"}, 0, "", []string{"nowhere"}},
		{"unknown workflow", alice, []string{"run", "show", "no-such-run", "--namespace", "deploy"}, 1, "", []string{"no-such-run"}},
		{"input is not JSON", alice, []string{"run", "start", "deploy", "--input", "{"}, 2, "usage", []string{"--input"}},
		{"control characters", alice, []string{"run", "start", "deploy", "--reason", "two\nlines"}, 1, "bad_request", []string{"control characters"}},
		{"unknown flag", alice, []string{"run", "start", "deploy", "--nosuch"}, 2, "usage", []string{"--nosuch", "--help"}},
		{"unknown command", alice, []string{"rum"}, 2, "usage", []string{"rum"}},
		{"unknown context", alice, []string{"whoami", "--context", "nosuch"}, 1, "", []string{"nosuch", "dev"}},
		{"log that is not there", alice, []string{"audit", "verify", "--log", filepath.Join(d.dir, "nosuch")}, 0, "", []string{"nosuch"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.who.run(t, c.args...)
			if r.code == 0 || c.code != 0 && r.code != c.code {
				t.Errorf("exit code %d, want %d: %v", r.code, c.code, r)
			}
			for _, want := range c.says {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("it does not say %q: %v", want, r)
				}
			}
			j := c.who.run(t, append(c.args, "--json")...)
			var said struct {
				Error, Detail string
			}
			if err := json.Unmarshal([]byte(j.stderr), &said); err != nil || said.Error == "" || said.Detail == "" {
				t.Fatalf("with --json, standard error is not one object with error and detail (%v): %v", err, j)
			}
			if j.code != r.code || c.err != "" && said.Error != c.err {
				t.Errorf("with --json: exit code %d and error %q, want %d and %q", j.code, said.Error, r.code, c.err)
			}
		})
	}
}

// TestJSONOutputs: what --json prints is JSON, and colours never reach a pipe unless asked for.
func TestJSONOutputs(t *testing.T) {
	d := shared(t)
	alice := d.user(t, "alice@acme.example")
	var v any
	alice.json(t, &v, "run", "start", "deploy", "--namespace", "deploy", "--id", "json-1", "--input", `{"service":"x","version":"1","approval":true}`)
	alice.json(t, &v, "run", "update", "json-1", "set-traffic", "--namespace", "deploy", "--input", "10", "--wait")
	alice.json(t, &v, "run", "signal", "json-1", "approve", "--namespace", "deploy")
	alice.json(t, &v, "whoami")
	alice.json(t, &v, "version")
	alice.json(t, &v, "policy", "status")
	alice.json(t, &v, "audit", "verify")
	lines[any](t, alice, "run", "list", "--namespace", "deploy")
	if n := len(lines[any](t, alice, "audit", "tail")); n == 0 {
		t.Error("audit tail --json prints nothing")
	}
	out := alice.ok(t, "policy", "status")
	if got := alice.runEnv(t, []string{"NO_COLOR=1"}, "policy", "status"); got.stdout != out {
		t.Errorf("NO_COLOR changes what goes into a pipe: %q", got.stdout)
	}
}
