package attest

import (
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// KeyEvent is a step in the life of a signing key, for the record.
type KeyEvent struct {
	Event    string // one of the four below
	Key      Key
	Previous string // rotated: the id of the key that signed before
}

const (
	KeyCreated   = "created"   // the gate made it
	KeyPublished = "published" // it is in the published set; also told once at each start
	KeyRotated   = "rotated"   // it signs from now on
	KeyRetired   = "retired"   // it signs no more, and verifies what it signed
)

// The names under which an audit entry of kind "key" holds an event.
const (
	detailEvent    = "event"
	detailUse      = "use"
	detailKID      = "kid"
	detailPrevious = "previous"
	detailJWK      = "jwk"
	detailFrom     = "nbf"
	detailUntil    = "exp"
	useAttestation = "attestation"
)

// Detail is the event as an audit entry of kind "key" holds it: the public key whole, so that the log alone verifies what it signed.
func (e KeyEvent) Detail() map[string]string {
	d := map[string]string{detailEvent: e.Event, detailUse: useAttestation, detailKID: e.Key.ID, detailJWK: string(e.Key.jwk(false).json())}
	if e.Previous != "" {
		d[detailPrevious] = e.Previous
	}
	if !e.Key.NotBefore.IsZero() {
		d[detailFrom] = e.Key.NotBefore.UTC().Format(time.RFC3339)
	}
	if !e.Key.NotAfter.IsZero() {
		d[detailUntil] = e.Key.NotAfter.UTC().Format(time.RFC3339)
	}
	return d
}

// ArchivedKeys gathers the keys that the details of audit entries of kind "key" hold, in the order of the log: what a later entry says of a
// key's validity counts. Details of keys for other uses are passed over; one that claims to be ours and is not whole is an error.
func ArchivedKeys(details iter.Seq[map[string]string]) (KeySet, error) {
	set := KeySet{}
	for d := range details {
		if d[detailUse] != useAttestation || d[detailJWK] == "" {
			continue
		}
		k, err := keyOfDetail(d)
		if err != nil {
			return KeySet{}, fmt.Errorf("reading an archived key %q: %w", d[detailKID], err)
		}
		set = set.Merge(KeySet{keys: []Key{k}})
	}
	return set, nil
}

func keyOfDetail(d map[string]string) (Key, error) {
	var j jwk
	if err := json.Unmarshal([]byte(d[detailJWK]), &j); err != nil {
		return Key{}, err
	}
	k, err := j.key()
	if err != nil {
		return Key{}, err
	}
	if k.ID != d[detailKID] {
		return Key{}, fmt.Errorf("its jwk is of the key %s", k.ID)
	}
	for name, at := range map[string]*time.Time{detailFrom: &k.NotBefore, detailUntil: &k.NotAfter} {
		if text := d[name]; text != "" {
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return Key{}, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return k, nil
}
