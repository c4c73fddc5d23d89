package tiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// PruneConfig says what may be removed from journals.
type PruneConfig struct {
	Log       string        // the log's directory
	Key       string        // its verifier key: only what is under its signature, or that of one which follows it, counts as sealed
	Journals  []string      // the journals, replicas among them
	Older     time.Duration // only segments that were last written so long ago; at least a minute
	Witnessed bool          // only what is under the cosigned checkpoint too
	// Indexed returns how many entries the search index has; nil: that does not matter, as it can be made again from the log.
	Indexed func(ctx context.Context) (uint64, error)
}

// PrunedJournal is what was removed from one journal.
type PrunedJournal struct {
	Gate  string `json:"gate"`
	Dir   string `json:"dir"`
	Below uint64 `json:"below"` // entries of the journal with lower numbers are in the log
	audit.Pruned
}

// Prune removes from the journals what the log has, by whole segments. What is left compares with the log as before, and the log alone has
// the rest: keep copies of it.
func Prune(ctx context.Context, cfg PruneConfig) ([]PrunedJournal, error) {
	used, err := cfg.sealed(ctx)
	if err != nil {
		return nil, fmt.Errorf("pruning: %w", err)
	}
	sources, err := findSources(distinct(cfg.Journals))
	if err != nil {
		return nil, fmt.Errorf("pruning: %w", err)
	}
	var all []PrunedJournal
	for _, s := range sources {
		below := used[s.name].Next
		if err := s.check(used[s.name]); err != nil {
			return all, errors.Join(fmt.Errorf("pruning: nothing of it was removed: %w", err))
		}
		s.close()
		p, err := audit.Prune(s.dir, below, time.Now().Add(-max(cfg.Older, time.Minute)))
		all = append(all, PrunedJournal{Gate: s.name, Dir: s.dir, Below: below, Pruned: p})
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// sealed returns how far the journals are used by the part of the log that nothing is needed for any more. The order says so for what was
// published a while ago, which is on the safe side.
func (cfg PruneConfig) sealed(ctx context.Context) (map[string]cursor, error) {
	keys, err := logDir(cfg.Log).keys(cfg.Key)
	if err != nil {
		return nil, err
	}
	o, ok, err := logDir(cfg.Log).readOrder()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("the log has no order yet: let a sealer run first")
	}
	names := []string{checkpointName}
	if cfg.Witnessed {
		names = append(names, witnessedName)
	}
	for _, name := range names {
		msg, err := os.ReadFile(filepath.Join(cfg.Log, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no %s yet", name)
		}
		if err != nil {
			return nil, err
		}
		c, code, err := openCheckpoint(msg, keys)
		if code != "" {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if c.size < o.Size {
			return nil, fmt.Errorf("%s has %d entries and %d are sealed: try again when it has caught up", name, c.size, o.Size)
		}
	}
	if cfg.Indexed != nil {
		if n, err := cfg.Indexed(ctx); err != nil || n < o.Size {
			return nil, errors.Join(fmt.Errorf("the index has %d entries of %d: bring it up to date first, such as by a query", n, o.Size), err)
		}
	}
	return o.Sources, nil
}
