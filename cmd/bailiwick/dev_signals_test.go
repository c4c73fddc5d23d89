package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSignalsOnALaptop: with event hooks dropped and the System Log unreadable, Shared Signals alone bring the news, and Universal Logout alone,
// also when they come cut, twice and in another order.
func TestSignalsOnALaptop(t *testing.T) { signalsOnALaptop(t, signalsPushed) }

// The same where the org can't call: the control plane asks.
func TestPolledSignalsOnALaptop(t *testing.T) { signalsOnALaptop(t, signalsPolled) }

func signalsOnALaptop(t *testing.T, delivery string) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	r := startDev(t, "--state", filepath.Join(t.TempDir(), "state"), "--ports", "auto", "--signals", delivery)
	r.await(t)
	before := refusal(t, r.ready.Control, accessToken(t, r.ready.Issuer, "alice@acme.example"))
	for _, round := range []struct{ act, chaos string }{
		{"sign-out", "logout --drop"}, {"reset-password", "logout --drop"}, {"suspend", "logout --drop"}, // Shared Signals alone
		{"suspend", "ssf --malformed --duplicate --reorder"},
		{"sign-out", "ssf --drop"}, // Universal Logout alone
	} {
		if delivery == signalsPolled && strings.Contains(round.chaos, "--malformed") {
			continue // it cuts the answers of the org's API: nothing arrives then
		}
		command(t, "dev", "chaos", "clear")
		for _, chaos := range []string{"hooks --drop", "logs --status 503", round.chaos} {
			command(t, append([]string{"dev", "chaos", "--for", "10m"}, strings.Fields(chaos)...)...)
		}
		fresh := accessToken(t, r.ready.Issuer, "alice@acme.example")
		if got := refusal(t, r.ready.Control, fresh); got != before {
			t.Fatalf("before %s she is refused: %q", round.act, got)
		}
		began := time.Now()
		command(t, "dev", "people", round.act, "alice@acme.example")
		eventually(t, round.act+" with "+round.chaos, func() bool { return refusal(t, r.ready.Control, fresh) == "revoked" })
		t.Logf("%s with %s: %v", round.act, round.chaos, time.Since(began).Round(time.Millisecond))
		if round.act == "suspend" {
			command(t, "dev", "people", "restore", "alice@acme.example")
		}
		// The next one signs in in another second than the end of these tokens, and when she may again.
		eventually(t, "a new sign-in to count", func() bool {
			return refusal(t, r.ready.Control, accessToken(t, r.ready.Issuer, "alice@acme.example")) == before
		})
	}
	// How it is doing, for who may see the cluster.
	var st struct {
		Signals struct {
			Taken    int
			Refused  int
			Verified time.Time
		}
	}
	if err := json.Unmarshal([]byte(getAs(t, r.ready.Control+"/v1/okta/status", accessToken(t, r.ready.Issuer, "bob@acme.example"))), &st); err != nil {
		t.Fatal(err)
	}
	if st.Signals.Taken < 4 || delivery == signalsPushed && (st.Signals.Taken < 5 || st.Signals.Refused < 1) || st.Signals.Verified.IsZero() {
		t.Errorf("%+v", st)
	}
	if code := r.end(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, r.errs.String())
	}
}

// getAs reads what the control plane shows somebody.
func getAs(t *testing.T, url, token string) string {
	t.Helper()
	status, answer := ask(t, http.MethodGet, url, token, "")
	if status != http.StatusOK {
		t.Fatalf("HTTP %d: %s", status, answer)
	}
	return answer
}
