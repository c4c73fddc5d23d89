package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// loggedUses finds what was done under a grant, at whichever gate, in the log of all of them: by the search index beside it, and in what is not in
// the index yet. Personal data that the log holds encrypted is opened: whoever may see a request sees what its requester did with it.
type loggedUses struct{ log, journal, control, replicas string }

// indexEvery is how often the index is brought up to date without anybody asking, so that who asks does not wait for it.
const indexEvery = time.Minute

func (d *devEnv) loggedUses(ctx context.Context, logger *slog.Logger) loggedUses {
	u := loggedUses{d.state.path("log"), d.state.path("journal"), d.state.path("journal-control"), d.state.path("replicas")}
	go u.keep(ctx, logger)
	return u
}

func (u loggedUses) keep(ctx context.Context, logger *slog.Logger) {
	tick := time.NewTicker(indexEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		x, err := u.open(ctx)
		if err == nil {
			err = x.Close()
		}
		if err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "the search index could not be brought up to date", "error", err)
		}
	}
}

// open opens the index, with everything in it that has its place in the log. It is opened for each use, because people remove it and make it anew.
func (u loggedUses) open(ctx context.Context) (*openedIndex, error) {
	journals, err := login.Context{JournalDir: u.journal, Journals: []string{u.control}, ReplicaDir: u.replicas}.JournalDirs()
	if err != nil {
		return nil, err
	}
	x, err := openIndexOf(ctx, u.log, journals, "")
	if err != nil {
		return nil, fmt.Errorf("opening the search index: %w", err)
	}
	if _, err := x.Sync(ctx, x.source); err != nil {
		_ = x.Close() // the reason why it can't be used is what counts
		return nil, err
	}
	return x, nil
}

// Uses makes it access.Uses.
func (u loggedUses) Uses(ctx context.Context, grant string) (out []access.Use, err error) {
	x, err := u.open(ctx)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	indexed, err := x.Size(ctx)
	if err != nil {
		return nil, err
	}
	sealed, err := x.sealedSize()
	if err != nil {
		return nil, err
	}
	f := index.Filter{Grant: []string{grant}, Kind: []audit.Kind{audit.KindDecision}, Oldest: true, Limit: access.MaxUses + 1}
	rows, _, err := x.query(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Index < indexed {
			out = append(out, useOf(&r.Entry, r.Index < sealed))
		}
	}
	// What came in meanwhile, or waits for its place.
	for r, err := range scan(ctx, tiles.ScanConfig{Log: x.log, Journals: x.journals, From: indexed}) {
		switch {
		case err != nil && r.Raw == nil:
			return nil, fmt.Errorf("reading the log: %w", err)
		case err != nil: // malformed: it is nobody's call
		case r.Entry.Kind == audit.KindDecision && r.Entry.Grant == grant && len(out) <= access.MaxUses:
			out = append(out, useOf(&r.Entry, r.Sealed))
		}
	}
	return out, nil
}

func useOf(e *audit.Entry, sealed bool) access.Use {
	u := access.Use{At: e.Time, Entry: e.ID, Sealed: sealed, Gate: e.Gate, Login: e.Actor.Login, Action: e.Action, Resource: e.Resource, Reason: e.Reason}
	if e.Decision != nil {
		u.Allow, u.Code = e.Decision.Allow, string(e.Decision.Code)
	}
	return u
}
