package main

import (
	"path/filepath"
	"testing"
	"time"
)

// While the org is down, in whichever way, who has a valid token goes on, who was barred stays out whatever an event says, and who lost access meanwhile is
// refused when it is back, though nothing but its log is left to tell.
func TestOrgDownOnALaptop(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	r := startDev(t, "--state", filepath.Join(t.TempDir(), "state"), "--ports", "auto")
	r.await(t)
	const alice, bob, erin = "alice@acme.example", "bob@acme.example", "erin@acme.example"
	ofBob := accessToken(t, r.ready.Issuer, bob)
	before := refusal(t, r.ready.Control, ofBob)
	is := func(token, code string) func() bool {
		return func() bool { return refusal(t, r.ready.Control, token) == code }
	}
	for name, faults := range map[string][][]string{
		"5xx":       {{"okta", "--status", "503"}, {"keys", "--status", "503"}},
		"malformed": {{"okta", "--malformed"}, {"keys", "--malformed"}},
		"slow":      {{"okta", "--slow", "30s"}, {"keys", "--slow", "30s"}},
	} {
		t.Run(name, func(t *testing.T) {
			down := func(more ...[]string) {
				t.Helper()
				for _, f := range append(more, faults...) {
					command(t, append([]string{"dev", "chaos", "--for", "10m"}, f...)...)
				}
			}
			ofErin, ofAlice := accessToken(t, r.ready.Issuer, erin), accessToken(t, r.ready.Issuer, alice)
			// Barred before, restored meanwhile: the event alone opens nothing. A sign-in is needed, so the rest of the org goes down only after it.
			command(t, "dev", "people", "suspend", alice)
			eventually(t, "who was suspended to be refused", is(ofAlice, "revoked"))
			command(t, "dev", "chaos", "users", "--status", "503", "--for", "10m")
			command(t, "dev", "people", "restore", alice)
			time.Sleep(time.Second) // tokens say in whole seconds when they were issued
			ofAlice = accessToken(t, r.ready.Issuer, alice)
			down([]string{"hooks", "--drop"}, []string{"ssf", "--drop"}, []string{"logout", "--drop"})
			command(t, "dev", "people", "suspend", erin) // nobody is told
			for range 20 {
				if got := refusal(t, r.ready.Control, ofBob); got != before {
					t.Fatalf("a valid token is refused while the org is down: %q", got)
				}
				if got := refusal(t, r.ready.Control, ofAlice); got != "revoked" {
					t.Fatalf("an event's word opened what was barred: %q", got)
				}
			}
			command(t, "dev", "chaos", "clear")
			eventually(t, "who was suspended meanwhile to be refused", is(ofErin, "revoked"))
			eventually(t, "who was restored to be let in", func() bool { return refusal(t, r.ready.Control, ofAlice) != "revoked" })
			command(t, "dev", "people", "restore", erin)
			time.Sleep(time.Second)
		})
	}
	if code := r.end(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, r.errs.String())
	}
}
