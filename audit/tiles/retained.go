package tiles

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Retention takes the oldest entries out of a log without breaking it: their bundles are removed, their leaf hashes stay in the tiles, so
// that the root, every other entry's proof and what others remember stay as they are. What may be gone is what an entry of the log itself,
// of kind admin, allows: by range, and by a digest of the leaf hashes in it. The file "retained" beside the checkpoint, the tombstone,
// only says which entry that is.

// ErrRemoved is wrapped by the error of reading an entry that retention has removed.
var ErrRemoved = errors.New("removed by retention")

const (
	retainedName = "retained"
	// DetailRetained is the event of the entry that allows a removal. Its details: from (always "0"), to (index after the last), digest,
	// before (RFC 3339: all of them are older).
	DetailRetained = "retained"
)

// Retained says what retention has removed from a log.
type Retained struct {
	Version int    `json:"v"`     // 1 (2026-11)
	To      uint64 `json:"to"`    // entries below it are removed, or about to be
	Entry   uint64 `json:"entry"` // index of the entry that allows it
}

// ReadRetained reads the tombstone of the log in dir; zero when nothing was removed. It proves nothing: Verify holds it against the log.
func ReadRetained(dir string) (Retained, error) {
	raw, err := os.ReadFile(filepath.Join(dir, retainedName))
	if errors.Is(err, fs.ErrNotExist) {
		return Retained{}, nil
	}
	if err != nil {
		return Retained{}, fmt.Errorf("reading what was removed: %w", err)
	}
	var r Retained
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != 1 || r.To%tileWidth != 0 {
		return Retained{}, fmt.Errorf("reading what was removed: %s is not a tombstone of version 1", retainedName)
	}
	return r, nil
}

// Removable says how much of the log's beginning is older than a time: whole bundles, all of whose entries are. The digest is what the
// entry that allows the removal must state. To is 0, or what was removed before, when there is nothing more to remove.
func Removable(ctx context.Context, dir string, before time.Time) (detail map[string]string, to uint64, err error) {
	size, err := SealedSize(dir)
	if err != nil {
		return nil, 0, err
	}
	r, err := ReadRetained(dir)
	if err != nil {
		return nil, 0, err
	}
	log := logDir(dir)
	for to = r.To; to+tileWidth <= size; to += tileWidth {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		entries, err := log.readBundle(to/tileWidth, size)
		if err != nil {
			return nil, 0, err
		}
		old := true
		for _, raw := range entries {
			e, err := audit.ParseEntry(raw)
			old = old && err == nil && e.Time.Before(before)
		}
		if !old {
			break
		}
	}
	digest, err := log.leafDigest(to, size)
	if err != nil {
		return nil, 0, err
	}
	return map[string]string{"event": DetailRetained, "from": "0", "to": strconv.FormatUint(to, 10), "digest": digest, "before": before.UTC().Format(time.RFC3339)}, to, nil
}

