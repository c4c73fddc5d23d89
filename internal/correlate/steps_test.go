package correlate_test

import (
	"context"
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/internal/correlate"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Okta's log has a login as the session's start and as its steps, one for each factor: that is one login, with the steps linked to it. The way
// from the session into another application is neither.
func TestStepsOfOneLogin(t *testing.T) {
	x, err := index.Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	alice := audit.Party{Principal: "user:https://acme.example|00u1", Login: "alice@acme.example", TokenID: "AT.1", ClientID: "cli"}
	var raws [][]byte
	add := func(id string, after time.Duration, kind audit.Kind, detail map[string]string) {
		e := audit.Entry{ID: id, Time: at.Add(after), Kind: kind, Gate: "g", Actor: alice, Detail: detail}
		if kind == audit.KindDecision {
			e.Decision = &policy.Decision{Allow: true, Code: policy.CodeAllowed}
		} else if detail["event"] != correlate.EventGrant {
			e.Actor.TokenID, e.Actor.ClientID = "", ""
		}
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
	}
	event := func(id string, after time.Duration, event, kind, session string) {
		add(id, after, audit.KindDirectory, map[string]string{"event": event, "type": kind, "session": session, "source_event": id, "client": "cli"})
	}
	event("before", -time.Hour, correlate.EventLogin, "user.session.start", "s0")
	event("password", 0, correlate.EventAuthenticated, "user.authentication.verify", "s1")
	event("start", time.Second, correlate.EventLogin, "user.session.start", "s1")
	event("factor", 2*time.Second, correlate.EventAuthenticated, "user.authentication.auth_via_mfa", "s1")
	event("elsewhere", 3*time.Second, correlate.EventAuthenticated, "user.authentication.sso", "s1")
	event("token", 4*time.Second, correlate.EventGrant, "app.oauth2.as.token.grant.access_token", "s1")
	add("call", 5*time.Second, audit.KindDecision, nil)
	if _, err := x.Sync(t.Context(), func(_ context.Context, from uint64) iter.Seq2[index.Record, error] {
		return func(yield func(index.Record, error) bool) {
			for i := int(from); i < len(raws); i++ {
				e, err := audit.ParseEntry(raws[i])
				if !yield(index.Record{Index: uint64(i), Raw: raws[i], Entry: e}, err) {
					return
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	rows, _, err := x.Query(t.Context(), index.Filter{ID: []string{"call"}})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	chain, err := correlate.Trace(t.Context(), x, rows[0])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range chain.Links {
		got = append(got, l.What+" "+l.ID+" by "+l.By)
	}
	want := []string{"authentication password by session", "login start by session", "authentication factor by session", "token token by token id"}
	if !slices.Equal(got, want) {
		t.Errorf("links %q\nwant  %q", got, want)
	}
}

// An event of Okta's is a login when a session began, and otherwise a step of one.
func TestWhatIsALogin(t *testing.T) {
	for kind, want := range map[string]string{
		"user.session.start": correlate.EventLogin, "user.authentication.auth_via_mfa": correlate.EventAuthenticated,
		"user.authentication.sso": correlate.EventAuthenticated, "user.authentication.universal_logout": "",
	} {
		if got := correlate.EventOf(correlate.Event{ID: "1", Type: kind, At: time.Now(), Success: true, Actor: correlate.Party{ID: "00u1", Type: "User"}}); got != want {
			t.Errorf("%s is %q, want %q", kind, got, want)
		}
	}
}
