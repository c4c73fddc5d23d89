package tiles

import (
	"fmt"
	"time"
)

// Code is the stable name of a problem.
type Code string

const (
	CodeCheckpointMissing   Code = "checkpoint_missing"   // there is no checkpoint though there should be one
	CodeCheckpointMalformed Code = "checkpoint_malformed" // not a signed note, or not a checkpoint's text
	CodeCheckpointSignature Code = "checkpoint_signature" // not signed by the verifier key
	CodeCheckpointOrigin    Code = "checkpoint_origin"    // of another log
	CodeRootMismatch        Code = "root_mismatch"        // the entries do not have the root that was signed
	CodeEntryAltered        Code = "entry_altered"        // an entry is not the one that the log's tiles hash
	CodeEntryMissing        Code = "entry_missing"        // an entry is not in its bundle, or the bundle is not there
	CodeEntryMalformed      Code = "entry_malformed"      // an entry is not in the canonical form of a version known here
	CodeTileMismatch        Code = "tile_mismatch"        // a tile is missing, or does not hash what is below it
	CodeLogTruncated        Code = "log_truncated"        // smaller than a checkpoint seen before
	CodeLogRewritten        Code = "log_rewritten"        // not an extension of a checkpoint seen before, or another one of its size
	CodeRememberedInvalid   Code = "remembered_invalid"   // the remembered checkpoint itself can't be trusted
	CodeJournalMismatch     Code = "journal_mismatch"     // an entry of the journal is not the one in the log
	CodeJournalShort        Code = "journal_short"        // the journal ends before entries that were sealed or acknowledged
	CodeJournalTorn         Code = "journal_torn"         // the journal is damaged before its end
	CodeWitnessQuorum       Code = "witness_quorum"       // fewer of the witnesses given than are needed have cosigned
	CodeRetained            Code = "retained"             // a note: entries were removed by retention, as an entry of the log allows
	CodeJournalPruned       Code = "journal_pruned"       // a note: entries that are sealed were removed from the journal, as configured
	CodeOrder               Code = "order_unreadable"     // a note: the file that says how journals go into the log can't be read
	CodeJournalLost         Code = "journal_lost"         // a note, not a problem: an entry that stands for one that the disk lost
)

// Problem is one finding.
type Problem struct {
	Code  Code   `json:"code"`
	Index uint64 `json:"index"` // the entry it is about, or the first one; 0 when it is about the whole log
	Text  string `json:"text"`
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s", p.Code, p.Text) }

// maxProblems is how many problems of one code are listed; the rest is counted.
const maxProblems = 100

// Report is what Verify found.
type Report struct {
	Origin     string        `json:"origin"`               // the checkpoint's, proven only when there is no problem with it
	Size       uint64        `json:"size"`                 // entries that the checkpoint commits to
	Root       string        `json:"root"`                 // root hash that the checkpoint states, base64
	Entries    uint64        `json:"entries"`              // sealed entries read and hashed
	Journal    uint64        `json:"journal"`              // sealed entries found alike in the journals
	Elsewhere  uint64        `json:"elsewhere,omitempty"`  // sealed entries of gates whose journal was not given
	Unsealed   uint64        `json:"unsealed"`             // acknowledged entries in the journals behind the checkpoint
	Remembered uint64        `json:"remembered,omitempty"` // size of the checkpoint seen before that this log was found to extend
	Against    uint64        `json:"against,omitempty"`    // size of the largest checkpoint kept elsewhere that this log was found to extend
	Cosigned   []Cosignature `json:"cosigned,omitempty"`
	LogKeys    []LogKeyUse   `json:"log_keys,omitempty"` // keys that followed the one given, as the log proves
	Removed    uint64        `json:"removed,omitempty"`  // entries that retention has removed, as the log allows; their hashes were checked
	Problems   []Problem     `json:"problems,omitempty"`
	Suppressed uint64        `json:"suppressed,omitempty"` // problems beyond the first 100 of a code
	Notes      []Problem     `json:"notes,omitempty"`      // what to know though it is not a problem

	perCode map[Code]int
}

// Cosignature is that of a witness who is trusted, on the log's cosigned checkpoint.
type Cosignature struct {
	Witness string    `json:"witness"`
	Time    time.Time `json:"time"`
	Size    uint64    `json:"size"`
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Has reports whether there is a problem of that code.
func (r Report) Has(code Code) bool {
	for _, p := range r.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}

func (r *Report) problem(code Code, index uint64, format string, args ...any) {
	if r.perCode == nil {
		r.perCode = make(map[Code]int)
	}
	if r.perCode[code]++; r.perCode[code] > maxProblems {
		r.Suppressed++
		return
	}
	r.Problems = append(r.Problems, Problem{Code: code, Index: index, Text: fmt.Sprintf(format, args...)})
}

func (r *Report) note(code Code, index uint64, format string, args ...any) {
	if len(r.Notes) < maxProblems {
		r.Notes = append(r.Notes, Problem{Code: code, Index: index, Text: fmt.Sprintf(format, args...)})
	}
}
