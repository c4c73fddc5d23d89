package attest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Signer makes attestations. It is safe for concurrent use, also while its keys are exchanged (see Keys).
type Signer struct {
	now   func() time.Time // for KeyID alone
	state atomic.Pointer[signing]
}

// signing is what a signer works with. It is never written after it is stored.
type signing struct {
	keys []signingKey // the one that began last comes first
	set  KeySet       // what statements are verified with, the retired keys included
}

type signingKey struct {
	Key
	private ed25519.PrivateKey
	prefix  []byte // of the signing input: the same for every statement
}

// NewSigner makes a signer of one key without bounds of validity. It panics if the key has the wrong size, as crypto/ed25519 does.
func NewSigner(key ed25519.PrivateKey) *Signer {
	if len(key) != ed25519.PrivateKeySize {
		panic("attest: a private key of the wrong size")
	}
	public := key.Public().(ed25519.PublicKey)
	k := Key{ID: KeyID(public), Public: public}
	return newSigner(time.Now, map[string]ed25519.PrivateKey{k.ID: key}, KeySet{keys: []Key{k}})
}

func newSigner(now func() time.Time, private map[string]ed25519.PrivateKey, set KeySet) *Signer {
	s := &Signer{now: now}
	s.use(private, set)
	return s
}

// use exchanges the keys. Private keys that are not in the set are not used: nobody could verify what they sign.
func (s *Signer) use(private map[string]ed25519.PrivateKey, set KeySet) {
	next := &signing{set: set}
	for _, k := range set.keys {
		if key, ok := private[k.ID]; ok {
			next.keys = append(next.keys, signingKey{Key: k, private: key, prefix: slices.Clip(signingPrefix(k.ID))})
		}
	}
	slices.SortFunc(next.keys, func(a, b signingKey) int {
		if c := b.NotBefore.Compare(a.NotBefore); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	s.state.Store(next)
}

// at returns the key that signs at a time: of those that are valid, the one that began last.
func (n *signing) at(t time.Time) (signingKey, bool) {
	for _, k := range n.keys {
		if k.covers(t) {
			return k, true
		}
	}
	return signingKey{}, false
}

// KeyID returns the id of the key that signs now; "" when none does.
func (s *Signer) KeyID() string {
	k, _ := s.state.Load().at(s.now())
	return k.ID
}

// PublicKeySet returns the keys that verify what the signer signs and signed: those in use, the next ones, and the retired ones.
func (s *Signer) PublicKeySet() KeySet { return s.state.Load().set }

// Verify checks an attestation with the signer's own keys as they are now.
func (s *Signer) Verify(raw, aud string) (Verified, error) { return s.PublicKeySet().Verify(raw, aud) }

// Sign returns the attestation of a statement, by the key that is valid when it was issued. A zero Version means the current one, a zero IssuedAt
// is an error: the caller owns the clock. A statement that KeySet.Verify would not accept (incomplete, invalid UTF-8, over MaxSize)
// is an error.
func (s *Signer) Sign(st Statement) (string, error) {
	if st.Version == 0 {
		st.Version = Version
	}
	if st.Version != Version {
		return "", fmt.Errorf("signing attestation: version %d, this code writes %d", st.Version, Version)
	}
	if err := complete(st); err != nil {
		return "", fmt.Errorf("signing attestation: %w", err)
	}
	if !validText(st) {
		return "", errors.New("signing attestation: a text is not valid UTF-8")
	}
	key, ok := s.state.Load().at(st.IssuedAt)
	if !ok {
		return "", fmt.Errorf("signing attestation: no key is valid at %s; look at the gate's key directory and clock", st.IssuedAt.UTC().Format(time.RFC3339))
	}
	payload, err := marshalPayload(st)
	if err != nil {
		return "", fmt.Errorf("signing attestation: %w", err)
	}
	size := len(payload) - 1 + tail
	if size > MaxSize {
		return "", fmt.Errorf("signing attestation: %d bytes, more than the limit of %d; shorten the reason", size, MaxSize)
	}
	sig := ed25519.Sign(key.private, append(key.prefix, payload...))
	buf := append(payload[:len(payload)-1], sigName...)
	buf = append(append(buf, key.ID...), '.')
	buf = b64.AppendEncode(buf, sig)
	return string(append(buf, `"}`...)), nil
}