// leafDigest is the SHA-256, in base64, of the leaf hashes below to, in order, as the tiles have them.
func (l logDir) leafDigest(to, size uint64) (string, error) {
	h := sha256.New()
	for n := range to / tileWidth {
		data, err := l.readTile(0, n, size)
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// Remove removes the entries that the log's entry at index allows to remove, and returns up to where. The tombstone is durable before
// anything is removed: a crash in between leaves entries that the next Remove of the same entry takes away. It refuses an entry that does
// not allow just what the tiles hold.
func Remove(ctx context.Context, dir string, index uint64) (to uint64, err error) {
	fail := func(err error) (uint64, error) { return 0, fmt.Errorf("removing entries: %w", err) }
	size, err := SealedSize(dir)
	if err != nil {
		return fail(err)
	}
	if index >= size {
		return fail(fmt.Errorf("entry %d: %w", index, ErrNotSealed))
	}
	log := logDir(dir)
	entries, err := log.readBundle(index/tileWidth, size)
	if err != nil {
		return fail(err)
	}
	p, ok := permitOf(index, entries[index%tileWidth])
	if !ok {
		return fail(fmt.Errorf("entry %d allows no removal", index))
	}
	if p.to > index-index%tileWidth {
		return fail(fmt.Errorf("entry %d allows the removal of itself", index))
	}
	digest, err := log.leafDigest(p.to, size)
	if err != nil {
		return fail(err)
	}
	if digest != p.digest {
		return fail(fmt.Errorf("entry %d allows the removal of other entries than this log has below %d", index, p.to))
	}
	before, err := ReadRetained(dir)
	if err != nil {
		return fail(err)
	}
	if before.To > p.to {
		return fail(fmt.Errorf("entries up to %d were removed before", before.To))
	}
	raw, err := json.Marshal(Retained{Version: 1, To: p.to, Entry: index})
	if err != nil {
		return fail(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, retainedName), append(raw, '\n'), 0o600); err != nil {
		return fail(err)
	}
	dirs := map[string]bool{}
	for n := range p.to / tileWidth {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		path := log.path(entriesLevel, n, tileWidth)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
		if err := os.RemoveAll(path + ".p"); err != nil { // what the bundle was before it was full
			return fail(err)
		}
		dirs[filepath.Dir(path)] = true
	}
	for d := range dirs {
		if err := durable.SyncDir(d); err != nil {
			return fail(err)
		}
	}
	return p.to, nil
}

// removed reports whether a bundle that is not there may be missing by the log's own tombstone.
func (l logDir) removed(n uint64) bool {
	r, err := ReadRetained(string(l))
	return err == nil && n < r.To/tileWidth
}

// permit is what one entry allows to remove.
type permit struct {
	index, to uint64
	digest    string
}

func permitOf(index uint64, raw []byte) (permit, bool) {
	e, err := audit.ParseEntry(raw)
	if err != nil || e.Kind != audit.KindAdmin || e.Detail["event"] != DetailRetained || e.Detail["from"] != "0" {
		return permit{}, false
	}
	to, err := strconv.ParseUint(e.Detail["to"], 10, 62)
	if err != nil || to%tileWidth != 0 || strconv.FormatUint(to, 10) != e.Detail["to"] {
		return permit{}, false
	}
	return permit{index, to, e.Detail["digest"]}, true
}

// removal is what a verification finds of removed entries.
type removal struct {
	claimed Retained
	known   bool // claimed has been read
	digest  hash.Hash
	hashed  uint64 // leaf hashes in digest
	gone    uint64 // entries missing below claimed.To
	permits []permit
	leaves  map[uint64]bool // of what is gone, by the first eight bytes, while there are journals to compare
}

// removed takes a bundle's stored leaf hashes into account, and reports whether its entries are missing as the tombstone says. Whether the
// log allows that shows at the end.
func (v *verification) removed(b *checkedBundle, stored []tlog.Hash) bool {
	r := &v.removal
	if !r.known {
		r.claimed, _ = ReadRetained(string(v.log)) // one that can't be read claims nothing
		r.known, r.digest = true, sha256.New()
	}
	if b.number >= r.claimed.To/tileWidth {
		return false
	}
	for _, h := range stored {
		r.digest.Write(h[:])
		r.hashed++
	}
	if !errors.Is(b.err, ErrRemoved) {
		return false
	}
	r.gone += tileWidth
	for _, c := range v.journals {
		c.pruned, c.resync = 0, true
	}
	if len(v.journals) > 0 {
		if r.leaves == nil {
			r.leaves = map[uint64]bool{}
		}
		for _, h := range stored {
			r.leaves[binary.BigEndian.Uint64(h[:])] = true
		}
	}
	return true
}

// permits notes an entry that allows a removal.
func (v *verification) permits(index uint64, raw []byte, kind audit.Kind) {
	if kind != audit.KindAdmin {
		return
	}
	if p, ok := permitOf(index, raw); ok {
		v.removal.permits = append(v.removal.permits, p)
	}
}

// allowed says whether what is missing may be: an entry of this log, itself not removed, allows the removal of exactly these.
func (v *verification) allowed() {
	r := &v.removal
	if r.gone == 0 {
		return
	}
	for _, p := range r.permits {
		if p.index == r.claimed.Entry && p.to == r.claimed.To && r.hashed == p.to && p.digest == base64.StdEncoding.EncodeToString(r.digest.Sum(nil)) {
			v.report.Removed = r.gone
			v.report.note(CodeRetained, 0, "entries 0 to %d were removed by retention, as entry %d allows; their hashes are those that were signed", p.to-1, p.index)
			return
		}
	}
	v.report.problem(CodeEntryMissing, 0, "entries 0 to %d are missing: the tombstone says that entry %d allows that, and it does not", r.gone-1, r.claimed.Entry)
}

// inStep brings a journal and the log together behind removed entries: it passes over what the journal still has of them. It reports false
// for an entry of the log that the journal has no more.
func (v *verification) inStep(c *compared, sealed []byte) bool {
	for c.resync {
		c.fill(1, v.leftOut)
		switch {
		case len(c.ahead) == 0:
			return false
		case string(c.ahead[0].raw) == string(sealed):
			c.resync = false
		default:
			leaf := tlog.RecordHash(c.ahead[0].raw)
			if !v.removal.leaves[binary.BigEndian.Uint64(leaf[:])] {
				return false
			}
			c.ahead = c.ahead[1:]
		}
	}
	return true
}
