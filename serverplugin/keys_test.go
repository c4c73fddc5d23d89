package serverplugin

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// The log alone verifies what a gate signed: its keys are in it, whole.
func TestKeysAreArchived(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Name: "test", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: "https://idp.example", Audiences: []string{"api"}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "keys")}
	if err := policy.WriteStarter(cfg.PolicyDir); err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	who := attest.Party{Principal: "user:https://idp.example|00u1"}
	raw, err := p.house.Signer().Sign(attest.Statement{ID: "d1", Issuer: "test", Audience: "bailiwick:test", Edge: attest.EdgeStart, Originator: who, Actor: who,
		Binding: attest.Binding{Namespace: "n", WorkflowID: "w", WorkflowType: "t"}, IssuedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var details []map[string]string
	for _, e := range bailiwicktest.Entries(t, cfg.JournalDir) {
		if e.Kind == audit.KindKey {
			details = append(details, e.Detail)
		}
	}
	archived, err := attest.ArchivedKeys(slices.Values(details))
	if err != nil || len(details) != 2 {
		t.Fatalf("%d entries, %v", len(details), err)
	}
	if _, err := archived.Verify(raw, "bailiwick:test"); err != nil {
		t.Error(err)
	}
}
