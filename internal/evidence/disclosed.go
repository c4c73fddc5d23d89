package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
)

// disclosedName is the file with the keys by which a pack's entries were opened. It is there when some entry of the period has personal data
// encrypted and the pack shows it: a line for each such entry, in order.
const disclosedName = "disclosed.jsonl"

type disclosedLine struct {
	Index uint64            `json:"index"`
	Keys  map[string][]byte `json:"keys,omitempty"` // by part of the entry; parts that are missing read as erased
}

// disclosed writes that file.
type disclosed struct{ file *packFile }

// opened returns an entry as the pack shows it. keys is nil when nothing in it was encrypted.
func (f *facts) opened(index uint64, e audit.Entry) (audit.Entry, map[string][]byte) {
	if f.disclose == nil {
		return e, nil
	}
	return f.disclose(index, e)
}

// discloses puts an entry's keys into the pack. Those of entries outside the period, which are in it as neighbours, stay where they are.
func (f *facts) discloses(p *pack, index uint64, r *read) error {
	if r.keys == nil || !f.within(r.entry.Time) {
		return nil
	}
	if f.disclosed == nil {
		file, err := p.create(disclosedName)
		if err != nil {
			return err
		}
		f.disclosed = &disclosed{file}
	}
	line, err := json.Marshal(disclosedLine{index, r.keys})
	if err != nil {
		return fmt.Errorf("disclosing entry %d: %w", index, err)
	}
	_, err = f.disclosed.file.Write(append(line, '\n'))
	return err
}

func (d *disclosed) close() error {
	if d == nil || d.file == nil {
		return nil
	}
	file := d.file
	d.file = nil
	return file.Close()
}

// discloser opens the entry with an index.
type discloser func(index uint64, e audit.Entry) (audit.Entry, map[string][]byte)

// readDisclosed returns what opens a pack's entries by the keys in it; nil when the pack discloses nothing. The keys of one entry open
// nothing else, and nothing comes out of them but what was sealed, so they need no trust.
func readDisclosed(pack fs.FS) (discloser, error) {
	raw, err := fs.ReadFile(pack, disclosedName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines := map[uint64][]byte{} // parsed when they are wanted: there may be as many as decisions
	for line := range bytes.Lines(raw) {
		var l struct {
			Index uint64 `json:"index"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			continue // the file that follows from the entries will be another one
		}
		lines[l.Index] = line
	}
	return func(index uint64, e audit.Entry) (audit.Entry, map[string][]byte) {
		line, ok := lines[index]
		var l disclosedLine
		if !ok || json.Unmarshal(line, &l) != nil {
			return e, nil
		}
		if l.Keys == nil {
			l.Keys = map[string][]byte{}
		}
		return privacy.OpenWith(e, l.Keys), l.Keys
	}, nil
}
