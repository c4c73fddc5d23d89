package evidence_test

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/evidence"
)

const (
	provider = "https://acme.okta.example/oauth2/default" // of the made-up company
	onRecord = "0199fffffff0"
)

// listing is what a provider's directory says: the first of the company's people as they were, the second may not sign in any more, and somebody new.
func listing() string {
	return `{"v":1,"issuer":"` + provider + `","as_of":"2026-12-30T12:00:00Z"}
{"id":"00u00000000000000000","login":"alice1@acme.example","status":"ACTIVE","active":true,"groups":["temporal:payments-prod:write"]}
{"id":"00u00000000000000001","login":"bob1@acme.example","status":"SUSPENDED","active":false,"groups":["temporal:payments-dev:write"]}
{"id":"00unew00000000000001","login":"=newton@acme.example","status":"ACTIVE","active":true,"groups":["temporal:ledger:admin","temporal:ledger:odd"]}
`
}

// withListing is a company whose log says that a listing of this digest was handed out.
func withListing(t *testing.T, text, digest string) evidence.Config {
	t.Helper()
	c, cfg := company(t, 700)
	c.Log.Add(audit.Entry{ID: onRecord, Time: time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC), Kind: audit.KindAdmin, Gate: "control", Detail: map[string]string{"event": "directory_listed", "sha256": digest}})
	if err := c.Log.Seal(); err != nil {
		t.Fatal(err)
	}
	cfg.Settings.Directory = &evidence.Listing{SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text))), Entry: onRecord}
	cfg.Directory = opens(text)
	return cfg
}

// Beside who used what stands who holds what at the provider; the pack still verifies, and says which part is not of the log.
func TestListingOfPeople(t *testing.T) {
	text := listing()
	cfg := withListing(t, text, fmt.Sprintf("%x", sha256.Sum256([]byte(text))))
	dir, _ := makePack(t, cfg)
	if v := verify(t, dir, cfg.VerifierKey, cfg.Log); !v.OK() {
		t.Fatalf("%+v", v.Problems)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "directory.jsonl"))
	if err != nil || string(kept) != text {
		t.Errorf("the listing is not kept as it was handed out: %v", err)
	}
	file, err := os.Open(filepath.Join(dir, "entries", "people.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	none := map[string]bool{}
	var told []string
	for _, r := range rows[1:] {
		if r[2] == "no role" {
			none[r[0]] = true
			if r[5] != "" || r[7] == "0" || r[11] == "" {
				t.Errorf("%v", r)
			}
			continue
		}
		if used := r[7] != "0"; used != (r[11] != "") || used != strings.HasPrefix(r[0], "alice1") && used != strings.HasPrefix(r[0], "bob1") {
			t.Errorf("%v", r)
		}
		told = append(told, strings.Join(r[:7], "|"))
	}
	p := "user:" + provider + "|"
	if want := []string{
		"'=newton@acme.example|" + p + "00unew00000000000001|active|ACTIVE|ledger|admin|administer", "'=newton@acme.example|" + p + "00unew00000000000001|active|ACTIVE|ledger|odd|",
		"alice1@acme.example|" + p + "00u00000000000000000|active|ACTIVE|payments-prod|write|operate", "bob1@acme.example|" + p + "00u00000000000000001|may not sign in|SUSPENDED|payments-dev|write|operate",
	}; !slices.Equal(told, want) {
		t.Errorf("roles at the provider:\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if len(none) < 50 || none["alice1@acme.example"] || none["bob1@acme.example"] || !none["carol1@acme.example"] {
		t.Errorf("people with no role: %v", none)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"true up to 30 Dec 2026 12:00:00 UTC", "3 people with a role", "1 may not sign in", "not made from the log", onRecord, "newton@acme.example", "people with roles at the provider"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q", want)
		}
	}

	// Without one the pack has none of it.
	plain := cfg
	plain.Settings.Directory, plain.Directory = nil, nil
	dir, _ = makePack(t, plain)
	if _, err := os.Stat(filepath.Join(dir, "entries", "people.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A listing that is not the one on record makes no pack, and one that was exchanged in a pack is found, even with all digests made to fit.
func TestListingIsTheOneOnRecord(t *testing.T) {
	text := listing()
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	other := strings.Replace(text, "temporal:ledger:admin", "temporal:ledger:read", 1)
	good := withListing(t, text, sum)
	for what, change := range map[string]func(*evidence.Config){
		"another file":      func(c *evidence.Config) { c.Directory = opens(other) },
		"no file":           func(c *evidence.Config) { c.Directory = nil },
		"another on record": func(c *evidence.Config) { *c = withListing(t, text, strings.Repeat("00", 32)) },
		"no head": func(c *evidence.Config) {
			*c = withListing(t, "{}\n", fmt.Sprintf("%x", sha256.Sum256([]byte("{}\n"))))
		},
		"empty, and on record": func(c *evidence.Config) { *c = withListing(t, "", fmt.Sprintf("%x", sha256.Sum256(nil))) },
	} {
		cfg := good
		change(&cfg)
		if _, err := evidence.Make(t.Context(), cfg, filepath.Join(t.TempDir(), "pack")); err == nil || !errors.Is(err, evidence.ErrSettings) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", what, err)
		}
	}

	cfg := good
	dir, _ := makePack(t, cfg)
	if err := os.WriteFile(filepath.Join(dir, "directory.jsonl"), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "manifest.json")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var m evidence.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m.Settings.Directory.SHA256 = fmt.Sprintf("%x", sha256.Sum256([]byte(other)))
	for i := range m.Files {
		if m.Files[i].Path == "directory.jsonl" {
			m.Files[i].SHA256, m.Files[i].Size = m.Settings.Directory.SHA256, int64(len(other))
		}
	}
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, dir, cfg.VerifierKey, nil); v.OK() || !strings.Contains(v.Problems[0].Text, onRecord) {
		t.Errorf("%+v", v.Problems)
	}
}

func opens(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}
