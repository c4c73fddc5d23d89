package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Seconds is a duration that is written as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes seconds with milliseconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(s).Seconds()), nil
}

// Status is how revocation is doing.
type Status struct {
	Polled      time.Time `json:"polled,omitzero"` // when the log last answered
	PollError   string    `json:"poll_error,omitempty"`
	Directory   time.Time `json:"directory,omitzero"` // when the directory last answered
	AskingError string    `json:"directory_error,omitempty"`
	Open        int       `json:"open"`  // signals that are not settled
	Queue       int       `json:"queue"` // what is to be published and recorded
	People      int       `json:"people"`
	Published   int64     `json:"published"`  // revocations since the start
	LastDelay   Seconds   `json:"last_delay"` // seconds from the last one's event until it was published
}

// Status reads it.
func (r *Revoker) Status(ctx context.Context) (Status, error) {
	r.mu.Lock()
	s := r.status
	r.mu.Unlock()
	err := r.store.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM signals WHERE settled = 0), (SELECT count(*) FROM outbox), (SELECT count(*) FROM people)`).Scan(&s.Open, &s.Queue, &s.People)
	if err != nil {
		return s, fmt.Errorf("reading the queue of signals: %w", err)
	}
	return s, nil
}

func (r *Revoker) polled(ctx context.Context, err error) {
	r.mu.Lock()
	was := r.status.PollError
	r.status.PollError = ""
	if err == nil {
		r.status.Polled = r.cfg.Clock().UTC()
	} else {
		r.status.PollError = err.Error()
	}
	is := r.status.PollError
	r.mu.Unlock()
	switch {
	case is != "" && was == "":
		r.cfg.Logger.WarnContext(ctx, "the provider's log can't be read", "error", err)
	case is == "" && was != "":
		r.cfg.Logger.InfoContext(ctx, "the provider's log can be read again")
	}
}

func (r *Revoker) directoryAnswered(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.AskingError = ""; err != nil {
		r.status.AskingError = err.Error()
	} else {
		r.status.Directory = r.cfg.Clock().UTC()
	}
}

// metrics measure revocation. A nil one does nothing.
type metrics struct {
	signals   metric.Int64Counter
	publish   metric.Float64Histogram
	enforcing metric.Float64Histogram
}

func newMetrics(m metric.Meter) (*metrics, error) {
	if m == nil {
		return nil, nil
	}
	out := &metrics{}
	buckets := metric.WithExplicitBucketBoundaries(.05, .1, .25, .5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3600)
	var errs [3]error
	out.signals, errs[0] = m.Int64Counter("bailiwick.revocation.signals", metric.WithDescription("Signals of the identity provider, by source; duplicate: it had come before."))
	out.publish, errs[1] = m.Float64Histogram("bailiwick.revocation.published.duration", metric.WithUnit("s"), buckets, metric.WithDescription("Time from an event at the identity provider until gates could know, by source of the signal."))
	out.enforcing, errs[2] = m.Float64Histogram("bailiwick.revocation.enforced.duration", metric.WithUnit("s"), buckets, metric.WithDescription("Time from an event at the identity provider until every gate had it, by source of the signal."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	return out, nil
}

func (m *metrics) received(source string, fresh, again int) {
	if m == nil {
		return
	}
	ctx := context.Background()
	m.signals.Add(ctx, int64(fresh), metric.WithAttributes(attribute.String("source", source), attribute.Bool("duplicate", false)))
	m.signals.Add(ctx, int64(again), metric.WithAttributes(attribute.String("source", source), attribute.Bool("duplicate", true)))
}

func (m *metrics) published(ctx context.Context, source string, took time.Duration) {
	if m != nil {
		m.publish.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("source", source)))
	}
}

func (m *metrics) enforced(ctx context.Context, source string, took time.Duration) {
	if m != nil {
		m.enforcing.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("source", source)))
	}
}
