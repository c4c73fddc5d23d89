package evidence_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/evidence"
	"github.com/bailiwick-dev/bailiwick/internal/evidence/evidencetest"
	"github.com/bailiwick-dev/bailiwick/policy"
)

var quarter = evidence.Settings{From: "2026-10-01", To: "2026-12-31", Framework: "soc2", Organization: "Acme", By: "Erin Auditor", Issued: "2027-01-04", Rules: evidence.DefaultRules()}

// company is a log with n entries of a quarter.
func company(t *testing.T, n int) (*evidencetest.Company, evidence.Config) {
	t.Helper()
	log, err := evidencetest.New(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := evidencetest.Fill(log, n)
	if err := log.Seal(); err != nil {
		t.Fatal(err)
	}
	return c, config(log, c.Texts)
}

func config(log *evidencetest.Log, kept map[string][]byte) evidence.Config {
	return evidence.Config{Settings: quarter, Log: os.DirFS(log.Dir), VerifierKey: log.VerifierKey, Texts: func(d string) ([]byte, error) {
		if raw, ok := kept[d]; ok {
			return raw, nil
		}
		return nil, fs.ErrNotExist
	}}
}

func makePack(t *testing.T, cfg evidence.Config) (string, evidence.Summary) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pack")
	sum, err := evidence.Make(t.Context(), cfg, dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, sum
}

func verify(t *testing.T, dir, key string, log fs.FS) evidence.Verdict {
	t.Helper()
	v, err := evidence.Verify(t.Context(), evidence.VerifyConfig{Pack: os.DirFS(dir), VerifierKey: key, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPackVerifies(t *testing.T) {
	c, cfg := company(t, 2500)
	dir, sum := makePack(t, cfg)
	if sum.Entries == 0 || sum.Size < 2490 || sum.Cited < 50 || sum.Exceptions == 0 {
		t.Fatalf("summary %+v", sum)
	}
	if v := verify(t, dir, c.Log.VerifierKey, nil); !v.OK() || v.Entries != sum.Entries {
		t.Fatalf("the pack does not verify by itself: %+v", v)
	}
	if v := verify(t, dir, c.Log.VerifierKey, cfg.Log); !v.OK() || !v.FromLog {
		t.Fatalf("the pack does not verify from the log: %+v", v)
	}
	// Each cited entry's bundle is one that anybody's verifier takes.
	proofs, err := filepath.Glob(filepath.Join(dir, "proofs", "*.json"))
	if err != nil || len(proofs) != sum.Cited {
		t.Fatalf("%d proofs for %d cited entries: %v", len(proofs), sum.Cited, err)
	}
	for _, name := range proofs[:40] {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tiles.VerifyBundle(raw, tiles.Trust{LogKeys: []string{c.Log.VerifierKey}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// The clock and the order of maps play no part.
func TestPackIsDeterministic(t *testing.T) {
	_, cfg := company(t, 1200)
	one, _ := makePack(t, cfg)
	two, _ := makePack(t, cfg)
	a, err := os.ReadFile(filepath.Join(one, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(two, "manifest.json"))
	if err != nil || string(a) != string(b) {
		t.Fatal("two packs of one log differ", err)
	}
}

// Only the period's part of a longer log is in the pack, and it is proven against the whole.
func TestPackOfPartOfALog(t *testing.T) {
	c, cfg := company(t, 4000)
	cfg.Settings.From, cfg.Settings.To = "2026-11-10", "2026-11-20"
	dir, sum := makePack(t, cfg)
	if sum.First == 0 || sum.Next == sum.Size || sum.Next-sum.First > 1500 || sum.First%256 != 0 {
		t.Fatalf("the pack holds %d to %d of %d", sum.First, sum.Next, sum.Size)
	}
	if v := verify(t, dir, c.Log.VerifierKey, cfg.Log); !v.OK() {
		t.Fatalf("%+v", v.Problems)
	}
	// The log grows: the old pack still follows from it.
	c.Log.Add(audit.Entry{ID: "0199ffff", Time: time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC), Kind: audit.KindAdmin, Gate: "g"})
	if err := c.Log.Seal(); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir, c.Log.VerifierKey, cfg.Log); !v.OK() {
		t.Fatalf("after the log grew: %+v", v.Problems)
	}
}

func TestVerifyFindsWhatWasChanged(t *testing.T) {
	c, cfg := company(t, 500)
	for name, x := range map[string]struct {
		change func(t *testing.T, dir string)
		code   string
	}{
		"a figure in the report": {func(t *testing.T, dir string) {
			edit(t, dir, "index.html", "Who had access to what", "Who had access to naught")
		}, evidence.CodeFileAltered},
		"a row is gone":   {func(t *testing.T, dir string) { edit(t, dir, "entries/denied.csv", "no_permission", "allowed______") }, evidence.CodeFileAltered},
		"a file is gone":  {func(t *testing.T, dir string) { remove(t, dir, "entries/keys.csv") }, evidence.CodeFileMissing},
		"a file too many": {func(t *testing.T, dir string) { put(t, dir, "extra.txt", "x") }, evidence.CodeFileExtra},
		"an entry": {func(t *testing.T, dir string) {
			edit(t, dir, "log/tile/entries/000", "alice1@acme", "mallo1@acme")
		}, evidence.CodeLogUnproven},
		"the checkpoint": {func(t *testing.T, dir string) {
			edit(t, dir, "log/checkpoint", "\n500\n", "\n501\n")
		}, evidence.CodeLogUnproven},
		// Whoever changes the report mends the manifest, too: then only making it again shows it.
		"report and manifest": {func(t *testing.T, dir string) {
			edit(t, dir, "index.html", "Who had access to what", "Who had access to naught")
			mend(t, dir)
		}, evidence.CodeDiffers},
		"other rules than were used": {func(t *testing.T, dir string) {
			edit(t, dir, "manifest.json", `"leaver_minutes": 60`, `"leaver_minutes": 61`)
		}, evidence.CodeDiffers},
		"an unknown field in the manifest": {func(t *testing.T, dir string) { edit(t, dir, "manifest.json", `"type"`, `"note": 1, "type"`) }, evidence.CodeManifest},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := makePack(t, cfg)
			x.change(t, dir)
			v := verify(t, dir, c.Log.VerifierKey, nil)
			for _, p := range v.Problems {
				if p.Code == x.code {
					return
				}
			}
			t.Fatalf("expected %s, found %+v", x.code, v.Problems)
		})
	}
	dir, _ := makePack(t, cfg)
	other, err := evidencetest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir, other.VerifierKey, nil); v.OK() || v.Problems[0].Code != evidence.CodeKeyUntrusted {
		t.Fatalf("a pack of another log's key: %+v", v.Problems)
	}
}

func TestMakeRefusesALogThatDoesNotVerify(t *testing.T) {
	c, cfg := company(t, 800)
	edit(t, c.Log.Dir, "tile/entries/001", "StartWorkflow", "StrahWorkflow")
	dir := filepath.Join(t.TempDir(), "pack")
	if _, err := evidence.Make(t.Context(), cfg, dir); !errors.Is(err, evidence.ErrLog) {
		t.Fatalf("made from an altered log: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a failed pack was left behind")
	}
}

func TestSettings(t *testing.T) {
	_, cfg := company(t, 300)
	for _, change := range []func(*evidence.Settings){
		func(s *evidence.Settings) { s.From = "1.10.2026" },
		func(s *evidence.Settings) { s.To = "2026-09-01" },
		func(s *evidence.Settings) { s.Framework = "iso" },
		func(s *evidence.Settings) { s.Rules.Duties = []evidence.Duty{{ID: "x", Title: "x", Kind: "y"}} },
		func(s *evidence.Settings) { s.Rules.GroupPattern = "(" },
		func(s *evidence.Settings) { s.To = "2036-12-31" },
	} {
		bad := cfg
		change(&bad.Settings)
		if _, err := evidence.Make(t.Context(), bad, filepath.Join(t.TempDir(), "p")); !errors.Is(err, evidence.ErrSettings) {
			t.Errorf("%+v: %v", bad.Settings, err)
		}
	}
	cfg.Settings.From, cfg.Settings.To = "2025-01-01", "2025-02-01"
	if _, err := evidence.Make(t.Context(), cfg, filepath.Join(t.TempDir(), "p")); !errors.Is(err, evidence.ErrEmpty) {
		t.Errorf("a period without entries: %v", err)
	}
	full := t.TempDir()
	put(t, full, "mine.txt", "precious")
	if _, err := evidence.Make(t.Context(), cfg, full); !errors.Is(err, evidence.ErrExists) {
		t.Errorf("into a folder in use: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := evidence.Make(ctx, cfg, filepath.Join(t.TempDir(), "p")); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// What callers choose can run neither in a browser nor in a spreadsheet, nor turn the writing around.
func TestHostileEntries(t *testing.T) {
	log, err := evidencetest.New(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	evil := `"><script>alert(1)</script><svg onload=alert(2)> javascript:alert(3) {{.Settings}} ` + "\u202egnp\x1b[31m"
	formula := `=HYPERLINK("http://evil.example","x")`
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	actor := audit.Party{Principal: "user:https://idp|" + evil, Login: formula + evil, ClientID: evil, Groups: []string{"temporal:" + evil + ":" + evil}, Actors: []string{evil}}
	for i, e := range []audit.Entry{
		{Kind: audit.KindDecision, Actor: actor, Action: evil, Access: "operate", Resource: policy.Resource{Namespace: evil, WorkflowID: formula, Signal: "approve"}, Reason: formula, Grant: evil, Decision: &policy.Decision{Allow: true, Code: "allowed", Policies: []string{evil}, PolicyDigest: evil}},
		{Kind: audit.KindDecision, Actor: actor, Action: "StartWorkflowExecution", Access: evil, Resource: policy.Resource{Namespace: evil, WorkflowID: formula}, Reason: "+1", Decision: &policy.Decision{Allow: true, Code: "allowed", PolicyDigest: evil}},
		{Kind: audit.KindDecision, Actor: actor, Action: evil, Source: evil, Decision: &policy.Decision{Code: policy.Code(evil), Missing: evil}},
		{Kind: audit.KindDecision, Action: evil, Source: evil, Decision: &policy.Decision{Code: "token_missing"}},
		{Kind: audit.KindAccess, Actor: actor, Grant: evil, Reason: evil, Resource: policy.Resource{Namespace: evil}, Detail: map[string]string{"event": "requested", "request": evil, "requester": actor.Principal, "requester_login": evil, "role": evil, "actions": evil, "break_glass": "true", "seconds": "-5"}},
		{Kind: audit.KindAccess, Actor: actor, Grant: evil, Detail: map[string]string{"event": "approved", "request": evil}},
		{Kind: audit.KindAccess, Actor: actor, Detail: map[string]string{"event": "reviewed", "request": evil}},
		{Kind: audit.KindDirectory, Detail: map[string]string{"event": "left", "subject": actor.Principal, "login": evil, "group": evil, "source_time": "yesterday"}},
		{Kind: audit.KindRevocation, Detail: map[string]string{"event": "group_removed", "subject": actor.Principal, "group": evil, "effect": evil, "source": evil}},
		{Kind: audit.KindKey, Gate: evil, Detail: map[string]string{"event": evil, "use": evil, "kid": evil, "previous": evil}},
		{Kind: audit.KindGate, Gate: evil, Detail: map[string]string{"attestation_key": evil, "policy_digest": evil}},
		{Kind: audit.KindPolicy, Gate: evil, Detail: map[string]string{"policy_digest": "../../../etc/passwd"}},
		{Kind: audit.KindReport, Detail: map[string]string{"from": evil, "to": evil, "bypasses": "1e9", "orphans": "-3"}},
		{Kind: audit.KindAdmin, Actor: actor, Detail: map[string]string{"event": evil, "subject": evil}},
		{Kind: audit.Kind(evil), Detail: map[string]string{"event": evil}},
	} {
		e.ID, e.Time = evil+string(rune('a'+i)), at.Add(time.Duration(i)*time.Minute)
		log.Add(e)
	}
	log.AddRaw([]byte(`{"v":1,"id":"x","time":"2026-11-02T00:00:00Z","kind":"decision"`))
	log.AddRaw([]byte("<script>alert(4)</script>"))
	if err := log.Seal(); err != nil {
		t.Fatal(err)
	}
	cfg := config(log, nil)
	cfg.Settings.Organization, cfg.Settings.By = evil, evil
	dir, _ := makePack(t, cfg)
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		text := string(raw)
		switch filepath.Ext(name) {
		case ".html":
			for _, bad := range []string{"<script", "<svg onload", "\u202e", "\x1b", `href="javascript`, `href="../`} {
				if strings.Contains(text, bad) {
					t.Errorf("%s holds %q", filepath.Base(name), bad)
				}
			}
			if !strings.Contains(text, "Content-Security-Policy") || !strings.Contains(text, "&lt;script&gt;") {
				t.Errorf("%s has no policy, or the test does not reach it", filepath.Base(name))
			}
		case ".csv":
			for _, line := range strings.Split(text, "\n") {
				for _, cell := range strings.Split(line, ",") {
					if cell = strings.TrimPrefix(cell, `"`); cell != "" && strings.ContainsAny(cell[:1], "=+@") || strings.ContainsAny(cell, "\x1b\r") {
						t.Errorf("%s has the cell %q", filepath.Base(name), cell)
					}
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir, log.VerifierKey, cfg.Log); !v.OK() {
		t.Fatalf("%+v", v.Problems)
	}
}

func edit(t *testing.T, dir, name, old, new string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), old) {
		t.Fatalf("%s does not hold %q", name, old)
	}
	put(t, dir, name, strings.Replace(string(raw), old, new, 1))
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}
