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

// TestDisabledAndLeft: Shared Signals call somebody who left "disabled", as they do who is suspended. Whichever of the two comes first, and whether the
// directory answers or not, the record says once that they left, and which event said so.
func TestDisabledAndLeft(t *testing.T) {
	at := time.Now().UTC().Add(-time.Second)
	hook := happening("user.lifecycle.deactivate", "00ualice", "", at)
	left := hook.Signals(SourceHook, time.Now())[0]
	disabled := Signal{ID: "set/3", Kind: Suspended, At: at, UID: "00ualice", Source: SourceSSF}
	for _, down := range []bool{false, true} {
		for _, order := range [][]Signal{{left, disabled}, {disabled, left}} {
			w := newWorld()
			w.down, w.people["00ualice"] = down, Person{Login: "alice@acme.example", Status: "DEPROVISIONED"}
			r := open(t, w.config(t))
			for i, s := range order {
				if err := r.Accept(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				eventually(t, "what follows to be on record", func() bool {
					st, err := r.Status(t.Context())
					return err == nil && st.Queue == 0 && (!down && st.Open == 0 || down && st.Open == i+1) && len(w.told(audit.KindRevocation)) > 0
				})
			}
			said := func() (n int) {
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, e := range w.entries {
					if e.Detail["event"] == "user_deactivated" && e.Detail["source_event"] != "" {
						n++
					}
				}
				return n
			}
			eventually(t, "the record to say that she left", func() bool { return said() > 0 })
			w.set(func() { w.down = false })
			idle(t, r)
			if n := said(); n != 1 {
				t.Errorf("directory down: %v, %s first: on record %d times: %v", down, order[0].Source, n, w.told(audit.KindRevocation))
			}
			if got := w.barred(token("00ualice", time.Now())); got != "user_deactivated" {
				t.Errorf("directory down: %v, %s first: barred as %q", down, order[0].Source, got)
			}
		}
	}
}
