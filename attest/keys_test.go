package attest_test

import (
	"crypto/x509"
	encpem "encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// keyring is a key directory with a clock that the test moves, and what was told of its keys.
type keyring struct {
	*attest.Keys
	dir    string
	now    time.Time
	events []attest.KeyEvent
}

func openKeys(t *testing.T, dir string, change func(*attest.KeysConfig)) *keyring {
	t.Helper()
	k := &keyring{dir: dir, now: typical().IssuedAt}
	k.open(t, change)
	return k
}

func (k *keyring) open(t *testing.T, change func(*attest.KeysConfig)) {
	t.Helper()
	cfg := attest.KeysConfig{Path: k.dir, Overlap: 10 * time.Minute, Clock: func() time.Time { return k.now }, OnEvent: func(e attest.KeyEvent) { k.events = append(k.events, e) }}
	if change != nil {
		change(&cfg)
	}
	var err error
	if k.Keys, err = attest.OpenKeys(cfg); err != nil {
		t.Fatal(err)
	}
}

// add puts a key file into the directory, as an operator would.
func (k *keyring) add(t *testing.T, label string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(fixedKey(label))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(k.dir, label+".pem"), encpem.EncodeToMemory(&encpem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *keyring) look(t *testing.T) {
	t.Helper()
	if err := k.Look(); err != nil {
		t.Fatal(err)
	}
}

// sign signs now, and returns the statement and the key.
func (k *keyring) sign(t *testing.T) (raw, kid string) {
	t.Helper()
	st := typical()
	st.IssuedAt = k.now
	raw = mustSign(t, k.Signer(), st)
	_, kid, _ = parts(t, raw)
	return raw, kid
}

// told lists events as "event label".
func (k *keyring) told(labels ...string) string {
	var out []string
	for _, e := range k.events {
		name := "?"
		for _, l := range labels {
			if attest.NewSigner(fixedKey(l)).KeyID() == e.Key.ID {
				name = l
			}
		}
		out = append(out, e.Event+" "+name)
	}
	k.events = nil
	return strings.Join(out, ", ")
}

func keyID(label string) string { return attest.NewSigner(fixedKey(label)).KeyID() }

func TestKeysRotateWithOverlap(t *testing.T) {
	k := openKeys(t, filepath.Join(t.TempDir(), "keys"), nil)
	if got := k.told(); got != "created ?, published ?" {
		t.Errorf("at first: %s", got)
	}
	first, firstID := k.sign(t)
	worker := k.Signer().PublicKeySet() // as a worker fetched it before the rotation

	k.add(t, "next")
	k.now = k.now.Add(time.Minute)
	k.look(t)
	if got := k.told("next"); got != "published ?, published next" && got != "published next, published ?" {
		t.Errorf("after the next key came: %s", got)
	}
	if _, id := k.sign(t); id != firstID {
		t.Error("the next key signs before it was published for long enough")
	}
	fetched := k.Signer().PublicKeySet() // what workers have by the time it signs
	k.now = k.now.Add(10*time.Minute - time.Second)
	if _, id := k.sign(t); id != firstID {
		t.Error("the next key signs a second early")
	}
	k.now = k.now.Add(time.Second)
	second, secondID := k.sign(t) // no look was needed
	if secondID != keyID("next") {
		t.Errorf("%s signs, want the next key", secondID)
	}
	k.look(t)
	if got := k.told("next"); got != "rotated next" {
		t.Errorf("at the rotation: %s", got)
	}
	if _, err := fetched.Verify(second, audience); err != nil {
		t.Errorf("a worker that fetched during the overlap: %v", err)
	}
	_, err := worker.Verify(second, audience)
	wantCode(t, err, attest.CodeKeyUnknown)

	// The old key signs no more, and what it signed stays good for ever.
	k.now = k.now.Add(2 * time.Minute)
	k.look(t)
	if got := k.told("next"); got != "retired ?" {
		t.Errorf("after the rotation: %s", got)
	}
	k.now = k.now.Add(5 * 365 * 24 * time.Hour)
	k.look(t)
	if _, err := k.Signer().Verify(first, audience); err != nil {
		t.Errorf("years later: %v", err)
	}
	published, err := attest.PublishedKeys(k.dir)
	if err != nil || !published.Equal(k.Signer().PublicKeySet()) || published.Len() != 2 {
		t.Errorf("published %s, %v", published.JSON(), err)
	}

	// A restart finds everything as it was.
	k.open(t, nil)
	if got := k.told("next"); got != "published next" {
		t.Errorf("at a restart: %s", got)
	}
	if _, id := k.sign(t); id != secondID || !k.Signer().PublicKeySet().Equal(published) {
		t.Error("a restart changed the keys")
	}
}

func TestThievesOfRetiredKeys(t *testing.T) {
	k := openKeys(t, t.TempDir(), nil)
	k.add(t, "stolen")
	k.look(t)
	k.now = k.now.Add(time.Hour)
	if _, id := k.sign(t); id != keyID("stolen") {
		t.Fatal("the key does not sign")
	}
	k.now = k.now.Add(time.Hour)
	if err := os.Remove(filepath.Join(k.dir, "stolen.pem")); err != nil {
		t.Fatal(err)
	}
	k.look(t)
	if _, id := k.sign(t); id == keyID("stolen") || id == "" {
		t.Errorf("%q signs after the key was taken away", id)
	}
	thief := attest.NewSigner(fixedKey("stolen"))
	st := typical()
	st.IssuedAt = k.now.Add(time.Second)
	_, err := k.Signer().Verify(mustSign(t, thief, st), audience)
	wantCode(t, err, attest.CodeKeyRetired)
}

// Changing one's mind about the next key leaves the one in use in use, with a new successor announced.
func TestNextKeyTakenAwayAgain(t *testing.T) {
	k := openKeys(t, t.TempDir(), nil)
	_, first := k.sign(t)
	k.add(t, "next")
	k.look(t)
	k.now = k.now.Add(time.Minute)
	if err := os.Remove(filepath.Join(k.dir, "next.pem")); err != nil {
		t.Fatal(err)
	}
	k.look(t)
	if _, id := k.sign(t); id != first {
		t.Errorf("%s signs", id)
	}
	for range 30 {
		k.now = k.now.Add(time.Minute)
		k.look(t)
		raw, _ := k.sign(t)
		if _, err := k.Signer().Verify(raw, audience); err != nil {
			t.Fatalf("%s: %v", k.now, err)
		}
	}
	if n := k.Signer().PublicKeySet().Len(); n != 2 {
		t.Errorf("%d keys", n)
	}
}

func TestKeysByLifetime(t *testing.T) {
	k := openKeys(t, t.TempDir(), func(c *attest.KeysConfig) { c.Lifetime = 24 * time.Hour })
	signed := map[string]string{} // by key
	for range 4 * 24 {
		k.now = k.now.Add(time.Hour)
		k.look(t)
		raw, id := k.sign(t)
		signed[id] = raw
	}
	if len(signed) < 4 || len(signed) > 5 {
		t.Errorf("%d keys signed in four days", len(signed))
	}
	for id, raw := range signed {
		if _, err := k.Signer().Verify(raw, audience); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	// What was told suffices to verify everything, without the directory.
	archived, err := attest.ArchivedKeys(func(yield func(map[string]string) bool) {
		yield(map[string]string{"event": "created", "use": "checkpoint", "kid": "x", "jwk": "{}"})
		for _, e := range k.events {
			if !yield(e.Detail()) {
				return
			}
		}
	})
	if err != nil || !archived.Equal(k.Signer().PublicKeySet()) {
		t.Errorf("archived %s, published %s (%v)", archived.JSON(), k.Signer().PublicKeySet().JSON(), err)
	}
	for id, raw := range signed {
		if _, err := archived.Verify(raw, audience); err != nil {
			t.Errorf("from the log alone, %s: %v", id, err)
		}
	}
}

func TestArchivedKeysRefuse(t *testing.T) {
	good := attest.KeyEvent{Event: attest.KeyPublished, Key: attest.NewSigner(fixedKey("a")).PublicKeySet().Keys()[0]}.Detail()
	for name, change := range map[string]func(map[string]string){
		"another kid": func(d map[string]string) { d["kid"] = keyID("b") },
		"no key":      func(d map[string]string) { d["jwk"] = "{}" },
		"no JSON":     func(d map[string]string) { d["jwk"] = "x" },
		"private":     func(d map[string]string) { d["jwk"] = strings.Replace(d["jwk"], "{", `{"d":"AAAA",`, 1) },
		"a bad time":  func(d map[string]string) { d["exp"] = "tomorrow" },
	} {
		d := map[string]string{}
		for k, v := range good {
			d[k] = v
		}
		change(d)
		if set, err := attest.ArchivedKeys(slices.Values([]map[string]string{d})); err == nil {
			t.Errorf("%s: %s", name, set.JSON())
		}
	}
	if set, err := attest.ArchivedKeys(slices.Values([]map[string]string{good})); err != nil || set.Len() != 1 {
		t.Errorf("%s, %v", set.JSON(), err)
	}
}

func TestKeyDirectoryBadInput(t *testing.T) {
	k := openKeys(t, t.TempDir(), nil)
	_, first := k.sign(t)
	other := attest.NewSigner(fixedKey("other gate"))
	for name, content := range map[string]string{"half.pem": "-----BEGIN PRIV", "readme.txt": "x", "broken.jwks": "{", "east.jwks": string(other.PublicKeySet().JSON())} {
		if err := os.WriteFile(filepath.Join(k.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.look(t)
	if _, id := k.sign(t); id != first {
		t.Error("another key signs because of rubbish")
	}
	if _, err := k.Signer().Verify(mustSign(t, other, typical()), audience); err != nil {
		t.Errorf("a peer's statement: %v", err)
	}
	// Without the published set, nobody knows what retired keys may have signed.
	if err := os.WriteFile(filepath.Join(k.dir, "keys.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Look(); err == nil {
		t.Error("a damaged set went unnoticed")
	}
	if _, err := attest.OpenKeys(attest.KeysConfig{Path: k.dir}); err == nil || !strings.Contains(err.Error(), "keys.json") {
		t.Errorf("a damaged set: %v", err)
	}
	if _, id := k.sign(t); id != first {
		t.Error("the last good keys did not stay")
	}
}

func TestOneKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attestation.pem")
	k := openKeys(t, path, nil)
	if got := k.told(); got != "published ?" {
		t.Errorf("told %s", got)
	}
	_, id := k.sign(t)
	k.look(t)
	set, err := attest.PublishedKeys(path)
	if err != nil || set.Len() != 1 || set.Keys()[0].ID != id {
		t.Errorf("%s, %v", set.JSON(), err)
	}
}

// Gates sign while keys come and go; processes with one directory agree.
func TestKeysConcurrently(t *testing.T) {
	dir := t.TempDir()
	a, b := openKeys(t, dir, nil), openKeys(t, dir, nil)
	if !a.Signer().PublicKeySet().Equal(b.Signer().PublicKeySet()) {
		t.Fatal("two processes do not agree on the keys")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				raw, err := a.Signer().Sign(typical())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := a.Signer().Verify(raw, audience); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, label := range []string{"x", "y", "z"} {
		a.add(t, label)
		a.look(t)
		b.look(t)
	}
	wg.Wait()
	if !a.Signer().PublicKeySet().Equal(b.Signer().PublicKeySet()) || a.Signer().PublicKeySet().Len() != 4 {
		t.Errorf("%s\n%s", a.Signer().PublicKeySet().JSON(), b.Signer().PublicKeySet().JSON())
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keyring{dir: t.TempDir()}
		k.open(t, func(c *attest.KeysConfig) { c.Clock = time.Now })
		go k.Watch(t.Context())
		k.add(t, "next")
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if id := k.Signer().KeyID(); id != keyID("next") {
			t.Errorf("%s signs", id)
		}
	})
}
