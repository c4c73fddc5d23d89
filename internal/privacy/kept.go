package privacy

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// kept is a text about people that is kept outside the log, such as what a gate has to know of a schedule's creator: encrypted under the key
// of each of them, one around the other, so that whoever of them is erased takes it along. Version 1: PSEUDONYMS outermost first, and each
// layer as in entries, with the name of the file in place of the entry's id.
//
//	v1.PSEUDONYM[,PSEUDONYM…].BASE64URL(nonce, AES-256-GCM(…))

// keptPart separates these keys and texts from those of entries: no part of an entry is called so.
const keptPart = "kept"

// Seal encrypts a text about who, which is found under name. It returns "" when none of them is a person: services have no personal data.
func (s *Store) Seal(name string, who audit.Party, plain []byte) (string, error) {
	people := slices.DeleteFunc(append([]string{who.Principal}, who.Actors...), func(p string) bool { return !personal(p) })
	slices.Sort(people)
	people = slices.Compact(people)
	if len(people) == 0 {
		return "", nil
	}
	var pseudonyms []string
	text := append(plain[:len(plain):len(plain)], bytes.Repeat([]byte(" "), (64-len(plain)%64)%64)...)
	for _, subject := range people {
		login := ""
		if subject == who.Principal {
			login = who.Login
		}
		key, err := s.make(subject, login)
		if err != nil {
			return "", fmt.Errorf("protecting %s: %w", name, err)
		}
		s.remember(key)
		aead, aad, err := sealer(entryKey(key.Key, name, keptPart), name, keptPart, key.Pseudonym)
		if err != nil {
			return "", fmt.Errorf("protecting %s: %w", name, err)
		}
		nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
		_, _ = rand.Read(nonce) // never fails
		text = aead.Seal(nonce, nonce, text, aad)
		pseudonyms = append([]string{key.Pseudonym}, pseudonyms...)
	}
	return "v1." + strings.Join(pseudonyms, ",") + "." + base64.RawURLEncoding.EncodeToString(text), nil
}

// Unseal returns what Seal encrypted under this name, JSON as it was. erased: the key of one of those it is about is gone, and the text with it.
func (s *Store) Unseal(name, sealed string) (plain []byte, erased bool, err error) {
	version, rest, _ := strings.Cut(sealed, ".")
	pseudonyms, data, ok := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(data)
	if version != "v1" || !ok || err != nil {
		return nil, false, fmt.Errorf("reading %s: it is not what version 1 protects", name)
	}
	for pseudonym := range strings.SplitSeq(pseudonyms, ",") {
		key, err := s.behind(pseudonym)
		if errors.Is(err, ErrNoKey) {
			return nil, true, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading %s: %w", name, err)
		}
		aead, aad, err := sealer(entryKey(key.Key, name, keptPart), name, keptPart, pseudonym)
		if err == nil && len(text) < aead.NonceSize() {
			err = errors.New("it is cut short")
		}
		if err == nil {
			text, err = aead.Open(nil, text[:aead.NonceSize()], text[aead.NonceSize():], aad)
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading %s: it was altered, or is another's: %w", name, err)
		}
	}
	if text = bytes.TrimRight(text, " "); !json.Valid(text) {
		return nil, false, fmt.Errorf("reading %s: what was protected is not JSON", name)
	}
	return text, false, nil
}

// behind returns the key behind a pseudonym, or ErrNoKey. Whom one belongs to is looked up among all keys when it is not known; a pseudonym that
// has gone is looked for each time, because another process may just have made it.
func (s *Store) behind(pseudonym string) (*record, error) {
	s.mu.RLock()
	subject, known := s.subjects[pseudonym]
	s.mu.RUnlock()
	if !known {
		all, err := s.all()
		if err != nil {
			return nil, err
		}
		for i := range all {
			s.remember(&all[i])
			known = known || all[i].Pseudonym == pseudonym
		}
		if !known {
			return nil, ErrNoKey
		}
		s.mu.RLock()
		subject = s.subjects[pseudonym]
		s.mu.RUnlock()
	}
	key, err := s.key(subject)
	if err == nil && key.Pseudonym != pseudonym {
		err = ErrNoKey // erased, and known again under another key
	}
	return key, err
}

// remember keeps in mind whose a pseudonym is.
func (s *Store) remember(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subjects[r.Pseudonym] = r.Subject
}
