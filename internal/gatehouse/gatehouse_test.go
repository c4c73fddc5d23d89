package gatehouse_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/gatehouse"
	"github.com/bailiwick-dev/bailiwick/policy"
)

func config(t *testing.T) (cfg gatehouse.Config, policies string) {
	t.Helper()
	dir := t.TempDir()
	policies = filepath.Join(dir, "policy")
	if err := policy.WriteStarter(policies); err != nil {
		t.Fatal(err)
	}
	return gatehouse.Config{
		Name: "house", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: bailiwicktest.NewIssuer(t).URL, Audiences: []string{bailiwicktest.Audience}}},
		JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "key.pem"),
		Policies: func(h gatehouse.Hooks) (*policy.Engine, error) {
			return policy.Open(policies, policy.Options{Before: h.Before, OnChange: h.Changed})
		},
	}, policies
}

// The house's own life is on record: its keys, its start, each policy set with its text, those that were refused, its end.
func TestLifeIsOnRecord(t *testing.T) {
	cfg, policies := config(t)
	refused := 0
	cfg.PolicyRefused = func() { refused++ }
	h, err := gatehouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	first := h.Policy().Status().Digest
	extra := filepath.Join(policies, "extra.cedar")
	if err := os.WriteFile(extra, []byte(`@id("no") forbid (principal, action, resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Policy().Reload(); err != nil {
		t.Fatal(err)
	}
	second := h.Policy().Status().Digest
	if err := os.WriteFile(extra, []byte("permit ("), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Policy().Reload(); err == nil {
		t.Fatal("a broken set came into force")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range bailiwicktest.Entries(t, cfg.JournalDir) {
		what := string(e.Kind) + " " + e.Detail["event"]
		if e.Kind == audit.KindPolicy {
			what = "policy " + map[string]string{first: "first", second: "second"}[e.Detail["policy_digest"]]
			if e.Detail["error_digest"] != "" {
				what += " refused"
			}
		}
		if e.Gate != "house" || e.Actor.Principal != "gate:house" {
			t.Errorf("%s is by %s of %s", what, e.Actor.Principal, e.Gate)
		}
		got = append(got, what)
	}
	if want := "key published, gate started, policy second, policy second refused, gate stopped"; strings.Join(got, ", ") != want {
		t.Errorf("on record: %s, want %s", strings.Join(got, ", "), want)
	}
	for _, digest := range []string{first, second} {
		if _, err := blobs.Get(blobs.Beside(cfg.JournalDir), digest); err != nil {
			t.Errorf("the texts of a set that was in force: %v", err)
		}
	}
	if refused != 1 {
		t.Errorf("told of %d refusals", refused)
	}
}

// full is a journal whose disk is full.
type full struct{ gate.Recorder }

func (full) Append(context.Context, audit.Entry) (uint64, error) {
	return 0, errors.New("no space left on device")
}

// What can't be put on record does not open, and leaves nothing open behind.
func TestWithoutARecordItDoesNotOpen(t *testing.T) {
	cfg, _ := config(t)
	cfg.Protect = func(r gate.Recorder) gate.Recorder { return full{r} }
	if _, err := gatehouse.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("%v", err)
	}
	cfg.Protect = nil
	h, err := gatehouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("the journal is still held: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestWithoutIssuersItDoesNotOpen(t *testing.T) {
	cfg, _ := config(t)
	cfg.Issuers = nil
	if _, err := gatehouse.Open(t.Context(), cfg); err == nil {
		t.Error("nobody could ever be let in")
	}
}
