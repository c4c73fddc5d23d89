package privacy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Unreadable stands in readers for a ciphertext that does not decrypt though the key is there: verify the log.
const Unreadable = "⟨unreadable⟩"

// Opener gives readers back what Recorders protected, while the keys exist. It is safe for concurrent use. A nil Opener changes nothing.
type Opener struct {
	stores []*Store

	mu     sync.Mutex // covers the following
	keys   map[string]*record
	loaded time.Time
}

// NewOpener returns an Opener of these stores.
func NewOpener(stores ...*Store) *Opener { return &Opener{stores: stores} }

// load reads all keys, at most once in a second, and again as soon as a key is asked for that was not there.
func (o *Opener) load() error {
	keys := map[string]*record{}
	for _, s := range o.stores {
		all, err := s.all()
		if err != nil {
			return err
		}
		for i := range all {
			keys[all[i].Pseudonym] = &all[i]
		}
	}
	o.keys, o.loaded = keys, time.Now()
	return nil
}

// key returns the key behind a pseudonym.
func (o *Opener) key(pseudonym string) (*record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.loaded) > revalidate {
		if err := o.load(); err != nil {
			return nil, err
		}
	}
	if r := o.keys[pseudonym]; r != nil {
		return r, nil
	}
	return nil, ErrNoKey
}

// Open returns the entry as it was before it was protected. What was erased reads Erased.
func (o *Opener) Open(e audit.Entry) audit.Entry {
	if o == nil {
		return e
	}
	return open(e, func(part, pseudonym string) ([]byte, error) {
		r, err := o.key(pseudonym)
		if err != nil {
			return nil, err
		}
		return entryKey(r.Key, e.ID, part), nil
	})
}

// sealedParts lists the parts of an entry that are encrypted.
func sealedParts(e audit.Entry) []string {
	var parts []string
	for k := range e.Detail {
		if ours(k) {
			parts = append(parts, strings.TrimPrefix(strings.TrimPrefix(k, detailSealed), "."))
		}
	}
	return parts
}

// open decrypts what is encrypted in an entry, each part by the key that keyOf finds for it.
func open(e audit.Entry, keyOf func(part, pseudonym string) ([]byte, error)) audit.Entry {
	parts := sealedParts(e)
	if len(parts) == 0 {
		return e
	}
	e.Detail = maps.Clone(e.Detail)
	for _, part := range parts {
		f, missing := unseal(e.ID, part, e.Detail[detailKey(part)], keyOf)
		delete(e.Detail, detailKey(part))
		restore(&e, part, f, missing)
	}
	if len(e.Detail) == 0 {
		e.Detail = nil
	}
	return e
}

// unseal decrypts a part; missing is what to show where that can't be done.
func unseal(id, part, value string, keyOf func(part, pseudonym string) ([]byte, error)) (f fields, missing string) {
	v, rest, _ := strings.Cut(value, ".")
	pseudonym, data, ok := strings.Cut(rest, ".")
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(data)
	if v != "v1" || !ok || err != nil {
		return fields{}, Unreadable
	}
	key, err := keyOf(part, pseudonym)
	if errors.Is(err, ErrNoKey) {
		return fields{}, Erased
	}
	if err != nil {
		return fields{}, Unreadable
	}
	aead, aad, err := sealer(key, id, part, pseudonym)
	if err != nil || len(sealed) < aead.NonceSize() {
		return fields{}, Unreadable
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], aad)
	if err != nil || json.Unmarshal(plain, &f) != nil {
		return fields{}, Unreadable
	}
	return f, ""
}

// restore puts a part's fields back where they were.
func restore(e *audit.Entry, part string, f fields, missing string) {
	if part == "" {
		if missing != "" {
			e.Actor.Login = missing
			return
		}
		e.Actor.Principal, e.Actor.Login, e.Actor.Groups, e.Actor.TokenID = f.Principal, f.Login, f.Groups, f.TokenID
		e.Source = f.Source
		if f.Reason != "" {
			e.Reason = f.Reason
		}
		return
	}
	if n, ok := strings.CutPrefix(part, "actors."); ok {
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 || i >= len(e.Actor.Actors) || missing != "" {
			return // the pseudonym stays
		}
		actors := append([]string(nil), e.Actor.Actors...)
		actors[i] = f.Principal
		e.Actor.Actors = actors
		return
	}
	for _, o := range others {
		if o.name != part {
			continue
		}
		if missing != "" {
			e.Detail[o.login] = missing
			return
		}
		put(e.Detail, o.principal, f.Principal)
		put(e.Detail, o.login, f.Login)
		for k, v := range f.Detail {
			put(e.Detail, k, v)
		}
		if f.Reason != "" {
			e.Reason = f.Reason
		}
	}
}

func put(m map[string]string, k, v string) {
	if v == "" {
		delete(m, k)
		return
	}
	m[k] = v
}

// Find returns who a login, principal or pseudonym names, in all stores.
func (o *Opener) Find(who string) ([]Person, error) {
	if o == nil {
		return nil, nil
	}
	var all []Person
	for _, s := range o.stores {
		found, err := s.Find(who)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Concerns reports whether an opened entry is about a person: as the actor, in the delegation chain, or as one of whom it tells.
func Concerns(e *audit.Entry, subject, login string) bool {
	is := func(principal, name string) bool {
		return subject != "" && principal == subject || login != "" && strings.EqualFold(name, login)
	}
	if is(e.Actor.Principal, e.Actor.Login) {
		return true
	}
	for _, a := range e.Actor.Actors {
		if is(a, "") {
			return true
		}
	}
	for _, o := range others {
		if is(e.Detail[o.principal], e.Detail[o.login]) {
			return true
		}
	}
	return false
}
