package privacy

import "github.com/bailiwick-dev/bailiwick/audit"

// Discloser opens entries for somebody who is to see them and check them without the key store: beside the opened entry it gives the keys of
// that entry alone. It goes by the keys that there were when it was made, so that a long reading sees one state. It is safe for concurrent use.
type Discloser struct {
	keys map[string]*record // by pseudonym
}

// Discloser returns one with the keys of now; nil for a nil Opener, which has none.
func (o *Opener) Discloser() (*Discloser, error) {
	if o == nil {
		return nil, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.load(); err != nil {
		return nil, err
	}
	return &Discloser{o.keys}, nil
}

// Disclose returns the entry opened, and the key of each of its encrypted parts (AES-256, by part: "", "subject", …). keys is nil when
// nothing in the entry is encrypted, and empty when no part's key is left.
func (d *Discloser) Disclose(e audit.Entry) (opened audit.Entry, keys map[string][]byte) {
	if len(sealedParts(e)) == 0 {
		return e, nil
	}
	keys = map[string][]byte{}
	return open(e, func(part, pseudonym string) ([]byte, error) {
		r := d.keys[pseudonym]
		if r == nil {
			return nil, ErrNoKey
		}
		keys[part] = entryKey(r.Key, e.ID, part)
		return keys[part], nil
	}), keys
}

// OpenWith opens an entry with the keys that Disclose gave with it. What has no key reads Erased, what does not decrypt Unreadable: nothing
// but what was sealed can come out.
func OpenWith(e audit.Entry, keys map[string][]byte) audit.Entry {
	return open(e, func(part, _ string) ([]byte, error) {
		if key, ok := keys[part]; ok {
			return key, nil
		}
		return nil, ErrNoKey
	})
}
