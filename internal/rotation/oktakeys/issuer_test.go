package oktakeys_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/standing"
)

var issuerSteps = []string{"plan", "verifiers", "announce", "rotate", "record", "watch"}

func TestIssuerIsRotated(t *testing.T) {
	k := newKit(t)
	before := k.keys()
	r := k.rotate(rotation.Issuer, server)
	after := k.keys()
	if r.State != rotation.Rotated || r.Code != "" || r.Previous != before["ACTIVE"] || r.Next != before["NEXT"] || after["ACTIVE"] != before["NEXT"] || after["EXPIRED"] != before["ACTIVE"] {
		t.Errorf("%+v; before %v, after %v", r, before, after)
	}
	if got := k.story(); got != "published rotated" {
		t.Errorf("on record: %s", got)
	}
	if e := k.entries[1].Detail; e["use"] != "issuer" || e["kid"] != r.Next || e["previous"] != r.Previous || e["issuer"] != k.issuer || !strings.Contains(e["jwk"], `"n":`) || strings.Contains(e["jwk"], `"d":`) {
		t.Errorf("entry %v", e)
	}
	if a, err := k.admin.AuthServer(t.Context(), server); err != nil || a.Credentials.Signing.RotationMode != "MANUAL" {
		t.Errorf("Okta rotates by itself still: %+v, %v", a, err)
	}
	// What the key before signed may live for an hour, and another rotation would drop it.
	if again := k.rotate(rotation.Issuer, server); again.State != rotation.Aborted || again.Code != "too_soon" || k.keys()["ACTIVE"] != after["ACTIVE"] {
		t.Errorf("%+v", again)
	}
	if len(k.alerts) != 1 || k.alerts[0].Code != "too_soon" {
		t.Errorf("alerts %+v", k.alerts)
	}
}

// A worker that dies after any step did its work, and before it could say so, leaves a rotation that goes on and rotates once.
func TestIssuerIsRotatedOnceThoughAnswersAreLost(t *testing.T) {
	k := newKit(t)
	k.times.TokenLifetime = time.Nanosecond // so that one org is rotated again and again
	for _, step := range issuerSteps {
		t.Run(step, func(t *testing.T) {
			k.fresh()
			before := k.keys()
			k.lost = "bailiwick-rotation-issuer-" + step
			r := k.rotate(rotation.Issuer, server)
			after := k.keys()
			if r.State != rotation.Rotated || after["ACTIVE"] != before["NEXT"] || after["EXPIRED"] != before["ACTIVE"] || k.runs[k.lost] < 3 {
				t.Errorf("%+v; before %v, after %v, %d runs", r, before, after, k.runs[k.lost])
			}
			if story := k.story(); !strings.HasPrefix(story, "published rotated") {
				t.Errorf("on record: %s", story)
			}
		})
	}
}

func TestIssuerIsNotRotatedWithoutEveryVerifier(t *testing.T) {
	status := func(kids ...string) []identity.IssuerStatus {
		return []identity.IssuerStatus{{URL: "ISSUER", KeyIDs: kids, Usable: true}}
	}
	for name, c := range map[string]struct {
		report []identity.IssuerStatus
		want   string
	}{
		"one that reported once":      {status("old"), "gate-2 (not heard since this began)"},
		"one that lacks the key":      {status("old"), "gate-2 (does not have the key"},
		"one with another issuer too": {append(status("old"), identity.IssuerStatus{URL: "https://other.example", Usable: true}), "gate-2"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.times.Verifiers = 500 * time.Millisecond
			before := k.keys()
			c.report[0].URL = k.issuer
			take := func() {
				if _, err := k.registry.Take(context.Background(), standing.KeyReport{Version: standing.KeyReportVersion, Verifier: "gate-2", Issuers: c.report}); err != nil {
					t.Error(err)
				}
			}
			take()
			ended := make(chan struct{})
			defer func() { <-ended }()
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				defer close(ended)
				for name == "one that lacks the key" {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						take()
					}
				}
			}()
			r := k.rotate(rotation.Issuer, server)
			if r.State != rotation.Aborted || r.Code != "verifier_lagging" || !strings.Contains(r.Detail, c.want) || r.Fix == "" {
				t.Errorf("%+v", r)
			}
			if after := k.keys(); after["ACTIVE"] != before["ACTIVE"] || after["NEXT"] != before["NEXT"] {
				t.Errorf("before %v, after %v", before, after)
			}
			if got := k.story(); got != "aborted" || len(k.alerts) != 1 {
				t.Errorf("on record: %s; alerts %+v", got, k.alerts)
			}
			// Forgotten, it is waited for no more.
			if err := k.registry.Forget(t.Context(), "gate-2"); err != nil {
				t.Fatal(err)
			}
			if name != "one that lacks the key" { // that one is back at once
				if r := k.rotate(rotation.Issuer, server); r.State != rotation.Rotated {
					t.Errorf("after it was forgotten: %+v", r)
				}
			}
		})
	}
}

