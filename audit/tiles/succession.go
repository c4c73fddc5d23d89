package tiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Names of what an entry of kind key says when it puts a log's next key on record. UseCheckpoint is the value of its detail "use".
const (
	UseCheckpoint    = "checkpoint"
	SuccessionDetail = "succession" // the statement, as a signed note
	successionHead   = "bailiwick-log-key-succession/v1"
)

// CodeKeyHistory is the code of a history of log keys that does not lead from one key to the next.
const CodeKeyHistory Code = "log_key_history"

// HistoryName is the file in a log's directory that holds the proofs by which each of its keys follows from the one before.
const HistoryName = "key-history.json"

// keyHistory is that file. History: version 1 (2026-11) first.
type keyHistory struct {
	Version int       `json:"v"`
	Links   []KeyLink `json:"links"` // oldest first
}

// KeyLink proves that one key of a log follows another: an entry that says so, signed by both, is in the log under a checkpoint of the earlier one.
// Whoever writes into the log can't make one, as a gate can: it takes the earlier key. The entry holds no personal data.
type KeyLink struct {
	Checkpoint string      `json:"checkpoint"` // signed note with the earlier key's signature and no other
	Entry      ProvenEntry `json:"entry"`
}

// LogKeyUse is a key of a log, and the entry by which the log says that it follows the one before.
type LogKeyUse struct {
	Key   string    `json:"key"` // note verifier key
	Index uint64    `json:"index"`
	Time  time.Time `json:"time"`
}

// follow is a link that was verified.
type followed struct {
	from, to string // verifier keys
	at       checkpoint
	use      LogKeyUse
}

// stateSuccession makes the statement. Its first line keeps it from being read as a checkpoint (https://c2sp.org/tlog-checkpoint): those of a log
// begin with its origin.
func stateSuccession(from, to string, signers ...note.Signer) (string, error) {
	origin, _, _ := strings.Cut(from, "+")
	msg, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%s\nfrom %s\nto %s\n", successionHead, origin, from, to)}, signers...)
	return string(msg), err
}

// readSuccession verifies a statement by the keys that it names: both must have signed it.
func readSuccession(msg string) (from, to string, err error) {
	text, sigs, ok := strings.Cut(msg, "\n\n")
	lines := strings.Split(text, "\n")
	if !ok || len(lines) != 4 || lines[0] != successionHead {
		return "", "", errors.New("it is not a statement of which key follows")
	}
	from, fromOK := strings.CutPrefix(lines[2], "from ")
	to, toOK := strings.CutPrefix(lines[3], "to ")
	earlier, err := note.NewVerifier(from)
	later, err2 := note.NewVerifier(to)
	if !fromOK || !toOK || err != nil || err2 != nil || from == to || earlier.Name() != lines[1] || later.Name() != lines[1] {
		return "", "", errors.New("it does not name two keys of one log")
	}
	n, err := note.Open([]byte(msg), note.VerifierList(earlier, later))
	if err != nil || len(n.Sigs) != 2 || len(n.UnverifiedSigs) > 0 || strings.Count(sigs, "\n") != 2 {
		return "", "", errors.New("it is not signed by both keys, and by them alone")
	}
	return from, to, nil
}

// follow verifies a link by itself. That its earlier key is one to be trusted is the caller's to know.
func (l KeyLink) follow() (followed, error) {
	e, err := audit.ParseEntry([]byte(l.Entry.Raw))
	if err != nil {
		return followed{}, refuse(CodeKeyHistory, "entry %d, by which a key follows another: %v", l.Entry.Index, err)
	}
	f := followed{use: LogKeyUse{Index: l.Entry.Index, Time: e.Time}}
	if e.Kind != audit.KindKey || e.Detail["use"] != UseCheckpoint {
		return followed{}, refuse(CodeKeyHistory, "entry %d does not put a key of the log on record", l.Entry.Index)
	}
	if f.from, f.to, err = readSuccession(e.Detail[SuccessionDetail]); err != nil {
		return followed{}, refuse(CodeKeyHistory, "entry %d: %v", l.Entry.Index, err)
	}
	f.use.Key = f.to
	v, err := note.NewVerifier(f.from)
	if err != nil {
		return followed{}, refuse(CodeKeyHistory, "entry %d: %v", l.Entry.Index, err)
	}
	c, code, err := openCheckpoint([]byte(l.Checkpoint), alone(f.from, v))
	if code != "" {
		return followed{}, refuse(CodeKeyHistory, "the checkpoint with the entry by which the key %s follows: %v", KeyID(f.to), err)
	}
	if text, sigs, ok := strings.Cut(l.Checkpoint, "\n\n"); !ok || signatures(text, sigs, v) != 1 {
		return followed{}, refuse(CodeKeyHistory, "the checkpoint with the entry by which the key %s follows has other signatures", KeyID(f.to))
	}
	if _, err := l.Entry.verify(c); err != nil {
		return followed{}, refuse(CodeKeyHistory, "the entry by which the key %s follows is not under the checkpoint of the key %s: %v", KeyID(f.to), KeyID(f.from), err)
	}
	f.at = c
	return f, nil
}

// followAll verifies links, each of which begins where the one before ends.
func followAll(links []KeyLink) ([]followed, error) {
	var all []followed
	for i, l := range links {
		f, err := l.follow()
		if err != nil {
			return nil, err
		}
		if i > 0 && (all[i-1].to != f.from || all[i-1].at.size > f.at.size) {
			return nil, refuse(CodeKeyHistory, "the key %s does not follow the key %s, or at an earlier time", KeyID(f.to), KeyID(all[i-1].to))
		}
		all = append(all, f)
	}
	return all, nil
}

