package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	for s, want := range map[string]time.Time{
		"": {}, "90m": now.Add(-90 * time.Minute), "0s": now, "7d": now.AddDate(0, 0, -7), "2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local),
		"2026-11-01T09:30:00Z": time.Date(2026, 11, 1, 9, 30, 0, 0, time.UTC), "2026-11-01 09:30": time.Date(2026, 11, 1, 9, 30, 0, 0, time.Local),
		"2026-11-01T09:30:00.5+02:00": time.Date(2026, 11, 1, 7, 30, 0, 500_000_000, time.UTC),
	} {
		if got, err := parseWhen(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"yesterday", "-5m", "-1d", "1e9d", "99999d", "2026-13-01", "d", "23.11.2026", "5"} {
		if got, err := parseWhen(s, now); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestCellIsNoFormula(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "ship-1": "ship-1", "a=b": "a=b", "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0", "+1": "'+1", "-1+1": "'-1+1", "@SUM(A1)": "'@SUM(A1)", "  =1": "'  =1",
		"\t=1": `\x09=1`, "\r=1": `\x0d=1`, "a\n=1": `a\n=1`, "＝1": "'＝1", "|calc": "'|calc", "\u00a0=1": `\u00a0=1`, "x\x1b[31m": `x\x1b[31m`,
	} {
		if got := cell(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add("=1+1", "\x1b]0;x\x07")
	f.Add("\"a\",b\r\n@x", "\u202e")
	f.Fuzz(func(t *testing.T, id, reason string) {
		var out bytes.Buffer
		if err := writeCSV(&out, []record{{Entry: audit.Entry{ID: "x", Reason: reason, Resource: policy.Resource{WorkflowID: id}}}}, true); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
			t.Fatalf("%v %v", rows, err)
		}
		for _, c := range rows[1] {
			if strings.ContainsFunc(c, func(r rune) bool { return !unicode.IsPrint(r) }) || c != "" && strings.ContainsAny(strings.TrimLeft(c, " ")+" ", "=+-@") && strings.IndexAny(strings.TrimLeft(c, " "), "=+-@") == 0 {
				t.Errorf("cell %q", c)
			}
		}
	})
}

// A gate's decision, proven with its attestation, the key that the log names and the policy texts that decided: as a person would do it.
func TestProveWithEverything(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	dir := t.TempDir()
	journalDir, logDir := filepath.Join(dir, "journal"), filepath.Join(dir, "log")
	policyDir := filepath.Join(dir, "policy")
	if err := policy.WriteStarter(policyDir); err != nil {
		t.Fatal(err)
	}
	set, err := policy.LoadSet(policyDir)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := audit.OpenJournal(audit.JournalConfig{Dir: journalDir})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	digest, err := blobs.Put(blobs.Beside(journalDir), set.Archive())
	if err != nil || digest != set.Digest() {
		t.Fatalf("%s %s %v", digest, set.Digest(), err)
	}
	signer := attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)))
	old := attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize)))
	at := time.Now().UTC().Truncate(time.Second)
	appendEntry := func(e audit.Entry) {
		t.Helper()
		if _, err := journal.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range []*attest.Signer{old, signer, signer} {
		appendEntry(audit.Entry{ID: "0193aaa" + string(rune('0'+i)), Time: at, Kind: audit.KindGate, Gate: "dev", Actor: audit.Party{Principal: "gate:dev"},
			Detail: map[string]string{"event": "started", "attestation_key": s.KeyID(), "policy_digest": digest}})
	}
	decision := audit.Entry{ID: "0193bbbb-0000-7000-8000-000000000000", Time: at, Kind: audit.KindDecision, Gate: "dev", Actor: audit.Party{Principal: "user:http://idp|alice", Login: "alice@acme.example"},
		Action: "StartWorkflowExecution", Access: "operate", Resource: policy.Resource{Namespace: "deploy", WorkflowID: "ship-1", WorkflowType: "deploy"},
		Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"write-role"}, PolicyDigest: digest}, Reason: "CHG-7", RequestDigest: strings.Repeat("0", 64)}
	appendEntry(decision)
	party := attest.Party{Principal: decision.Actor.Principal, Login: decision.Actor.Login, Profile: "user"}
	jws, err := signer.Sign(attest.Statement{Version: attest.Version, ID: decision.ID, Issuer: "dev", Audience: "bailiwick:dev", Edge: attest.EdgeStart, Originator: party, Actor: party, Reason: "CHG-7",
		Policies: []string{"write-role"}, GroupsDigest: strings.Repeat("0", 64), Binding: attest.Binding{Namespace: "deploy", WorkflowID: "ship-1", WorkflowType: "deploy"},
		RequestDigest: decision.RequestDigest, IssuedAt: at})
	if err != nil {
		t.Fatal(err)
	}
	keysFile, jwsFile, proof := filepath.Join(dir, "keys.json"), filepath.Join(dir, "run.jws"), filepath.Join(dir, "proof.json")
	if err := os.WriteFile(keysFile, signer.PublicKeySet().Merge(old.PublicKeySet()).JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(jwsFile, []byte(jws+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	noteSigner, vkey, err := tiles.LoadOrCreateKey(filepath.Join(dir, "log.key"), "bailiwick.dev/test")
	if err != nil {
		t.Fatal(err)
	}
	// The sealer starts while the proof waits for it.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if err := os.Mkdir(logDir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"audit", "prove", "0193bbbb", "--log", logDir, "--journal", journalDir, "--key", vkey, "--keys", keysFile, "--attestation", jwsFile, "-o", proof}
	if code, _, errs := bailiwick(args...); code == exitOK {
		t.Errorf("an entry that is not sealed was proven: %s", errs)
	}
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: []string{journalDir}, Log: logDir, Signer: noteSigner, Interval: 200 * time.Millisecond})
	}()
	defer func() { cancel(); <-done }()
	var code int
	var out, errs string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if code, out, errs = bailiwick(args...); code == exitOK {
			break
		}
	}
	if code != exitOK || !strings.Contains(out, "Proven: entry 3") {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	code, out, errs = bailiwick("audit", "verify-bundle", proof, "--key", vkey, "--json")
	var report struct {
		OK bool `json:"ok"`
		tiles.BundleReport
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK || !report.OK {
		t.Fatalf("%d %s %s %v", code, out, errs, err)
	}
	var uses []uint64
	for _, k := range report.Keys {
		uses = append(uses, k.Index)
	}
	if report.AttestedBy != signer.KeyID() || report.KeyKnownBy != "log" || report.Attestation.Reason != "CHG-7" || !slices.Equal(uses, []uint64{0, 2}) {
		t.Errorf("%s", out)
	}
	if i := slices.IndexFunc(report.Policy, func(p tiles.PolicyText) bool { return p.Name == policy.RolesFile }); i < 0 || !strings.Contains(report.Policy[i].Text, "version: 1") {
		t.Errorf("policy texts: %s", out)
	}
	if code, out, _ = bailiwick("audit", "verify-bundle", proof, "--key", vkey, "--audience", "bailiwick:prod"); code != exitUnproven || !strings.Contains(out, "attestation_audience") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ = bailiwick("audit", "verify-bundle", proof, "--key", vkey, "--keys", keysFile); code != exitOK || !strings.Contains(out, "a key that you trust") {
		t.Errorf("%d %s", code, out)
	}
	// A text that was altered on disk is noticed before it gets into a proof.
	if err := os.WriteFile(filepath.Join(blobs.Beside(journalDir), digest), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs = bailiwick(args...); code == exitOK || !strings.Contains(errs, "does not have the digest") {
		t.Errorf("%d %s", code, errs)
	}
}
