// Package privacy keeps personal data in the audit log erasable.
//
// The log is a Merkle tree: nothing in it can be changed or taken away. So what is personal in an entry (login, principal, groups, token id,
// address, stated reason, and the same of whom else the entry is about) is written encrypted, under a key of that person's own, and the
// hash is of the ciphertext. Erasing a person is destroying the key: every proof stays valid, every other entry stays readable, and that
// person's fields are noise for good. Until then a pseudonym, made by the same key, lets queries find all that a person did.
//
// It owns the form of protected entries (Recorder writes them, Opener reads them) and the store of keys. It refuses to know gates, logs and
// indexes: a Recorder stands before any journal, an Opener behind any reader.
package privacy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Version is the integer version of the protected form. History: 1 (2026-11) first.
const Version = 1

const (
	// Erased stands in readers for what was protected under a key that is gone.
	Erased = "⟨erased⟩"
	// pseudonymPrefix begins every pseudonym, where a principal would stand.
	pseudonymPrefix = "person:"
	// detailSealed begins the detail keys that hold the ciphertexts: "sealed" of the actor, "sealed.subject" and so on of others.
	detailSealed = "sealed"
)

// Journal is what a Recorder writes to; audit.Journal is one.
type Journal interface {
	Append(context.Context, audit.Entry) (seq uint64, err error)
	Enqueue(audit.Entry) error
}

// Recorder protects entries on their way into a journal. It is safe for concurrent use. When an entry can't be protected, because a new
// person's key can't be stored, it is not written either: the gate treats that as it treats a journal that can't be written.
type Recorder struct {
	journal Journal
	keys    *Store
	clock   func() time.Time
}

// NewRecorder returns a Recorder.
func NewRecorder(journal Journal, keys *Store) *Recorder {
	return &Recorder{journal: journal, keys: keys, clock: time.Now}
}

// Append protects the entry and returns when it is durable.
func (r *Recorder) Append(ctx context.Context, e audit.Entry) (uint64, error) {
	p, err := r.keys.Protect(e)
	if err != nil {
		return 0, fmt.Errorf("protecting entry: %w", err)
	}
	return r.journal.Append(ctx, p)
}

// Enqueue protects the entry and does not wait for the disk, but for that of a person who is new here.
func (r *Recorder) Enqueue(e audit.Entry) error {
	p, err := r.keys.Protect(e)
	if err != nil {
		return fmt.Errorf("protecting entry: %w", err)
	}
	return r.journal.Enqueue(p)
}

// personal reports whether a principal is a person. Services and gates are not.
func personal(principal string) bool { return strings.HasPrefix(principal, "user:") }

// nobody is under whose key the address and words of a caller who proved nothing are kept: one for each month, so that they can be erased
// by age.
func nobody(at time.Time) string { return "nobody:" + at.UTC().Format("2006-01") }
