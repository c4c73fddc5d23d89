package serverplugin

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// The texts of each set that was in force stay beside the journal, under the digest that entries name.
func TestPolicyTextsAreKept(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Name: "test", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: "https://idp.example", Audiences: []string{"api"}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "key.pem")}
	if err := policy.WriteStarter(cfg.PolicyDir); err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	first := p.PolicyStatus().Digest
	kept := func(digest string) bool {
		_, err := blobs.Get(blobs.Beside(cfg.JournalDir), digest)
		return err == nil
	}
	if !kept(first) {
		t.Error("the first set's texts are not kept")
	}
	more := `@id("more") permit (principal, action == Action::"GetSystemInfo", resource);`
	if err := os.WriteFile(filepath.Join(cfg.PolicyDir, "more.cedar"), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if now := p.PolicyStatus().Digest; now != first && kept(now) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the changed set's texts are not kept within 10 s")
		}
	}
	if !kept(first) {
		t.Error("the first set's texts went with it")
	}
}
