package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// makeRotatedLog makes the log of makeLog with a key that followed its first one, which is in "key"; "proof.json" is from before.
func makeRotatedLog() {
	makeLog()
	dir := os.Args[1]
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "mkrotated:", err)
			os.Exit(1)
		}
	}
	log, journals := filepath.Join(dir, "log"), []string{filepath.Join(dir, "journal")}
	ring, err := tiles.OpenKeyring(tiles.KeyringConfig{Path: filepath.Join(dir, "log.key"), Origin: "bailiwick.dev/test", Log: log})
	must(err)
	now, err := ring.State()
	must(err)
	before, err := tiles.Prove(context.Background(), tiles.ProveConfig{Log: log, Journals: journals, VerifierKey: now.First, Index: 0})
	must(err)
	raw, err := before.Marshal()
	must(err)
	must(os.WriteFile(filepath.Join(dir, "before.json"), raw, 0o600))
	_, err = ring.MakeNext()
	must(err)
	journal, err := audit.OpenJournal(audit.JournalConfig{Dir: journals[0]})
	must(err)
	put := func(id string, detail map[string]string) {
		_, err := journal.Append(context.Background(), audit.Entry{ID: id, Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Kind: audit.KindKey, Gate: "dev", Detail: detail})
		must(err)
	}
	detail, err := ring.Announcement()
	must(err)
	put("01940001-0000-7000-8000-000000000000", detail)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: journals, Log: log, Signers: ring.Signers, Interval: 200 * time.Millisecond})
	}()
	until := func(f func() error) {
		var err error
		for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if err = f(); err == nil {
				return
			}
		}
		must(err)
	}
	until(func() error { return ring.Link(ctx, 0) })
	until(ring.Switch)
	put("01940002-0000-7000-8000-000000000000", map[string]string{"event": "rotated", "use": "checkpoint", "kid": detail["kid"], "previous": detail["previous"], "target": "dev"})
	must(journal.Close())
	until(func() error {
		if n, err := ring.SealedSize(); err != nil || n < 8 {
			return fmt.Errorf("%d entries are sealed: %w", n, err)
		}
		s, err := ring.State()
		if err == nil && len(s.Signed) != 1 {
			err = fmt.Errorf("signed by %v", s.Signed)
		}
		return err
	})
	stop()
	must(<-done)
}

// keysPlane makes what serves keys: a control plane that knows keys alone: of the log below the directory named, which nobody rotates, as there is no Temporal. It writes a
// context and a login for it.
func keysPlane(t *testing.T) func(ts *testscript.TestScript, _ bool, args []string) {
	issuer := bailiwicktest.NewIssuer(t)
	verifier, err := identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = verifier.Close() })
	return func(ts *testscript.TestScript, _ bool, args []string) {
		serveKeys(ts, verifier, issuer.User("carol@acme.example", "security"), args)
	}
}

func serveKeys(ts *testscript.TestScript, verifier *identity.Verifier, token string, args []string) {
	dir := ts.MkAbs(args[0])
	ring, err := tiles.OpenKeyring(tiles.KeyringConfig{Path: filepath.Join(dir, "log.key"), Origin: "bailiwick.dev/test", Log: filepath.Join(dir, "log")})
	ts.Check(err)
	registry, err := rotation.OpenRegistry(context.Background(), rotation.RegistryConfig{DSN: filepath.Join(dir, "verifiers.db")})
	ts.Check(err)
	ts.Defer(func() { _ = registry.Close() })
	plane := allowing{http.NewServeMux(), verifier}
	service, err := rotation.New(rotation.Config{Verifiers: registry, Decider: plane, Recorder: plane, Checkpoints: []rotation.CheckpointTarget{{ID: "dev", Keys: ring}}})
	ts.Check(err)
	service.Mount(plane)
	web := httptest.NewServer(plane)
	ts.Defer(web.Close)
	home := ts.Getenv("BAILIWICK_HOME")
	ts.Check(os.MkdirAll(filepath.Join(home, "contexts"), 0o700))
	where, err := json.Marshal(map[string]string{"issuer": web.URL, "client_id": "cli", "temporal_address": "127.0.0.1:1", "control_url": web.URL, "log_dir": filepath.Join(dir, "log"), "journal_dir": filepath.Join(dir, "journal"),
		"log_key": strings.TrimSpace(ts.ReadFile(filepath.Join(dir, "key")))})
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(home, "contexts", "dev.json"), where, 0o600))
	ts.Check(os.WriteFile(ts.Getenv("TEMPORAL_CONFIG_FILE"), []byte("[profile.bailiwick]\naddress = \"127.0.0.1:1\"\n[profile.bailiwick.oauth]\nclient_id = \"cli\"\naccess_token = \""+token+"\"\nexpires_at = \"2199-01-01T00:00:00Z\"\n"), 0o600))
}

// allowing lets everybody who shows a token do everything.
type allowing struct {
	*http.ServeMux
	verifier *identity.Verifier
}

func (a allowing) Authenticated(f func(http.ResponseWriter, *http.Request, identity.Identity)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := a.verifier.Verify(r.Context(), identity.ParseUnverified(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		f(w, r, who)
	})
}

func (allowing) Decide(context.Context, identity.Identity, policy.Request) (policy.Decision, string) {
	return policy.Decision{Allow: true}, "d1"
}

func (allowing) Record(context.Context, audit.Entry) (string, error) { return "e1", nil }
