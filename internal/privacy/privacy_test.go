package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const (
	alice = "user:https://acme.example|00u1"
	bob   = "user:https://acme.example|00u2"
)

var at = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func store(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "privacy"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// entries is one of each shape in which people occur.
func entries() []audit.Entry {
	return []audit.Entry{
		{Version: 1, ID: "d1", Time: at, Kind: audit.KindDecision, Gate: "g", Actor: audit.Party{Principal: alice, Login: "alice@acme.example", ClientID: "cli", Groups: []string{"dev-secret"}, TokenID: "AT.secret",
			Actors: []string{"client:https://acme.example|agent", bob}}, Action: "StartWorkflowExecution", Access: "operate", Resource: policy.Resource{Namespace: "payments", WorkflowID: "w1"},
			Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed}, Reason: "my secret reason", Source: "192.0.2.77"},
		{Version: 1, ID: "r1", Time: at, Kind: audit.KindRevocation, Gate: "g", Actor: audit.Party{Principal: "gate:control"},
			Detail: map[string]string{"event": "group_removed", "subject": bob, "login": "bob@acme.example", "group": "ops-secret", "source": "event_hook"}},
		{Version: 1, ID: "a1", Time: at, Kind: audit.KindAccess, Gate: "g", Actor: audit.Party{Principal: alice, Login: "alice@acme.example"}, Reason: "bob needs it: secret",
			Detail: map[string]string{"event": "approved", "request": "q1", "requester": bob, "requester_login": "bob@acme.example", "role": "write", "text": "on call: secret"}},
		{Version: 1, ID: "w1", Time: at, Kind: audit.KindDecision, Gate: "g", Actor: audit.Party{Principal: "client:https://acme.example|worker", ClientID: "worker", Groups: []string{"workers"}}, Source: "10.0.0.1",
			Reason: "alice said secret", Decision: &policy.Decision{Allow: true}, Detail: map[string]string{audit.DetailOriginator: alice, audit.DetailOriginatorLogin: "alice@acme.example", audit.DetailAttestation: "x"}},
		{Version: 1, ID: "n1", Time: at, Kind: audit.KindDecision, Gate: "g", Decision: &policy.Decision{Code: "token_missing"}, Source: "192.0.2.99", Reason: "let me in: secret"},
		{Version: 1, ID: "l1", Time: at, Kind: audit.KindDirectory, Gate: "g", Detail: map[string]string{"event": "joined", "login": "carol@acme.example"}},
		{Version: 1, ID: "g1", Time: at, Kind: audit.KindGate, Gate: "g", Actor: audit.Party{Principal: "gate:g"}, Detail: map[string]string{"event": "started"}},
	}
}

// Protecting hides what is personal and opening gives it back, to the byte.
func TestProtectAndOpen(t *testing.T) {
	s := store(t)
	for _, e := range entries() {
		before, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Protect(e)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"alice", "bob", "carol", "00u1", "00u2", "secret", "192.0.2."} {
			if bytes.Contains(raw, []byte(word)) {
				t.Errorf("%s: %q can be read: %s", e.ID, word, raw)
			}
		}
		read, err := audit.ParseEntry(raw)
		if err != nil {
			t.Fatalf("%s: not an entry: %v", e.ID, err)
		}
		again, err := NewOpener(s).Open(read).Marshal()
		if err != nil || !bytes.Equal(again, before) {
			t.Errorf("%s: opened %s\nwant %s", e.ID, again, before)
		}
		if now, err := e.Marshal(); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: protecting changed the caller's entry", e.ID)
		}
		if twice, err := s.Protect(p); err != nil || !reflect.DeepEqual(twice, p) {
			t.Errorf("%s: protected twice", e.ID)
		}
	}
	// What is nobody's stays readable.
	p, _ := s.Protect(entries()[3])
	if p.Source != "10.0.0.1" || p.Actor.ClientID != "worker" || len(p.Actor.Groups) != 1 {
		t.Errorf("a service is hidden: %+v", p)
	}
}

