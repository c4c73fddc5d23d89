package privacy

import (
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// A kept text is readable while everybody it is about has a key, in every process that has the keys, under its own name only.
func TestSealAndUnseal(t *testing.T) {
	s := store(t)
	who := audit.Party{Principal: alice, Login: "alice@acme.example", Actors: []string{"client:https://acme.example|agent", bob}}
	const text = `{"reason":"my secret reason"}`
	sealed, err := s.Seal("d1", who, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"secret", "alice", "bob", "00u1"} {
		if strings.Contains(sealed, word) {
			t.Errorf("%q can be read in %s", word, sealed)
		}
	}
	if found, err := s.Find("alice@acme.example"); err != nil || len(found) != 1 || found[0].Subject != alice {
		t.Errorf("alice can't be erased by her login: %v, %v", found, err)
	}
	other, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	reads := func(s *Store, name, want string, wantErased, wantErr bool) {
		t.Helper()
		plain, erased, err := s.Unseal(name, sealed)
		if string(plain) != want || erased != wantErased || (err != nil) != wantErr {
			t.Errorf("%s reads %q, erased %v, %v", name, plain, erased, err)
		}
	}
	reads(s, "d1", text, false, false)
	reads(other, "d1", text, false, false)
	reads(s, "d2", "", false, true)
	for i := range len(sealed) {
		if i == 0 || sealed[i] == '.' || sealed[i] == ',' {
			continue
		}
		altered := []byte(sealed)
		if altered[i]++; string(altered) == sealed {
			continue
		}
		if plain, _, _ := s.Unseal("d1", string(altered)); plain != nil {
			t.Fatalf("altered at %d it reads %q", i, plain)
		}
	}
	for cut := range len(sealed) {
		if plain, _, _ := s.Unseal("d1", sealed[:cut]); plain != nil {
			t.Fatalf("cut at %d it reads %q", cut, plain)
		}
	}
	// It goes with the first of them who is erased, also where it is still in mind.
	if err := s.Erase(bob); err != nil {
		t.Fatal(err)
	}
	reads(s, "d1", "", true, false)
	if again, err := s.Seal("d1", who, []byte(text)); err != nil || again == "" {
		t.Fatal(err)
	}
	reads(s, "d1", "", true, false) // another key than before
}

// Services have no personal data.
func TestSealOfAService(t *testing.T) {
	if sealed, err := store(t).Seal("d1", audit.Party{Principal: "client:https://acme.example|worker"}, []byte(`{}`)); sealed != "" || err != nil {
		t.Errorf("%q, %v", sealed, err)
	}
}
