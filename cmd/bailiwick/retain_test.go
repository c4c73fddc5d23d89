package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

func TestRetainByRequest(t *testing.T) {
	e := newPrivateEnv(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := e.serveRetention(ctx, e.c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			if _, err := e.c.plane.Record(t.Context(), audit.Entry{ID: fmt.Sprint("old-", i), Time: time.Now().AddDate(0, 0, -500), Kind: audit.KindReport, Detail: map[string]string{"event": "reconciled"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	signer, verifier, err := tiles.LoadOrCreateKey(e.state.path("log.key"), "bailiwick.test/private")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: e.c.journals, Log: e.c.sealed, Signer: signer, Interval: 200 * time.Millisecond})
	}()
	eventually(t, "everything sealed", func() bool { n, err := e.c.pending(); return err == nil && n == 0 })
	log := []string{"--log", e.c.sealed}
	if code, out := e.audit(t, append([]string{"query", "--kind", "report", "--limit", "1"}, log...)...); code != 0 {
		t.Fatalf("%d %s", code, out)
	}

	admin := e.issuer.User("root@acme.example", "platform-admins")
	for body, want := range map[string]string{`{"keep":"1h","reason":"x"}`: "bad_request", `{"keep":"400d"}`: "bad_request", `{"keep":"soon","reason":"x"}`: "bad_request"} {
		if _, answer := e.post(t, "/v1/audit/retain", admin, body); !strings.Contains(answer, want) {
			t.Errorf("%s: %s", body, answer)
		}
	}
	if status, body := e.post(t, "/v1/audit/retain", e.issuer.User("alice@acme.example"), `{"keep":"400d","reason":"x"}`); status != http.StatusForbidden {
		t.Errorf("anybody: %d %s", status, body)
	}
	ask := func(body string) (a retainAnswer) {
		t.Helper()
		status, answer := e.post(t, "/v1/audit/retain", admin, body)
		if status != http.StatusOK || json.Unmarshal([]byte(answer), &a) != nil {
			t.Fatalf("%d %s", status, answer)
		}
		return a
	}
	// The gate's own first entries are new, so the bundle they are in stays.
	dry := ask(`{"keep":"400d","dry_run":true}`)
	if dry.Entry != "" || dry.Held {
		t.Errorf("%+v", dry)
	}
	verify := func() tiles.Report {
		t.Helper()
		r, err := tiles.Verify(t.Context(), tiles.VerifyConfig{Log: e.c.sealed, Journals: e.c.journals, VerifierKey: verifier, Remember: e.state.path("remembered")})
		if err != nil || !r.OK() {
			t.Fatalf("%+v %v", r, err)
		}
		return r
	}
	if dry.Removed != 0 || dry.To != 0 { // entry 0, the gate's start, is of today
		t.Errorf("%+v", dry)
	}
	verify()
	// Everything is old to a clock far ahead.
	answer, err := e.c.retain(t.Context(), time.Now().Add(time.Hour), false, func(detail map[string]string) (string, error) {
		return e.c.plane.Record(t.Context(), audit.Entry{Kind: audit.KindAdmin, Reason: "test", Detail: detail})
	})
	if err != nil || answer.Removed != 512 || answer.Entry == "" {
		t.Fatalf("%+v %v", answer, err)
	}
	if r := verify(); r.Removed != 512 {
		t.Errorf("%+v", r)
	}
	again, err := e.c.retain(t.Context(), time.Now().AddDate(0, 0, -400), false, nil)
	if err != nil || again.Removed != 0 || again.Entry != "" {
		t.Errorf("nothing more to remove: %+v %v", again, err)
	}
	for _, args := range [][]string{{"reindex"}, {"reindex", "--check"}, {"query", "--limit", "10000"}, {"verify", "--key", verifier}} {
		if code, out := e.audit(t, append(args, log...)...); code != 0 || strings.Contains(out, "malformed") {
			t.Errorf("%v: %d %.500s", args, code, out)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRetentionFile(t *testing.T) {
	d := &devEnv{state: stateDir{dir: t.TempDir()}}
	if keep, err := d.retention(); err != nil || keep != 0 {
		t.Errorf("without a file: %v %v", keep, err)
	}
	for text, want := range map[string]time.Duration{"version: 1\nkeep: 400d\n": 400 * 24 * time.Hour, "version: 1\nkeep: 48h": 48 * time.Hour, "": -1, "version: 2\nkeep: 400d": -1, "version: 1": -1,
		"version: 1\nkeep: 1h": -1, "version: 1\nkeep: -5d": -1, "version: 1\nkeep: 400d\ncolor: red": -1, "version: 1\nkeep: 99999999d": -1} {
		if err := os.WriteFile(d.state.path("retention.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		keep, err := d.retention()
		if want < 0 && err == nil || want >= 0 && (err != nil || keep != want) {
			t.Errorf("%q: %v %v", text, keep, err)
		}
	}
}
