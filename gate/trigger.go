package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	schedulepb "go.temporal.io/api/schedule/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// triggerVersion is the integer version of the files. History: 1 (2026-11) first; 2 (2026-11) who it was may be sealed.
const triggerVersion = 2

const (
	triggerKeep = 24 * time.Hour // starts may wait for earlier runs to end
	triggersMax = 64             // of one schedule
	triggersDir = "triggers"     // in the directory of errands
)

// trigger is who made a schedule start something out of turn: a trigger, or a backfill between two nominal times, both included.
type trigger struct {
	Version int       `json:"v"`
	By      string    `json:"by,omitempty"`     // signature (signature.go)
	Sealed  string    `json:"sealed,omitempty"` // By as JSON, encrypted (Config.Seal), in its place
	At      time.Time `json:"at"`               // when they did, in whole seconds
	Spans   []span    `json:"spans"`
}

type span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func (t *trigger) covers(nominal time.Time) bool {
	return slices.ContainsFunc(t.Spans, func(s span) bool { return !nominal.Before(s.From) && !nominal.After(s.To) })
}

// triggers keeps them until they have certainly fired: in a directory for each schedule, one file for each call, named after its decision, so
// that gates of one cluster need no lock between them. A crash before the file is written leaves a call that was refused, one afterwards a
// trigger that Temporal may not know; nothing fires of it.
type triggers struct {
	dir   string // "": in memory only
	seal  Sealer // nil: in the clear
	clock func() time.Time

	mu    sync.Mutex            // covers known, and writing and removing files
	known map[string][]*trigger // by schedule, oldest first; only without dir
}

// openTriggers removes what is over.
func openTriggers(dir string, seal Sealer, clock func() time.Time) (*triggers, error) {
	t := &triggers{seal: seal, clock: clock, known: map[string][]*trigger{}}
	if dir == "" {
		return t, nil
	}
	t.dir = filepath.Join(dir, triggersDir)
	schedules, err := os.ReadDir(t.dir) // the first trigger makes it
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the directory of triggers: %w", err)
	}
	for _, s := range schedules {
		t.read(s.Name(), clock())
	}
	return t, nil
}

// scheduleKey is what may become a directory's name.
func scheduleKey(namespace, schedule string) string {
	sum := sha256.Sum256([]byte(namespace + "\x00" + schedule))
	return hex.EncodeToString(sum[:16])
}

// keep makes a trigger of who durable under the id of its decision.
func (t *triggers) keep(namespace, schedule, id string, who audit.Party, made *trigger) error {
	key := scheduleKey(namespace, schedule)
	if t.seal != nil {
		raw, err := json.Marshal(made.By)
		if err == nil {
			made.Sealed, err = t.seal.Seal(triggerName(key, made.At), who, raw)
		}
		if err != nil {
			return fmt.Errorf("keeping a trigger: %w", err)
		}
		if made.Sealed != "" {
			made.By = ""
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir == "" {
		kept := slices.DeleteFunc(t.known[key], func(old *trigger) bool { return t.over(old, made.At) })
		kept = append(kept, made)
		t.known[key] = kept[max(0, len(kept)-triggersMax):]
		return nil
	}
	raw, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("keeping a trigger: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(t.dir, key), 0o700); err != nil {
		return fmt.Errorf("keeping a trigger: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(t.dir, key, id+errandFile), raw, 0o600); err != nil {
		return fmt.Errorf("keeping a trigger: %w", err)
	}
	return nil
}

func (t *triggers) over(old *trigger, now time.Time) bool { return now.After(old.At.Add(triggerKeep)) }

// of is who made the schedule start the run of that nominal time: the last who did, or "".
func (t *triggers) of(namespace, schedule string, nominal, now time.Time) (by string) {
	if nominal.IsZero() {
		return ""
	}
	key := scheduleKey(namespace, schedule)
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[key]
	if t.dir != "" {
		known = t.read(key, now)
	}
	for _, made := range known {
		if made.covers(nominal) {
			by = t.signature(key, made)
		}
	}
	return by
}

// triggerName is what a sealed signature belongs to.
func triggerName(key string, at time.Time) string {
	return "trigger " + key + " " + at.UTC().Format(time.RFC3339)
}

// signature is who it was; "" when that was erased or can't be read.
func (t *triggers) signature(key string, made *trigger) (by string) {
	if made.Sealed == "" || t.seal == nil {
		return made.By
	}
	raw, erased, err := t.seal.Unseal(triggerName(key, made.At), made.Sealed)
	if erased || err != nil || json.Unmarshal(raw, &by) != nil {
		return ""
	}
	return by
}

// read returns what is kept for a schedule, oldest first, and removes what is over and more than there may be. A file that can't be read tells
// nothing: the run is its creator's all the same, only who triggered it is not on it. It wants mu, or a store that nobody else has yet.
func (t *triggers) read(key string, now time.Time) (known []*trigger) {
	dir := filepath.Join(t.dir, key)
	files, err := os.ReadDir(dir) // sorted by name: decision ids begin with their time
	if err != nil {
		return nil
	}
	files = slices.DeleteFunc(files, func(f os.DirEntry) bool { return !strings.HasSuffix(f.Name(), errandFile) })
	for i, f := range files {
		path := filepath.Join(dir, f.Name())
		raw, err := os.ReadFile(path)
		var made trigger
		if err != nil || json.Unmarshal(raw, &made) != nil || made.Version < 1 || made.Version > triggerVersion {
			continue
		}
		if t.over(&made, now) || i < len(files)-triggersMax {
			_ = os.Remove(path) // one that stays is found to be needless again
			continue
		}
		known = append(known, &made)
	}
	if len(known) == 0 {
		_ = os.Remove(dir) // fails when there is something in it
	}
	return known
}

// drop forgets what was kept for a schedule.
func (t *triggers) drop(namespace, schedule string) {
	key := scheduleKey(namespace, schedule)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, key)
	if t.dir != "" {
		_ = os.RemoveAll(filepath.Join(t.dir, key))
	}
}

// rememberTriggers remembers what a patch, or the patch that comes with a new schedule, starts out of turn. A trigger gets its nominal time
// here, so that the run that comes of it can be told.
func (g *Gate) rememberTriggers(a *Admission, schedule string, p *schedulepb.SchedulePatch) error {
	made := &trigger{Version: triggerVersion, By: a.signature(), At: a.at.UTC().Truncate(time.Second)}
	add := func(from, to *timestamppb.Timestamp) {
		made.Spans = append(made.Spans, span{from.AsTime().Truncate(time.Second), to.AsTime().Truncate(time.Second)})
	}
	if now := p.GetTriggerImmediately(); now != nil {
		if now.ScheduledTime == nil {
			now.ScheduledTime = timestamppb.New(a.at)
		}
		add(now.ScheduledTime, now.ScheduledTime)
	}
	for _, backfill := range p.GetBackfillRequest() {
		add(backfill.GetStartTime(), backfill.GetEndTime())
	}
	if len(made.Spans) == 0 {
		return nil
	}
	return g.triggers.keep(a.namespace, schedule, a.id, a.person.party, made)
}
