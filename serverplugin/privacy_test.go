package serverplugin

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// With privacy_dir the journal holds nothing personal in the clear, and who has the keys reads all of it.
func TestPersonalDataIsEncrypted(t *testing.T) {
	dir := t.TempDir()
	issuer := bailiwicktest.NewIssuer(t)
	f := &fixture{issuer: issuer, cfg: Config{
		Name: "test", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "key.pem"), PrivacyDir: filepath.Join(dir, "privacy"),
	}}
	if err := policy.WriteStarter(f.cfg.PolicyDir); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.plugin, err = Open(t.Context(), f.cfg); err != nil {
		t.Fatal(err)
	}
	who, err := f.plugin.house.Verifier().Verify(t.Context(), identity.ParseUnverified(issuer.User("alice@acme.example", "temporal:deploy:write")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.plugin.house.Gate().Judge(t.Context(), gate.Question{Who: who, Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: "deploy", WorkflowID: "w1"},
		Context: policy.Context{Reason: "for alice only"}}); err != nil {
		t.Fatal(err)
	}
	if err := f.plugin.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(f.cfg.JournalDir, "*"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	for _, s := range segments {
		if raw, _ := os.ReadFile(s); bytes.Contains(raw, []byte("alice")) || bytes.Contains(raw, []byte("temporal:deploy:write")) {
			t.Errorf("%s holds personal data in the clear", s)
		}
	}
	keys, err := privacy.OpenStore(f.cfg.PrivacyDir)
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, e := range f.entries(t) {
		if e = privacy.NewOpener(keys).Open(e); e.Kind == audit.KindDecision {
			seen = e.Actor.Login == "alice@acme.example" && e.Reason == "for alice only" && len(e.Actor.Groups) == 1 && e.Resource.WorkflowID == "w1"
		}
	}
	if !seen {
		t.Error("the entry does not read as it was decided")
	}
}
