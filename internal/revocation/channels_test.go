package revocation

import (
	"slices"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// TestChannels: one happening that comes by event hook, by the log, as a security event and as a request to log out has one effect and one record,
// in whatever order they come.
func TestChannels(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Second).Add(-5 * time.Second)
	for _, left := range []bool{false, true} {
		kind, status := "user.session.clear", "ACTIVE"
		if left {
			kind, status = "user.lifecycle.suspend", "SUSPENDED"
		}
		hook := happening(kind, "00ualice", "", at.Add(700*time.Millisecond))
		hooked, logged := hook.Signals(SourceHook, time.Now())[0], hook.Signals(SourceLog, time.Now())[0]
		shared := Signal{ID: "set/1", Kind: hooked.Kind, At: at.Add(720 * time.Millisecond), UID: "00ualice", Source: SourceSSF}
		logout := Signal{ID: "set/2", Kind: hooked.Kind, At: at, UID: "00ualice", Source: SourceLogout}
		all := []Signal{hooked, logged, shared, logout}
		for turn := range all {
			w := newWorld()
			if left {
				w.people["00ualice"] = Person{Login: "alice@acme.example", Status: status}
			}
			r := open(t, w.config(t))
			order := slices.Concat(all[turn:], all[:turn])
			for _, s := range slices.Concat(order, order) {
				if err := r.Accept(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				idle(t, r)
			}
			if got := w.told(audit.KindRevocation); len(got) != 1 {
				t.Errorf("%s, beginning with %s: revocations %v", kind, order[0].Source, got)
			}
			if got := w.told(audit.KindDirectory); len(got) > 1 {
				t.Errorf("%s, beginning with %s: directory %v", kind, order[0].Source, got)
			}
			if w.barred(token("00ualice", at)) == "" {
				t.Error("a token of that very second is not refused")
			}
			if w.barred(token("00ualice", at.Add(2*time.Second))) == "" == left {
				t.Error("a later token is judged wrongly")
			}
		}
	}
}
