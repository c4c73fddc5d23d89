package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/ship"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
)

// Hashes and checkpoints are for everybody; entries for whom policy lets read them, and for holders of a monitor's token.
func TestWhoReadsTheLog(t *testing.T) {
	e := newPrivateEnv(t)
	receiver, err := serveLog(e.c.plane, e.state, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	signer, _, err := tiles.LoadOrCreateKey(e.state.path("log.key"), "bailiwick.test/read")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: e.c.journals, Log: e.c.sealed, Signer: signer, Interval: 200 * time.Millisecond})
	}()
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			if _, err := e.c.plane.Record(t.Context(), audit.Entry{Kind: audit.KindReport}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "a bundle is sealed", func() bool { n, err := tiles.SealedSize(e.c.sealed); return err == nil && n > 256 })
	if err := os.MkdirAll(e.state.path("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	monitor, err := ship.AddToken(e.state.path("keys", "readers"), "monitor", false)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path, token string) int {
		t.Helper()
		status, _ := ask(t, http.MethodGet, e.url+path, token, "")
		return status
	}
	const bundle = "/log/tile/entries/000"
	carol := e.issuer.User("carol@acme.example", "security")
	for _, c := range []struct {
		who, path, token string
		want             int
	}{
		{"anybody, a checkpoint", "/log/checkpoint", "", 200},
		{"anybody, hashes", "/log/tile/0/000", "", 200},
		{"anybody, entries", bundle, "", 401},
		{"a token that is none", bundle, "nonsense", 401},
		{"a monitor", bundle, monitor, 200},
		{"security", bundle, carol, 200},
		{"security again", bundle, carol, 200},
		{"an administrator", bundle, e.issuer.User("root@acme.example", "platform-admins"), 200},
		{"somebody with a role", bundle, e.issuer.User("alice@acme.example", "temporal:deploy:admin"), 403},
		{"a service", bundle, e.issuer.Client("0oabailiwickwfl00001"), 403},
	} {
		if got := read(c.path, c.token); got != c.want {
			t.Errorf("%s: %d, want %d", c.who, got, c.want)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "carol's decision, the administrator's, and two refusals on record", func() bool {
		allowed, refused := 0, 0
		for _, entry := range bailiwicktest.Entries(t, e.c.journals[0]) {
			switch {
			case entry.Action != "Audit.Read" || entry.Actor.Principal == "":
			case entry.Decision.Allow:
				allowed++
			default:
				refused++
			}
		}
		return allowed == 2 && refused == 2
	})
}

// A decision to read entries is asked for again after a minute.
func TestReadingIsAskedAgain(t *testing.T) {
	e := newPrivateEnv(t)
	now := time.Now()
	l := &logReaders{plane: e.c.plane, holder: func(*http.Request) (string, bool) { return "", false }, logger: slog.New(slog.DiscardHandler), clock: func() time.Time { return now }}
	e.c.plane.Handle("GET /test-entries", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.admit(w, r) }))
	token := e.issuer.User("carol@acme.example", "security")
	decisions := func() (n int) {
		for _, entry := range bailiwicktest.Entries(t, e.c.journals[0]) {
			if entry.Action == "Audit.Read" {
				n++
			}
		}
		return n
	}
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			now = now.Add(readingHolds)
		}
		if status, _ := ask(t, http.MethodGet, e.url+"/test-entries", token, ""); status != http.StatusOK {
			t.Errorf("request %d: %d", i, status)
		}
		eventually(t, "decisions on record", func() bool { return decisions() == want })
	}
}
