package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
)

// leastKeep is the shortest time that can be asked for: shorter ones are more likely a slip than a policy.
const leastKeep = 24 * time.Hour

// retainRequest asks to remove what is older than Keep.
type retainRequest struct {
	Keep   string `json:"keep"` // 400d, or a Go duration; at least a day
	Reason string `json:"reason"`
	Dry    bool   `json:"dry_run,omitempty"`
}

type retainAnswer struct {
	Before  time.Time `json:"before"`          // what is older was asked for
	To      uint64    `json:"to"`              // entries below it are removed, or would be
	Removed uint64    `json:"removed"`         // by this request
	Entry   string    `json:"entry,omitempty"` // id of the entry that allows it
	Held    bool      `json:"held"`            // journals still have entries that old: they go when the journals are pruned
}

// retentionFile is retention.yaml in the state directory. History: version 1 (2026-11) first.
type retentionFile struct {
	Version int    `yaml:"version"`
	Keep    string `yaml:"keep"`
}

// parseKeep reads how long entries are kept.
func parseKeep(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		if n, err = strconv.ParseUint(days, 10, 16); err == nil {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || d < leastKeep {
		return 0, fmt.Errorf("%q is not a time to keep entries for; write days, at least one: 400d", s)
	}
	return d, nil
}

// serveRetention mounts POST /v1/audit/retain, for who may administer the cluster, and follows retention.yaml, if there is one, until ctx ends.
func (d *devEnv) serveRetention(ctx context.Context, c *controlPlane, logger *slog.Logger) error {
	keep, err := d.retention()
	if err != nil {
		return err
	}
	c.plane.Handle("POST /v1/audit/retain", c.plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		var q retainRequest
		if !c.administers(w, r, who, &q) {
			return
		}
		keep, err := parseKeep(q.Keep)
		if err != nil || strings.TrimSpace(q.Reason) == "" && !q.Dry {
			control.Problem(w, http.StatusBadRequest, "bad_request", "keep (400d) and reason are needed", "")
			return
		}
		answer, err := c.retain(r.Context(), time.Now().Add(-keep), q.Dry, func(detail map[string]string) (string, error) {
			return c.recordAdmin(r, who, q.Reason, detail)
		})
		if err != nil {
			logger.ErrorContext(r.Context(), "could not remove old entries", "error", err)
			control.Problem(w, http.StatusServiceUnavailable, "retain_failed", "old entries could not be removed; what is recorded can be done again", "try again, and look at the control plane's log")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	if keep > 0 {
		go c.retainAlways(ctx, keep, logger)
	}
	return nil
}

// retention reads retention.yaml; 0 when there is none. One that is wrong is told before anything starts.
func (d *devEnv) retention() (time.Duration, error) {
	path := d.state.path("retention.yaml")
	var f retentionFile
	there, err := readStateFile(path, &f, &f.Version)
	if !there && err == nil {
		return 0, nil
	}
	var keep time.Duration
	if err == nil {
		keep, err = parseKeep(f.Keep)
	}
	if err != nil {
		return 0, &coded{Code: "bad_retention", Text: fmt.Sprintf("%s: %v", path, err), Fix: `write "version: 1" and "keep: 400d", or remove it to keep everything`, Path: path}
	}
	return keep, nil
}

// retainAlways removes what has become too old, once an hour.
func (c *controlPlane) retainAlways(ctx context.Context, keep time.Duration, logger *slog.Logger) {
	for ctx.Err() == nil {
		answer, err := c.retain(ctx, time.Now().Add(-keep), false, func(detail map[string]string) (string, error) {
			return c.plane.Record(ctx, audit.Entry{Kind: audit.KindAdmin, Reason: "retention.yaml", Detail: detail})
		})
		if err != nil && ctx.Err() == nil {
			logger.ErrorContext(ctx, "could not remove old entries", "error", err)
		} else if answer.Removed > 0 {
			logger.InfoContext(ctx, "removed old entries", "entries", answer.Removed, "to", answer.To)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Hour):
		}
	}
}

// retain removes what is older than before: measured, recorded, sealed, and only then removed.
func (c *controlPlane) retain(ctx context.Context, before time.Time, dry bool, record func(map[string]string) (string, error)) (a retainAnswer, err error) {
	was, err := tiles.ReadRetained(c.sealed)
	if err != nil {
		return a, err
	}
	detail, to, err := tiles.Removable(ctx, c.sealed, before)
	if err != nil {
		return a, err
	}
	a = retainAnswer{Before: before.UTC().Truncate(time.Second), To: to}
	if a.Held, err = heldInJournals(c.journals, before); err != nil {
		return a, err
	}
	if dry || to == was.To {
		a.Removed = 0
		if dry {
			a.Removed = to - was.To
		}
		return a, nil
	}
	size, err := tiles.SealedSize(c.sealed)
	if err != nil {
		return a, err
	}
	if a.Entry, err = record(detail); err != nil {
		return a, err
	}
	index, err := c.awaitSealed(ctx, a.Entry, size)
	if err != nil {
		return a, err
	}
	if _, err := tiles.Remove(ctx, c.sealed, index); err != nil {
		return a, err
	}
	a.Removed = to - was.To
	return a, nil
}

// awaitSealed returns the index of an entry, once it is sealed.
func (c *controlPlane) awaitSealed(ctx context.Context, id string, from uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		for r, err := range tiles.Scan(ctx, tiles.ScanConfig{Log: c.sealed, From: from}) {
			if err != nil && r.Raw == nil {
				return 0, err
			}
			if from = r.Index + 1; err == nil && r.Entry.ID == id {
				return r.Index, nil
			}
		}
	}
	return 0, fmt.Errorf("waiting for entry %s to be sealed: %w", id, ctx.Err())
}

// heldInJournals reports whether a journal still has entries older than a time.
func heldInJournals(dirs []string, before time.Time) (bool, error) {
	for _, dir := range dirs {
		first, ok, err := audit.First(dir)
		if err != nil || !ok {
			if err != nil {
				return false, err
			}
			continue
		}
		r, err := audit.OpenReader(dir, first)
		if err != nil {
			return false, err
		}
		_, raw, err := r.Next()
		_ = r.Close()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return false, err
		}
		if e, err := audit.ParseEntry(raw); err == nil && e.Time.Before(before) {
			return true, nil
		}
	}
	return false, nil
}
