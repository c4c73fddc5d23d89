package privacy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// fields is what is protected together, under one person's key. Version 1: JSON, padded with spaces to a multiple of 64 bytes.
type fields struct {
	Principal string            `json:"principal,omitempty"`
	Login     string            `json:"login,omitempty"`
	Groups    []string          `json:"groups,omitempty"`
	TokenID   string            `json:"token_id,omitempty"`
	Source    string            `json:"source,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
}

// others are the people that an entry may be about besides its actor: detail keys of the principal, and of what goes with it.
var others = []struct {
	name      string
	principal string
	login     string
	more      []string
}{
	{"subject", "subject", "login", []string{"group", "session"}},
	{"requester", "requester", "requester_login", []string{"text"}},
	{"originator", audit.DetailOriginator, audit.DetailOriginatorLogin, nil},
}

// Protect returns the entry with what is personal in it encrypted. An entry that is protected already comes back as it is.
func (s *Store) Protect(e audit.Entry) (audit.Entry, error) {
	for k, v := range e.Detail {
		if ours(k) && strings.HasPrefix(v, "v1."+pseudonymPrefix) {
			return e, nil
		}
	}
	p := protection{store: s, in: &e, out: e}
	p.out.Detail = maps.Clone(e.Detail)
	maps.DeleteFunc(p.out.Detail, func(k, _ string) bool { return ours(k) })
	for _, step := range []func() error{p.actor, p.chain, p.others} {
		if err := step(); err != nil {
			return audit.Entry{}, err
		}
	}
	return p.out, nil
}

// protection is one Protect.
type protection struct {
	store *Store
	in    *audit.Entry
	out   audit.Entry
}

func (p *protection) actor() error {
	a := &p.in.Actor
	subject := a.Principal
	switch {
	case personal(a.Principal):
	case a.Principal == "" && (a.Login != "" || a.TokenID != "" || len(a.Groups) > 0 || p.in.Source != "" || p.in.Reason != ""):
		subject = nobody(p.in.Time)
	default:
		return nil // a service or a gate: nobody's address, nobody's words
	}
	pseudonym, err := p.seal("", subject, a.Login, fields{Principal: a.Principal, Login: a.Login, Groups: a.Groups, TokenID: a.TokenID, Source: p.in.Source, Reason: p.in.Reason})
	if err != nil {
		return err
	}
	o := &p.out.Actor
	if a.Principal != "" {
		o.Principal = pseudonym
	}
	o.Login, o.Groups, o.TokenID = "", nil, ""
	p.out.Source, p.out.Reason = "", ""
	return nil
}

// chain protects people in the delegation chain, each under their own key.
func (p *protection) chain() error {
	var actors []string
	for i, who := range p.in.Actor.Actors {
		if !personal(who) {
			continue
		}
		if actors == nil {
			actors = append(actors, p.in.Actor.Actors...)
		}
		pseudonym, err := p.seal("actors."+strconv.Itoa(i), who, "", fields{Principal: who})
		if err != nil {
			return err
		}
		actors[i] = pseudonym
	}
	if actors != nil {
		p.out.Actor.Actors = actors
	}
	return nil
}

func (p *protection) others() error {
	for _, o := range others {
		principal, login := p.in.Detail[o.principal], p.in.Detail[o.login]
		subject := principal
		switch {
		case personal(principal):
		case principal == "" && login != "":
			subject = "login:" + login
		default:
			continue
		}
		f := fields{Principal: principal, Login: login}
		for _, k := range o.more {
			if v := p.in.Detail[k]; v != "" {
				if f.Detail == nil {
					f.Detail = map[string]string{}
				}
				f.Detail[k] = v
				delete(p.out.Detail, k)
			}
		}
		// A worker says what its run's originator said.
		if o.name == "originator" && p.out.Reason != "" {
			f.Reason, p.out.Reason = p.out.Reason, ""
		}
		pseudonym, err := p.seal(o.name, subject, login, f)
		if err != nil {
			return err
		}
		delete(p.out.Detail, o.login)
		p.out.Detail[o.principal] = pseudonym
	}
	return nil
}

// seal encrypts fields into a detail: "v1.PSEUDONYM.BASE64", AES-256-GCM under a key of this person, entry and part, with a random nonce
// before the ciphertext; entry, part and pseudonym are authenticated.
func (p *protection) seal(part, subject, login string, f fields) (pseudonym string, err error) {
	key, err := p.store.make(subject, login)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("protecting fields: %w", err)
	}
	plain = append(plain, bytes.Repeat([]byte(" "), (64-len(plain)%64)%64)...)
	aead, aad, err := sealer(entryKey(key.Key, p.in.ID, part), p.in.ID, part, key.Pseudonym)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	sealed := aead.Seal(nonce, nonce, plain, aad)
	if p.out.Detail == nil {
		p.out.Detail = map[string]string{}
	}
	p.out.Detail[detailKey(part)] = "v1." + key.Pseudonym + "." + base64.RawURLEncoding.EncodeToString(sealed)
	return key.Pseudonym, nil
}

// ours reports whether a detail key is one that holds a ciphertext.
func ours(key string) bool { return key == detailSealed || strings.HasPrefix(key, detailSealed+".") }

// detailKey is where a part's ciphertext is.
func detailKey(part string) string {
	if part == "" {
		return detailSealed
	}
	return detailSealed + "." + part
}

// entryKey is the key of one part of one entry, from which neither the person's key nor any other entry's follows.
func entryKey(person []byte, id, part string) []byte {
	return derive(person, "entry", id+"\x00"+part)
}

func sealer(key []byte, id, part, pseudonym string) (cipher.AEAD, []byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("making a cipher: %w", err)
	}
	return aead, []byte("v1\x00" + id + "\x00" + part + "\x00" + pseudonym), nil
}
