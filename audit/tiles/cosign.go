package tiles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit/witness"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// WitnessURL is one witness that is asked for cosignatures.
type WitnessURL struct {
	URL string // submission prefix; add-checkpoint is below it
	Key string // its verifier key
}

// CosignConfig are the settings of RunCosigning.
type CosignConfig struct {
	Log       string // the log's directory
	Key       string // the log's verifier key; where the log proves that another follows it, that one's checkpoints are cosigned too
	Witnesses []WitnessURL
	Quorum    int           // how many must cosign for checkpoint.witnessed to be replaced; default all
	Interval  time.Duration // at most one round so often; default 10 s, at least 1 s
	Client    *http.Client  // default one with a timeout of 10 s
	Logger    *slog.Logger  // default discards
}

// RunCosigning asks the witnesses for their cosignature of each new checkpoint until ctx ends. When enough have signed, the checkpoint with
// their signatures becomes checkpoint.witnessed. The log itself does not wait for them.
func RunCosigning(ctx context.Context, cfg CosignConfig) error {
	c, err := newCosigning(cfg)
	if err != nil {
		return fmt.Errorf("starting to ask witnesses: %w", err)
	}
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Logger.WarnContext(ctx, "checkpoint is not cosigned", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// cosigning is one RunCosigning.
type cosigning struct {
	cfg       CosignConfig
	verifiers []*witness.Verifier
	sizes     []uint64 // what each witness is thought to have
	done      uint64   // size of the last checkpoint that enough have cosigned
}

func newCosigning(cfg CosignConfig) (*cosigning, error) {
	if cfg.Quorum == 0 {
		cfg.Quorum = len(cfg.Witnesses)
	}
	if cfg.Interval == 0 {
		cfg.Interval = 10 * time.Second
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Witnesses) == 0 || cfg.Quorum < 1 || cfg.Quorum > len(cfg.Witnesses) {
		return nil, fmt.Errorf("a quorum of %d of %d witnesses can't be had", cfg.Quorum, len(cfg.Witnesses))
	}
	if cfg.Interval < time.Second {
		return nil, fmt.Errorf("interval %v is less than 1s", cfg.Interval)
	}
	if _, err := note.NewVerifier(cfg.Key); err != nil {
		return nil, fmt.Errorf("the log's key must have the form ORIGIN+HASH+KEY: %w", err)
	}
	c := &cosigning{cfg: cfg, sizes: make([]uint64, len(cfg.Witnesses))}
	seen := map[string]bool{}
	for _, w := range cfg.Witnesses {
		v, err := witness.NewVerifier(w.Key)
		if err != nil {
			return nil, err
		}
		if seen[w.Key] {
			return nil, fmt.Errorf("witness %s is named twice, and counts once", v.Name())
		}
		seen[w.Key] = true
		c.verifiers = append(c.verifiers, v)
	}
	return c, nil
}

// round asks all witnesses at once.
func (c *cosigning) round(ctx context.Context) error {
	msg, err := os.ReadFile(filepath.Join(c.cfg.Log, checkpointName))
	if err != nil {
		return fmt.Errorf("reading checkpoint: %w", err)
	}
	keys, err := logDir(c.cfg.Log).keys(c.cfg.Key)
	if err != nil {
		return err
	}
	at, code, err := openCheckpoint(msg, keys)
	if code != "" {
		return err
	}
	if at.size == c.done || at.size == 0 {
		return nil
	}
	answers := make([]string, len(c.verifiers))
	errs := make([]error, len(c.verifiers))
	var wg sync.WaitGroup
	for i := range c.verifiers {
		wg.Go(func() { answers[i], errs[i] = c.ask(ctx, i, at, msg) })
	}
	wg.Wait()
	count := 0
	for _, lines := range answers {
		if lines != "" {
			count++
		}
	}
	if count < c.cfg.Quorum {
		return fmt.Errorf("%d of %d witnesses cosigned, %d are needed: %w", count, len(c.verifiers), c.cfg.Quorum, errors.Join(errs...))
	}
	if err := errors.Join(errs...); err != nil {
		c.cfg.Logger.WarnContext(ctx, "a witness did not cosign; enough others did", "error", err)
	}
	// A crash before this leaves the older one, which is as true.
	if err := durable.WriteFile(filepath.Join(c.cfg.Log, witnessedName), []byte(string(msg)+strings.Join(answers, "")), 0o644); err != nil {
		return fmt.Errorf("publishing cosignatures: %w", err)
	}
	c.done = at.size
	return nil
}

// ask asks one witness, and once more when it has another size than was thought.
func (c *cosigning) ask(ctx context.Context, i int, at checkpoint, msg []byte) (string, error) {
	name := c.verifiers[i].Name()
	for range 3 {
		proof, err := logDir(c.cfg.Log).proveTree(at, c.sizes[i])
		if err != nil {
			return "", err
		}
		lines, err := witness.Ask(ctx, c.cfg.Client, c.cfg.Witnesses[i].URL, c.verifiers[i], c.sizes[i], proof, msg)
		var conflict *witness.ConflictError
		switch {
		case err == nil:
			c.sizes[i] = at.size
			return lines, nil
		case !errors.As(err, &conflict):
			return "", fmt.Errorf("%s: %w", name, err)
		case conflict.Size > at.size:
			return "", fmt.Errorf("%s has cosigned this log at %d entries, and it has %d: was it rolled back? %w", name, conflict.Size, at.size, ErrDiverged)
		case conflict.Size == c.sizes[i]:
			return "", fmt.Errorf("%s has cosigned another history of this log at %d entries: %w", name, conflict.Size, ErrDiverged)
		}
		c.sizes[i] = conflict.Size
	}
	return "", fmt.Errorf("%s changes its mind about the log's size", name)
}

// proveTree proves that the tree of the checkpoint extends that of the old size; empty when there is nothing to prove.
func (l logDir) proveTree(at checkpoint, old uint64) ([]tlog.Hash, error) {
	if old == 0 || old >= at.size {
		return nil, nil
	}
	tree := tlog.Tree{N: int64(at.size), Hash: at.root}
	proof, err := tlog.ProveTree(tree.N, int64(old), tlog.TileHashReader(tree, tileReader{l, at.size}))
	if err != nil {
		return nil, fmt.Errorf("proving consistency: %w", err)
	}
	return proof, nil
}

// Lack is a witness that did not cosign, and why.
type Lack struct {
	Witness string
	Err     error
}

// Lacking asks each witness to cosign the newest checkpoint with the signature of cfg.Key alone, and returns those that do not: a witness that was not
// given the key yet, or is away. It is how a log learns who would be lost when its earlier key stops signing.
func Lacking(ctx context.Context, cfg CosignConfig) ([]Lack, error) {
	c, err := newCosigning(cfg)
	if err != nil {
		return nil, fmt.Errorf("asking witnesses about a key: %w", err)
	}
	msg, err := os.ReadFile(filepath.Join(cfg.Log, checkpointName))
	if err != nil {
		return nil, fmt.Errorf("asking witnesses about a key: %w", err)
	}
	v, err := note.NewVerifier(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("asking witnesses about a key: %w", err)
	}
	keys := alone(cfg.Key, v)
	at, code, err := openCheckpoint(msg, keys)
	if code != "" {
		return nil, fmt.Errorf("asking witnesses about a key: %w", err)
	}
	own, _, _, err := keys.own(msg)
	if err != nil {
		return nil, fmt.Errorf("asking witnesses about a key: %w", err)
	}
	errs := make([]error, len(c.verifiers))
	var wg sync.WaitGroup
	for i := range c.verifiers {
		wg.Go(func() { _, errs[i] = c.ask(ctx, i, at, []byte(own)) })
	}
	wg.Wait()
	var lacking []Lack
	for i, err := range errs {
		if err != nil {
			lacking = append(lacking, Lack{c.verifiers[i].Name(), err})
		}
	}
	return lacking, ctx.Err()
}
