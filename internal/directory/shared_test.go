package directory_test

import (
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/directory/orgsource"
	"github.com/bailiwick-dev/bailiwick/internal/okta/syslog"
)

// Where others follow the org's log too, the copy takes what they read: it asks nothing more, and is no older than it says.
func TestSharedLog(t *testing.T) {
	w := newWorld(t, nil, devorg.Crowd{People: 10, Groups: 5, Each: 2})
	log := syslog.New(w.client, w.clock)
	if err := w.client.Suspend(t.Context(), "00ucrowd000000000004"); err != nil { // so that the log has a place where all are
		t.Fatal(err)
	}
	d := w.open(orgsource.Source{Client: w.client, Shared: log, Age: 10 * time.Second})
	w.sync(d)
	cursor := ""
	ask := func() { // as revocation does, each second
		t.Helper()
		for n := 1; n > 0; {
			page, err := log.After(t.Context(), cursor, w.clock().Add(-time.Hour), 0)
			if err != nil {
				t.Fatal(err)
			}
			n, cursor = len(page.Events), page.Next
		}
	}
	ask() // both are at the log's end
	const id = "00ucrowd000000000003"
	if err := w.client.Suspend(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ask()
	w.sync(d)
	ask()
	asked := w.clock()
	w.now.Add(time.Second.Milliseconds())
	before := w.asked.Load()
	if s := w.sync(d); w.asked.Load() != before || s.AsOf.After(asked) {
		t.Errorf("%d requests for what was known, as of %s; the org was asked at %s", w.asked.Load()-before, s.AsOf, asked)
	}
	if f, _, err := d.Copy(t.Context(), id); err != nil || f.User.Active {
		t.Errorf("%+v, %v", f, err)
	}
	// What was followed alone before is read anew.
	alone := w.open(orgsource.Source{Client: w.client})
	was := w.sync(alone)
	if err := alone.Wake(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	was = w.sync(alone)
	w.now.Add(time.Second.Milliseconds())
	if s := w.sync(d); !s.Full.After(was.Full) || s.Error != "" {
		t.Errorf("%+v, before %+v", s, was)
	}
}
