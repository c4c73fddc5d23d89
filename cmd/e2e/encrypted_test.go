package e2e

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// TestEncryptedLog runs everything with personal data encrypted: what people read is as ever, and the log's files name nobody.
func TestEncryptedLog(t *testing.T) {
	s := newSettings(t, "--encrypt-personal-data")
	d := start(t, s)
	defer func() { d.stop(t) }()
	alice := d.user(t, "alice@acme.example")
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", "sealed-1", "--reason", "CHG-9: quietly", "--input", `{"service":"checkout","version":"5"}`, "--wait")
	if tl := closed(t, alice, "sealed-1"); tl.Status != "completed" || tl.Invalid != 0 || tl.Unattested != 0 {
		t.Errorf("the run: %s, %d unattested, %d invalid", tl.Status, tl.Unattested, tl.Invalid)
	}
	for _, args := range [][]string{
		{"run", "show", "sealed-1", "--namespace", "deploy"},
		{"audit", "who-touched", "sealed-1"},
		{"audit", "timeline", "alice@acme.example"},
		{"audit", "query", "--actor", "alice@acme.example", "--reason", "CHG-9", "--action", "StartWorkflowExecution"},
	} {
		if out := alice.ok(t, args...); args[1] != "timeline" && !strings.Contains(out, "alice@acme.example") || !strings.Contains(out, "CHG-9: quietly") {
			t.Errorf("%s does not tell who and why:\n%s", strings.Join(args, " "), out)
		}
	}
	var found struct {
		Entries []audit.Entry `json:"entries"`
	}
	alice.json(t, &found, "audit", "query", "--workflow", "sealed-1", "--action", "StartWorkflowExecution")
	if len(found.Entries) != 1 {
		t.Fatalf("%d starts on record", len(found.Entries))
	}
	id := found.Entries[0].ID
	eventually(t, "the decision is followed to its login", func() string {
		var chain struct {
			Links []struct{ What string } `json:"links"`
		}
		alice.json(t, &chain, "audit", "correlate", id)
		for _, l := range chain.Links {
			if l.What == "login" {
				return ""
			}
		}
		return "no login behind it"
	})
	alice.ok(t, "audit", "reconcile", "--from", "1h") // exit code 4 for a bypass

	pack := filepath.Join(s.dir, "pack")
	day := found.Entries[0].Time.UTC().Format("2006-01-02")
	alice.ok(t, "evidence", "--from", day, "--to", day, "-o", pack, "--pdf", "never")
	alice.ok(t, "evidence", "verify", pack, "--from-log")
	if raw, err := os.ReadFile(filepath.Join(pack, "entries", "access.csv")); err != nil || !bytes.Contains(raw, []byte("alice@acme.example")) {
		t.Errorf("the evidence pack does not name alice: %v", err)
	}

	proof := filepath.Join(s.dir, "proof.json")
	alice.ok(t, "audit", "prove", id, "-o", proof)
	var proven struct {
		IssuerKey *struct{ JWK json.RawMessage } `json:"issuer_key"`
	}
	alice.json(t, &proven, "audit", "verify-bundle", proof)
	if proven.IssuerKey == nil {
		t.Error("the proof does not hold the issuer's key")
	}
	alice.ok(t, "audit", "verify", "--index")

	for _, dir := range []string{"log", "journal", "journal-control"} {
		err := filepath.WalkDir(filepath.Join(s.state(), dir), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			raw, err := os.ReadFile(name)
			for _, word := range []string{"alice@acme.example", "00ualice", "CHG-9"} {
				if bytes.Contains(raw, []byte(word)) {
					t.Errorf("%s names %s", name, word)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