// A person has one pseudonym, in every role and at every gate that shares the store; nobody without the key can make it.
func TestPseudonyms(t *testing.T) {
	s := store(t)
	again, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	e := entries()
	a, _ := s.Protect(e[0])
	b, _ := again.Protect(e[1])
	c, _ := s.Protect(e[2])
	if a.Actor.Actors[1] != b.Detail["subject"] || b.Detail["subject"] != c.Detail["requester"] || a.Actor.Principal != c.Actor.Principal || a.Actor.Principal == b.Detail["subject"] {
		t.Errorf("pseudonyms: %v %v %v", a.Actor, b.Detail, c.Detail)
	}
	other, _ := store(t).Protect(e[0])
	if other.Actor.Principal == a.Actor.Principal {
		t.Error("a pseudonym can be made without the key")
	}
	for _, who := range []string{alice, "Alice@acme.example", a.Actor.Principal} {
		if found, err := NewOpener(s).Find(who); err != nil || len(found) != 1 || found[0].Subject != alice {
			t.Errorf("%s: %+v %v", who, found, err)
		}
	}
	names, _ := os.ReadDir(s.dir)
	for _, n := range names {
		if strings.Contains(n.Name(), "00u") {
			t.Errorf("a file's name tells whose it is: %s", n.Name())
		}
		if info, _ := n.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", n.Name(), info.Mode())
		}
	}
}

// Erasing one person leaves every other entry readable, and what that person does later is under a new key.
func TestErase(t *testing.T) {
	s := store(t)
	var sealed []audit.Entry
	for _, e := range entries() {
		p, err := s.Protect(e)
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, p)
	}
	if err := s.Erase(bob); err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(bob); !errors.Is(err, ErrNoKey) {
		t.Errorf("erased twice: %v", err)
	}
	o := NewOpener(s)
	first := o.Open(sealed[0])
	if first.Actor.Login != "alice@acme.example" || first.Reason != "my secret reason" || !strings.HasPrefix(first.Actor.Actors[1], pseudonymPrefix) {
		t.Errorf("alice's entry: %+v", first)
	}
	if r := o.Open(sealed[1]); r.Detail["login"] != Erased || r.Detail["group"] != "" || r.Detail["event"] != "group_removed" || !strings.HasPrefix(r.Detail["subject"], pseudonymPrefix) {
		t.Errorf("bob's entry: %+v", r)
	}
	if r := o.Open(sealed[2]); r.Detail["requester_login"] != Erased || r.Actor.Login != "alice@acme.example" {
		t.Errorf("a request of bob's: %+v", r)
	}
	files, _ := filepath.Glob(filepath.Join(s.dir, "*"))
	for _, f := range files {
		if raw, _ := os.ReadFile(f); bytes.Contains(raw, []byte("bob@")) || bytes.Contains(raw, []byte("00u2")) {
			t.Errorf("%s still tells of bob", f)
		}
	}
	later, err := s.Protect(entries()[1])
	if err != nil || later.Detail["subject"] == sealed[1].Detail["subject"] {
		t.Errorf("what came later has the old pseudonym: %v", err)
	}
	if NewOpener(s).Open(later).Detail["login"] != "bob@acme.example" {
		t.Error("what came later can't be read")
	}
}

// Another process that has the key in memory stops using it soon after it was destroyed.
func TestEraseReachesOtherProcesses(t *testing.T) {
	s := store(t)
	gate, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := gate.Protect(entries()[1])
	if err := s.Erase(bob); err != nil {
		t.Fatal(err)
	}
	gate.mu.Lock()
	gate.known[bob].checked = time.Now().Add(-2 * revalidate) // time passes
	gate.mu.Unlock()
	after, err := gate.Protect(entries()[1])
	if err != nil || after.Detail["subject"] == before.Detail["subject"] {
		t.Errorf("the destroyed key is used: %v", err)
	}
}

// A crash while a key is destroyed: the next start finishes it.
func TestEraseAfterCrash(t *testing.T) {
	s := store(t)
	p, _ := s.Protect(entries()[1])
	if err := os.Rename(s.path(bob), s.path(bob)+erasing); err != nil {
		t.Fatal(err)
	}
	again, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path(bob) + erasing); !errors.Is(err, os.ErrNotExist) {
		t.Error("the key is still there")
	}
	if NewOpener(again).Open(p).Detail["login"] != Erased {
		t.Error("bob can be read")
	}
}