func TestIssuerWithoutVerifiersIsNotRotated(t *testing.T) {
	k := newKit(t)
	k.times.Verifiers = time.Second
	k.registry.Local("gate-1", elsewhere{})
	before := k.keys()
	if r := k.rotate(rotation.Issuer, server); r.Code != "no_verifiers" || k.keys()["ACTIVE"] != before["ACTIVE"] {
		t.Errorf("%+v", r)
	}
}

// elsewhere trusts another issuer alone.
type elsewhere struct{}

func (elsewhere) Status() []identity.IssuerStatus {
	return []identity.IssuerStatus{{URL: "https://other.example", KeyIDs: []string{"a"}, Usable: true}}
}
func (elsewhere) Expect(string, []string) {}

// Okta, or somebody in its console, rotates between two steps of ours.
func TestOktaRotatesInTheMiddle(t *testing.T) {
	k := newKit(t)
	k.times.TokenLifetime, k.times.Verifiers = time.Nanosecond, 3*time.Second
	for _, c := range []struct {
		before string
		times  int
		state  rotation.State
		code   string
	}{
		{"verifiers", 1, rotation.Rotated, ""}, {"announce", 1, rotation.Rotated, ""}, {"rotate", 1, rotation.Rotated, ""}, // into the same key
		{"rotate", 2, rotation.Aborted, "rotated_elsewhere"}, {"verifiers", 2, rotation.Aborted, "verifier_lagging or rotated_elsewhere"},
		{"record", 1, rotation.Rotated, ""}, {"watch", 1, rotation.Rotated, ""}, // after ours: nothing of it is undone
	} {
		t.Run(c.before+strings.Repeat("+", c.times), func(t *testing.T) {
			k.fresh()
			rolled, err := k.rollovers()
			k.must(err)
			before := k.keys()
			k.between = func(step string) {
				if step == "bailiwick-rotation-issuer-"+c.before {
					for range c.times {
						if _, err := k.admin.RotateSigningKeys(context.Background(), server); err != nil {
							t.Error(err)
						}
					}
				}
			}
			r := k.rotate(rotation.Issuer, server)
			if r.State != c.state || (r.Code == "") != (c.code == "") || !strings.Contains(c.code, r.Code) {
				t.Errorf("%+v", r)
			}
			ours := 0 // rotations by us beside Okta's
			if c.before == "record" || c.before == "watch" {
				ours = 1
			}
			log, err := k.rollovers()
			if err != nil || log-rolled != ours+c.times {
				t.Errorf("%d rotations at Okta, want %d; %v (before %v)", log-rolled, ours+c.times, err, before)
			}
		})
	}
}

// rollovers counts the rotations in Okta's system log.
func (k *kit) rollovers() (n int, err error) {
	req, err := http.NewRequestWithContext(k.Context(), http.MethodGet, k.base+`/api/v1/logs?filter=eventType+eq+%22app.oauth2.as.key.rollover%22`, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	return countEvents(req)
}
