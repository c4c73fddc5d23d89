package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A pack with the people of the directory is made by whoever may read the log, checks out offline, and tells apart what is not of the log.
func TestEvidenceWithPeopleOfTheDirectory(t *testing.T) {
	e := newListedEnv(t)
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.post(t, "/v1/audit/erase", e.issuer.User("alice@acme.example"), `{}`) // something about alice
	e.seal(t)
	today := time.Now().UTC()
	pack := filepath.Join(t.TempDir(), "pack")
	key := "@" + e.state.path("log.vkey")
	ask := []string{"evidence", "--from", today.AddDate(0, 0, -1).Format(time.DateOnly), "--to", today.AddDate(0, 0, 1).Format(time.DateOnly), "--key", key, "--pdf", "never", "--directory", "-o", pack}

	e.as(e.issuer.User("alice@acme.example", "temporal:deploy:admin"))
	if code, out := e.run(ask...); code != exitDenied || !strings.Contains(out, "no_permission") {
		t.Errorf("alice: %d %s", code, out)
	}
	e.as(e.issuer.User("carol@acme.example", "security"))
	if code, out := e.run(append(ask, "--pseudonyms")...); code != exitUsage {
		t.Errorf("with pseudonyms: %d %s", code, out)
	}
	if _, err := os.Stat(pack); err == nil {
		t.Fatal("there is a pack")
	}
	if code, out := e.run(ask...); code != exitOK || !strings.Contains(out, "directory") || !strings.Contains(out, "on record: ") {
		t.Fatalf("%d %s", code, out)
	}
	if code, out := e.run("evidence", "verify", pack, "--key", key); code != exitOK {
		t.Errorf("%d %s", code, out)
	}
	people, err := os.ReadFile(filepath.Join(pack, "entries", "people.csv"))
	if err != nil || !strings.Contains(string(people), "alice@acme.example,user:"+e.issuer.URL+"|") || !strings.Contains(string(people), ",deploy,write,operate,") {
		t.Errorf("%v %s", err, people)
	}
	listing, err := os.ReadFile(filepath.Join(pack, "directory.jsonl"))
	if err != nil || strings.Contains(string(listing), `"security"`) || strings.Contains(string(listing), "profile") {
		t.Errorf("more than roles is told of people (%v): %s", err, listing)
	}
	// Another listing than the one on record is found.
	if err := os.WriteFile(filepath.Join(pack, "directory.jsonl"), append(listing, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := e.run("evidence", "verify", pack, "--key", key); code != exitUnproven || !strings.Contains(out, "file_altered directory.jsonl") {
		t.Errorf("%d %s", code, out)
	}
}
