package tiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit/witness"
)

// pin is a checkpoint that the log must extend: its root is compared when the computation has its size.
type pin struct {
	checkpoint
	where string
	note  *uint64 // set to the size when it is met
}

// pinned compares the pins of the size that the computation has reached. Pins are in the order of size.
func (v *verification) pinned() {
	for len(v.pins) > 0 && v.pins[0].size == v.edge.size {
		p := v.pins[0]
		v.pins = v.pins[1:]
		if v.edge.root() != p.root {
			v.report.problem(CodeLogRewritten, 0, "the first %d entries are not those of %s: history was changed, or two views of it exist", p.size, p.where)
			continue
		}
		if p.note != nil {
			*p.note = max(*p.note, p.size)
		}
	}
}

// addPin takes a checkpoint seen elsewhere into the comparison.
func (v *verification) addPin(p pin) {
	if p.size > v.checkpoint.size {
		v.report.problem(CodeLogTruncated, v.checkpoint.size, "the log has %d entries, %s has %d: entries from %d on are gone", v.checkpoint.size, p.where, p.size, v.checkpoint.size)
		return
	}
	v.pins = append(v.pins, p)
	slices.SortStableFunc(v.pins, func(a, b pin) int {
		switch {
		case a.size < b.size:
			return -1
		case a.size > b.size:
			return 1
		}
		return 0
	})
}

// pinKeys has the log extend each checkpoint under which it put its next key on record.
func (v *verification) pinKeys(keys logKeys) {
	if keys.broken != nil {
		v.report.problem(CodeKeyHistory, 0, "%v", keys.broken)
	}
	for _, s := range keys.steps {
		v.report.LogKeys = append(v.report.LogKeys, s.use)
		v.addPin(pin{checkpoint: s.at, where: "the checkpoint under which the key " + KeyID(s.to) + " follows"})
	}
}

// pinAgainst takes in the checkpoints kept elsewhere.
func (v *verification) pinAgainst(keys logKeys) {
	mine, unsigned := anchored(v.cfg.Against, keys)
	if unsigned > 0 || len(mine) == 0 && len(v.cfg.Against) > 0 {
		v.report.problem(CodeRememberedInvalid, 0, "of %d checkpoints kept elsewhere %d are this log's and signed by its key, or one that follows it", len(v.cfg.Against), len(mine))
	}
	for _, c := range mine {
		v.addPin(pin{c, "a checkpoint kept elsewhere", &v.report.Against})
	}
}

// pinWitnessed checks the cosigned checkpoint, and that enough of the witnesses given have signed it.
func (v *verification) pinWitnessed(keys logKeys) error {
	if len(v.cfg.Witnesses) == 0 {
		return nil
	}
	quorum := v.cfg.Quorum
	if quorum == 0 {
		quorum = len(v.cfg.Witnesses)
	}
	verifiers := slices.Clone(keys.verifiers)
	for _, key := range v.cfg.Witnesses {
		w, err := witness.NewVerifier(key)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, w)
	}
	msg, err := os.ReadFile(filepath.Join(v.cfg.Log, witnessedName))
	if errors.Is(err, fs.ErrNotExist) {
		v.report.problem(CodeWitnessQuorum, 0, "no checkpoint was cosigned by enough witnesses; %d are needed", quorum)
		return nil
	}
	if err != nil {
		return err
	}
	c, code, err := openCheckpoint(msg, keys)
	if code != "" {
		v.report.problem(code, 0, "cosigned checkpoint: %v", err)
		return nil
	}
	n, err := note.Open(msg, note.VerifierList(verifiers...))
	if err != nil {
		v.report.problem(CodeWitnessQuorum, 0, "cosigned checkpoint: %v", err)
		return nil
	}
	signed := map[string]bool{}
	for _, sig := range n.Sigs {
		if !keys.has(sig) {
			signed[fmt.Sprintf("%s+%08x", sig.Name, sig.Hash)] = true
			at, _ := witness.Time(sig)
			v.report.Cosigned = append(v.report.Cosigned, Cosignature{Witness: sig.Name, Time: at, Size: c.size})
		}
	}
	if len(signed) < quorum {
		v.report.problem(CodeWitnessQuorum, 0, "%d of the witnesses given have cosigned the checkpoint of %d entries, %d are needed", len(signed), c.size, quorum)
		return nil
	}
	v.addPin(pin{checkpoint: c, where: "the checkpoint that witnesses cosigned"})
	return nil
}
