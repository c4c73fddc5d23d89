package export

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// RetryReport is what became of a sink's dead letters.
type RetryReport struct {
	Sink  string `json:"sink"`
	Sent  int    `json:"sent"`
	Dead  int    `json:"dead_letters"`    // refused again
	Gone  int    `json:"gone,omitempty"`  // no longer in the log: retention has removed them
	Error string `json:"error,omitempty"` // why it ended early; what was not sent is still waiting
}

// Retry sends the dead letters of a sink once more, in order, while an exporter may run. What is refused again stays a dead letter, and so
// does everything not tried when the receiver can't be reached.
func Retry(ctx context.Context, cfg Config, name string, opts Options) (report RetryReport, err error) {
	report.Sink = name
	c, ok := cfg.Sink(name)
	if !ok {
		return report, fmt.Errorf("retrying dead letters: there is no sink %q", name)
	}
	st := state(cfg.State)
	sink, release, err := alone(st, c)
	if err != nil {
		return report, fmt.Errorf("retrying dead letters: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	dead, done, err := st.exhume(name)
	if err != nil {
		return report, fmt.Errorf("retrying dead letters: %w", err)
	}
	p := &pump{cfg: c, log: opts.Log, state: st, sink: sink, status: &tracker{}}
	p.at.Log = opts.Log.Origin()
	if c.Personal == "open" {
		p.open = opts.Open
	}
	var again []DeadLetter
	for i, d := range dead {
		took, letter, err := p.retry(ctx, d.Index)
		switch {
		case err != nil:
			again = append(again, dead[i:]...)
			report.Error = clip(err.Error())
		case letter != nil:
			again = append(again, *letter)
		case took:
			report.Sent++
		default:
			report.Gone++
		}
		if err != nil {
			break
		}
	}
	report.Dead = len(again)
	if err := st.bury(name, again); err != nil {
		return report, err
	}
	return report, done()
}

// retry sends one entry.
func (p *pump) retry(ctx context.Context, index uint64) (took bool, dead *DeadLetter, err error) {
	source, err := p.log.Open(index)
	if err != nil {
		return false, nil, err
	}
	defer func() { _ = source.Close() }()
	at, raw, err := source.Next(ctx)
	if err != nil {
		return false, nil, fmt.Errorf("reading entry %d: %w", index, err)
	}
	if raw == nil || at != index {
		return false, nil, nil
	}
	// What an operator changed since, such as what a sink selects, does not matter to a dead letter.
	p.cfg.Only = Selection{}
	m, dead, _ := p.encode(&Event{Log: p.at.Log, Index: index, Raw: raw})
	if dead != nil {
		return false, dead, nil
	}
	t := &tally{}
	if err := p.divide(ctx, []Message{m}, t); err != nil {
		return false, nil, err
	}
	if len(t.dead) > 0 {
		return false, &t.dead[0], nil
	}
	return true, nil, nil
}

// alone opens a sink beside an exporter that may run. A file has one writer only.
func alone(st state, c SinkConfig) (Sink, func() error, error) {
	unlock := func() error { return nil }
	if c.Type == "file" {
		var err error
		if unlock, err = st.lock(c.Name); err != nil {
			return nil, nil, err
		}
	}
	sink, err := open(c)
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return sink, func() error { return errors.Join(sink.Close(), unlock()) }, nil
}

// TestEvent sends one made-up entry to a sink: a refusal, marked as a test, that is in no log. The id returned is the entry's.
func TestEvent(ctx context.Context, cfg Config, name, log string, now time.Time) (id string, err error) {
	c, ok := cfg.Sink(name)
	if !ok {
		return "", fmt.Errorf("sending a test event: there is no sink %q", name)
	}
	sink, release, err := alone(state(cfg.State), c)
	if err != nil {
		return "", fmt.Errorf("sending a test event: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	e := &Event{Log: log, Test: true, Entry: audit.Entry{
		ID: "test-" + hex.EncodeToString(random), Time: now.UTC(), Kind: audit.KindDecision, Gate: "export-test",
		Actor: audit.Party{Login: "nobody@test.invalid"}, Action: "StartWorkflowExecution", Access: string(policy.Operate),
		Resource: policy.Resource{Namespace: "bailiwick-export-test"},
		Decision: &policy.Decision{Code: policy.CodeNoPermission, Reasons: []string{"this is a test event of bailiwick audit export test; it is in no log"}},
		Detail:   map[string]string{"event": "export_test"},
	}}
	if e.Raw, err = e.Entry.Marshal(); err != nil {
		return "", fmt.Errorf("sending a test event: %w", err)
	}
	m, err := c.Format.message(e)
	if err != nil {
		return "", fmt.Errorf("sending a test event: %w", err)
	}
	if err := sink.Send(ctx, []Message{m}); err != nil {
		return "", fmt.Errorf("sending a test event: %w", err)
	}
	return e.Entry.ID, nil
}