// KeyID is the short name of a note verifier key: its hash, in hex.
func KeyID(verifierKey string) string {
	parts := strings.SplitN(verifierKey, "+", 3)
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// logKeys are the keys by which a log's checkpoints are believed: one that is known from elsewhere, and those that the log proves to follow it.
type logKeys struct {
	names     []string // verifier keys
	verifiers []note.Verifier
	links     []KeyLink // from each to the next
	steps     []followed
	broken    error // why the log's history of keys is not believed; nil: it is whole, or there is none
}

// alone is one key, which nothing follows.
func alone(name string, v note.Verifier) logKeys {
	return logKeys{names: []string{name}, verifiers: []note.Verifier{v}}
}

// Name is the log's origin.
func (k logKeys) Name() string { return k.verifiers[0].Name() }

// has reports whether a signature's name and hash are those of one of the keys.
func (k logKeys) has(s note.Signature) bool {
	for _, v := range k.verifiers {
		if s.Name == v.Name() && s.Hash == v.KeyHash() {
			return true
		}
	}
	return false
}

// readHistory reads a log's history of keys, unverified; a log that never changed its key has none.
func readHistory(log fs.FS) ([]KeyLink, error) {
	raw, err := fs.ReadFile(log, HistoryName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the history of the log's keys: %w", err)
	}
	var h keyHistory
	if err := json.Unmarshal(raw, &h); err != nil || h.Version != 1 {
		return nil, refuse(CodeKeyHistory, "%s is not a history of keys of version 1", HistoryName)
	}
	return h.Links, nil
}

func marshalHistory(links []KeyLink) ([]byte, error) {
	raw, err := json.MarshalIndent(keyHistory{1, links}, "", "\t")
	return append(raw, '\n'), err
}

// writeHistory replaces it. A crash leaves the old one or the new one, whole.
func (l logDir) writeHistory(links []KeyLink) error {
	raw, err := marshalHistory(links)
	if err == nil {
		err = durable.WriteFile(filepath.Join(string(l), HistoryName), raw, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the history of the log's keys: %w", err)
	}
	return nil
}

// keys are the keys that follow from one, by the log's own history. A history that proves nothing leaves that one, and says why.
func (l logDir) keys(known string) (logKeys, error) {
	v, err := note.NewVerifier(known)
	if err != nil {
		return logKeys{}, fmt.Errorf("the verifier key must have the form ORIGIN+HASH+KEY: %w", err)
	}
	return keysIn(os.DirFS(string(l)), alone(known, v))
}

func keysIn(log fs.FS, k logKeys) (logKeys, error) {
	links, err := readHistory(log)
	var steps []followed
	if err == nil {
		steps, err = followAll(links)
	}
	var refused *BundleError
	if errors.As(err, &refused) {
		k.broken = refused
		return k, nil
	}
	if err != nil {
		return k, err
	}
	for i, s := range steps {
		if s.from != k.names[len(k.names)-1] {
			continue // a verifier that was given a later key trusts none before it
		}
		v, err := note.NewVerifier(s.to)
		if err != nil {
			return k, err
		}
		k.names, k.verifiers, k.links, k.steps = append(k.names, s.to), append(k.verifiers, v), append(k.links, links[i]), append(k.steps, s)
	}
	return k, nil
}

// own finds the first of the keys that signed a checkpoint, and returns the checkpoint with its signature alone, and the links that lead to it.
func (k logKeys) own(msg []byte) (message, key string, links []KeyLink, err error) {
	for i, v := range k.verifiers {
		n, wrong := note.Open(msg, note.VerifierList(v))
		if wrong != nil {
			err = wrong
			continue
		}
		return fmt.Sprintf("%s\n— %s %s\n", n.Text, n.Sigs[0].Name, n.Sigs[0].Base64), k.names[i], k.links[:i], nil
	}
	return "", "", nil, err
}

// Signed is a log's checkpoint, opened with a key that is known from elsewhere or with one that the log proves to follow it.
type Signed struct {
	Text    string
	Message string    // with one signature, that of Key
	Key     string    // note verifier key
	Links   []KeyLink // from the known key to Key; none when they are the same
	History []byte    // Links as HistoryName in a copy of the log has them; nil: there are none
}

// OpenCheckpoint reads a log's checkpoint from its files.
func OpenCheckpoint(log fs.FS, known string) (Signed, error) {
	v, err := note.NewVerifier(known)
	if err != nil {
		return Signed{}, fmt.Errorf("the verifier key must have the form ORIGIN+HASH+KEY: %w", err)
	}
	msg, err := fs.ReadFile(log, checkpointName)
	if err != nil {
		return Signed{}, fmt.Errorf("reading the checkpoint: %w", err)
	}
	keys, err := keysIn(log, alone(known, v))
	if err != nil {
		return Signed{}, err
	}
	if _, code, err := openCheckpoint(msg, keys); code != "" {
		return Signed{}, refuse(code, "%v", err)
	}
	s := Signed{}
	if s.Message, s.Key, s.Links, err = keys.own(msg); err != nil {
		return Signed{}, refuse(CodeCheckpointSignature, "%v", err)
	}
	if s.Text, err = signedText(msg); err == nil && len(s.Links) > 0 {
		s.History, err = marshalHistory(s.Links)
	}
	return s, err
}
