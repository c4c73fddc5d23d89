package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Options is what an exporter needs besides its configuration. Log is required.
type Options struct {
	Log    Log
	Open   func(audit.Entry) audit.Entry // opens personal data for sinks with personal: open; default none
	Only   string                        // name of the one sink to run; default all
	Meter  metric.Meter                  // default none
	Logger *slog.Logger                  // default discards
}

// Exporter runs the sinks of a configuration, each in a goroutine of its own: one that is down holds up no other.
type Exporter struct {
	pumps  []*pump
	locks  []func() error
	opts   Options
	unhook func() error
}

// New makes the sinks and takes their locks. It connects to nothing: a receiver that is down is no reason not to start.
func New(cfg Config, opts Options) (_ *Exporter, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Log == nil {
		return nil, errors.New("starting exports: no log given")
	}
	x := &Exporter{opts: opts}
	defer func() {
		if err != nil {
			_ = x.Close()
		}
	}()
	for _, c := range cfg.Sinks {
		if opts.Only != "" && c.Name != opts.Only {
			continue
		}
		unlock, err := state(cfg.State).lock(c.Name)
		if err != nil {
			return nil, fmt.Errorf("starting exports: %w", err)
		}
		x.locks = append(x.locks, unlock)
		sink, err := open(c)
		if err != nil {
			return nil, fmt.Errorf("starting sink %s: %w", c.Name, err)
		}
		st := state(cfg.State)
		dead, err := st.buried(c.Name)
		if err != nil {
			return nil, fmt.Errorf("starting sink %s: %w", c.Name, err)
		}
		p := &pump{cfg: c, log: opts.Log, state: st, sink: sink, logger: opts.Logger,
			status: &tracker{now: Status{Name: c.Name, Type: c.Type, Format: c.Format, Dead: len(dead)}, save: st.keep(c.Name)}}
		if c.Personal == "open" {
			p.open = opts.Open
		}
		x.pumps = append(x.pumps, p)
	}
	if len(x.pumps) == 0 {
		return nil, fmt.Errorf("starting exports: there is no sink %q", opts.Only)
	}
	if opts.Meter != nil {
		if err := x.measure(opts.Meter); err != nil {
			return nil, fmt.Errorf("starting exports: %w", err)
		}
	}
	return x, nil
}

// open makes a sink of its configuration.
func open(c SinkConfig) (Sink, error) {
	switch c.Type {
	case "http":
		return newHTTPSink(c.Name, *c.HTTP)
	case "otlp":
		if c.OTLP.Protocol == "grpc" {
			return newOTLPGRPCSink(*c.OTLP)
		}
		return newOTLPSink(*c.OTLP)
	case "syslog":
		return newSyslogSink(*c.Syslog)
	case "file":
		return newFileSink(*c.File, osFiles{}, time.Now)
	}
	return nil, fmt.Errorf("there is no sink type %q", c.Type)
}

// Run exports until ctx ends, which is no error. Where a sink can't go on (its cursor is of another log) the others do; its error is
// returned at the end and is in its status before.
func (x *Exporter) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(x.pumps))
	for i, p := range x.pumps {
		wg.Go(func() {
			err := p.run(ctx)
			if ctx.Err() != nil && !errors.Is(err, ErrDiverged) {
				err = nil
			}
			if err != nil {
				p.logger.ErrorContext(ctx, "a sink stopped", "sink", p.cfg.Name, "error", err)
				errs[i] = fmt.Errorf("exporting to %s: %w", p.cfg.Name, err)
			}
			p.status.ended(err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Status tells how the sinks do now.
func (x *Exporter) Status() ([]Status, error) {
	var all []Status
	for _, p := range x.pumps {
		s := p.status.get()
		if err := s.lag(x.opts.Log, time.Now()); err != nil {
			return nil, err
		}
		dead, err := p.state.buried(s.Name) // `audit export retry` may have sent some
		if err != nil {
			return nil, err
		}
		s.Dead = len(dead)
		all = append(all, s)
	}
	return all, nil
}

// Close closes the sinks and gives the locks back. Run must have returned.
func (x *Exporter) Close() error {
	var errs []error
	if x.unhook != nil {
		errs = append(errs, x.unhook())
	}
	for _, p := range x.pumps {
		errs = append(errs, p.sink.Close())
	}
	for _, unlock := range x.locks {
		errs = append(errs, unlock())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing exports: %w", err)
	}
	return nil
}

// measure tells the lag of each sink whenever somebody collects metrics.
func (x *Exporter) measure(m metric.Meter) error {
	entries, err1 := m.Int64ObservableGauge("bailiwick.export.behind.entries", metric.WithDescription("Sealed entries not exported yet, by sink."))
	seconds, err2 := m.Float64ObservableGauge("bailiwick.export.behind.seconds", metric.WithUnit("s"), metric.WithDescription("Age of the oldest entry not exported yet, by sink."))
	delivered, err3 := m.Int64ObservableCounter("bailiwick.export.delivered", metric.WithDescription("Messages taken by the receiver, by sink."))
	failures, err4 := m.Int64ObservableCounter("bailiwick.export.failures", metric.WithDescription("Tries of a batch that failed, by sink."))
	dead, err5 := m.Int64ObservableGauge("bailiwick.export.dead_letters", metric.WithDescription("Entries that the receiver refused for good, by sink."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	registration, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		all, err := x.Status()
		if err != nil {
			return err
		}
		for _, s := range all {
			with := metric.WithAttributes(attribute.String("sink", s.Name), attribute.String("type", s.Type))
			o.ObserveInt64(entries, int64(s.Behind), with)
			o.ObserveFloat64(seconds, s.BehindSeconds, with)
			o.ObserveInt64(delivered, int64(s.Delivered), with)
			o.ObserveInt64(failures, int64(s.Failures), with)
			o.ObserveInt64(dead, int64(s.Dead), with)
		}
		return nil
	}, entries, seconds, delivered, failures, dead)
	if err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	x.unhook = registration.Unregister
	return nil
}