// A ciphertext taken to another entry or another part does not open.
func TestSwappedCiphertexts(t *testing.T) {
	s := store(t)
	e := entries()
	a, _ := s.Protect(e[0])
	c, _ := s.Protect(e[2]) // also alice's
	a.Detail[detailSealed] = c.Detail[detailSealed]
	if got := NewOpener(s).Open(a); got.Actor.Login != Unreadable {
		t.Errorf("taken from another entry: %+v", got.Actor)
	}
	c.Detail[detailSealed], c.Detail[detailSealed+".requester"] = c.Detail[detailSealed+".requester"], c.Detail[detailSealed]
	if got := NewOpener(s).Open(c); got.Actor.Login != Unreadable || got.Detail["requester_login"] != Unreadable {
		t.Errorf("parts swapped: %+v", got)
	}
	for _, v := range []string{"", "v1", "v2.x.y", "v1..", "v1." + a.Actor.Principal + ".AAAA", "v1." + a.Actor.Principal + ".=", strings.Repeat(".", 1000)} {
		x := a
		x.Detail = map[string]string{detailSealed: v, "sealed.actors.99": v, "sealedness": "kept"}
		if got := NewOpener(s).Open(x); got.Detail["sealedness"] != "kept" {
			t.Errorf("%q: %+v", v, got)
		}
	}
}

// fakeJournal keeps what it gets.
type fakeJournal struct {
	mu  sync.Mutex
	got []audit.Entry
}

func (j *fakeJournal) Append(_ context.Context, e audit.Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.got = append(j.got, e)
	return uint64(len(j.got) - 1), nil
}

func (j *fakeJournal) Enqueue(e audit.Entry) error {
	_, err := j.Append(context.Background(), e)
	return err
}

// Without a key nothing is written: uncertain is closed.
func TestRecorderFailsClosed(t *testing.T) {
	s := store(t)
	j := &fakeJournal{}
	r := NewRecorder(j, s)
	if _, err := r.Append(t.Context(), entries()[0]); err != nil || len(j.got) != 1 || j.got[0].Actor.Login != "" {
		t.Fatalf("%v %+v", err, j.got)
	}
	if err := os.Rename(s.dir, s.dir+".away"); err != nil {
		t.Fatal(err)
	}
	fresh := entries()[0]
	fresh.Actor.Principal = "user:https://acme.example|new"
	if _, err := r.Append(t.Context(), fresh); err == nil || len(j.got) != 1 {
		t.Errorf("a new person without a key: %v", err)
	}
	if err := r.Enqueue(fresh); err == nil || len(j.got) != 1 {
		t.Errorf("a new person without a key: %v", err)
	}
}

// Many at once, of few people: one key each.
func TestConcurrentKeys(t *testing.T) {
	s := store(t)
	other, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	j := &fakeJournal{}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			st := s
			if i%2 == 0 {
				st = other
			}
			e := entries()[0]
			e.ID, e.Actor.Principal = fmt.Sprint("d", i), fmt.Sprintf("user:x|%d", i%4)
			if _, err := NewRecorder(j, st).Append(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	o := NewOpener(s)
	for _, e := range j.got {
		seen[e.Actor.Principal] = true
		if o.Open(e).Actor.Login != "alice@acme.example" {
			t.Errorf("can't be read: %+v", e)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d pseudonyms of 4 people", len(seen))
	}
}

// A store that others can read is not used, nor a key file.
func TestStorePermissions(t *testing.T) {
	s := store(t)
	if _, err := s.Protect(entries()[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path(alice), 0o640); err != nil {
		t.Fatal(err)
	}
	fresh, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Protect(entries()[0]); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(s.dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a store that others can read: %v", err)
	}
}

func TestConcerns(t *testing.T) {
	for i, want := range []bool{true, true, true, false, false, false, false} {
		e := entries()[i]
		if Concerns(&e, bob, "bob@acme.example") != want {
			t.Errorf("%s: %v", e.ID, !want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s, err := OpenStore(filepath.Join(f.TempDir(), "privacy"))
	if err != nil {
		f.Fatal(err)
	}
	p, err := s.Protect(entries()[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", p.Detail[detailSealed])
	f.Add(".actors.1", p.Detail[detailSealed+".actors.1"])
	o := NewOpener(s)
	f.Fuzz(func(t *testing.T, part, value string) {
		e := p
		e.Detail = map[string]string{detailSealed + part: value}
		got := o.Open(e)
		if got.Actor.Login == "alice@acme.example" && (part != "" || value == "") {
			t.Error("opened what was not sealed")
		}
	})
}

func BenchmarkProtect(b *testing.B) {
	s, err := OpenStore(filepath.Join(b.TempDir(), "privacy"))
	if err != nil {
		b.Fatal(err)
	}
	e := entries()[0]
	e.Actor.Actors = nil
	for b.Loop() {
		if _, err := s.Protect(e); err != nil {
			b.Fatal(err)
		}
	}
}
