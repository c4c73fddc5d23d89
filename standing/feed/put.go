package feed

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// head is where the feed ends, and the link there.
func head(ctx context.Context, q querier) (seq uint64, link []byte, err error) {
	err = q.QueryRowContext(ctx, `SELECT seq, link FROM log ORDER BY seq DESC LIMIT 1`).Scan(&seq, &link)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		err = fmt.Errorf("reading the feed's end: %w", err)
	}
	return seq, link, err
}

// object names what an event is about, of which only the newest event is kept.
func object(e *standing.Event) string {
	switch e.Kind {
	case standing.EventGrant, standing.EventRevoke:
		return "g/" + e.Grant.ID
	case standing.EventBar, standing.EventUnbar:
		return "b/" + e.Bar.ID
	}
	return "p/" + e.Person.Principal
}

// digest tells whether an event that is published again is the same. When it was published does not count.
func digest(e standing.Event) ([]byte, error) {
	e.Seq, e.At = 0, time.Time{}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	sum := sha256.Sum256(raw)
	return sum[:], nil
}

// put adds an event, or finds that it is there. now is the feed's clock.
func (s *store) put(ctx context.Context, e standing.Event, now time.Time, keep retention) (seq uint64, err error) {
	print, err := digest(e)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		var known []byte
		switch err := tx.QueryRowContext(ctx, `SELECT seq, digest FROM log WHERE id = $1`, e.ID).Scan(&seq, &known); {
		case err == nil && string(known) == string(print):
			return nil
		case err == nil:
			return fmt.Errorf("%w: %q is event %d", ErrConflict, e.ID, seq)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("looking for the event: %w", err)
		}
		last, link, err := head(ctx, tx)
		if err != nil {
			return err
		}
		before, err := newest(ctx, tx, object(&e))
		if err != nil {
			return err
		}
		forget, err := follows(before, &e, now, keep)
		if err != nil {
			return err
		}
		seq = last + 1
		e.Seq = seq
		raw, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encoding the event: %w", err)
		}
		if len(raw) > maxEvent {
			return fmt.Errorf("the event has %d bytes; the limit is %d", len(raw), maxEvent)
		}
		next := sha256.Sum256(append(link[:len(link):len(link)], raw...))
		if _, err := tx.ExecContext(ctx, `INSERT INTO log (seq, id, digest, link, at) VALUES ($1, $2, $3, $4, $5)`, int64(seq), e.ID, print, next[:], now.UnixNano()); err != nil {
			return fmt.Errorf("adding the event: %w", err)
		}
		if forget < 0 {
			return nil // news that are older than what is known
		}
		ended := 0
		if e.Kind == standing.EventRevoke || e.Kind == standing.EventUnbar {
			ended = 1
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO events (object, seq, raw, ended, forget) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (object) DO UPDATE SET seq = excluded.seq, raw = excluded.raw, ended = excluded.ended, forget = excluded.forget`,
			object(&e), int64(seq), raw, ended, forget); err != nil {
			return fmt.Errorf("adding the event: %w", err)
		}
		return nil
	})
	return seq, err
}

// newest is the newest event of an object, or nil.
func newest(ctx context.Context, q querier, object string) (*standing.Event, error) {
	var raw []byte
	switch err := q.QueryRowContext(ctx, `SELECT raw FROM events WHERE object = $1`, object).Scan(&raw); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading what is known: %w", err)
	}
	var e standing.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("reading what is known: %w", err)
	}
	return &e, nil
}

// follows says whether an event may come after what is known of its object, and when it can be forgotten: in ns since 1970, 0 for never, -1 for
// not worth keeping at all.
func follows(before, e *standing.Event, now time.Time, keep retention) (forget int64, err error) {
	switch e.Kind {
	case standing.EventGrant:
		if before != nil && before.Kind == standing.EventRevoke {
			return 0, fmt.Errorf("%w: %q ended at %s; give a new grant another id", ErrEnded, e.Grant.ID, before.At.Format(time.RFC3339))
		}
		if before != nil && before.Grant.Principal != e.Grant.Principal {
			return 0, fmt.Errorf("%w: the grant %q is another principal's", ErrConflict, e.Grant.ID)
		}
		return e.Grant.Expires.UnixNano(), nil
	case standing.EventRevoke:
		until := now.Add(keep.ended)
		if before != nil && before.Kind == standing.EventGrant && before.Grant.Expires.After(until) {
			until = before.Grant.Expires
		}
		return until.UnixNano(), nil
	case standing.EventBar:
		if e.Bar.Before.IsZero() {
			return 0, nil
		}
		return e.Bar.Before.Add(keep.tokens).UnixNano(), nil
	case standing.EventUnbar:
		return now.Add(keep.ended).UnixNano(), nil
	}
	if before != nil && before.Person != nil && e.Person.AsOf.Before(before.Person.AsOf) {
		return -1, nil
	}
	return 0, nil
}
