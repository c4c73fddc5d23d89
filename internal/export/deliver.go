package export

import (
	"context"
	"errors"
	"fmt"
)

// allRefused is how many single messages, and no other, a receiver may refuse before it counts as one that refuses everything: then its
// operator has something to mend, and nothing becomes a dead letter for it.
const allRefused = 16

// deliver sends messages until all are taken or refused one by one. It tries for ever; only the end of ctx makes it give up.
func (p *pump) deliver(ctx context.Context, messages []Message) (dead []DeadLetter, err error) {
	pause := firstPause
	for {
		tally := &tally{}
		err := p.divide(ctx, messages, tally)
		if err == nil {
			return tally.dead, nil
		}
		if ctx.Err() != nil {
			p.rewind()
			return nil, fmt.Errorf("stopped while sending: %w", context.Cause(ctx))
		}
		most := longPause
		if errors.Is(err, errHold) {
			most = holdPause
		}
		pace := jitter(pause)
		if l, ok := errors.AsType[*later](err); ok && l.after > pace {
			pace = min(l.after, holdPause*12)
		}
		p.status.failed(err)
		p.logger.WarnContext(ctx, "a batch was not taken; sending it again", "sink", p.cfg.Name, "first", messages[0].Index, "entries", len(messages), "after", pace, "error", err)
		wait(ctx, pace)
		pause = min(2*pause, most)
		// What is refused for good stays so; the rest is sent again.
		messages = tally.rest(messages)
		dead = append(dead, tally.dead...)
		if len(messages) == 0 {
			return dead, nil
		}
		if len(dead) > 0 {
			more, err := p.deliver(ctx, messages)
			return append(dead, more...), err
		}
	}
}

// tally is what became of a batch so far.
type tally struct {
	taken map[uint64]bool // by index
	dead  []DeadLetter
}

func (t *tally) took(messages []Message) {
	if t.taken == nil {
		t.taken = map[uint64]bool{}
	}
	for i := range messages {
		t.taken[messages[i].Index] = true
	}
}

// rest returns the messages that are neither taken nor refused.
func (t *tally) rest(messages []Message) []Message {
	if len(t.taken) == 0 && len(t.dead) == 0 {
		return messages
	}
	for _, d := range t.dead {
		t.taken[d.Index] = true
	}
	var rest []Message
	for i := range messages {
		if !t.taken[messages[i].Index] {
			rest = append(rest, messages[i])
		}
	}
	return rest
}

// divide sends a batch, and halves of it when it is refused as a whole, until the messages at fault are alone.
func (p *pump) divide(ctx context.Context, messages []Message, t *tally) error {
	err := p.sink.Send(ctx, messages)
	if err == nil {
		t.took(messages)
		return nil
	}
	if r, ok := errors.AsType[*Refused](err); ok {
		t.took(messages)
		for _, i := range r.Which {
			t.dead = append(t.dead, *p.letter(messages[i].Index, messages[i].ID, r.Code, r.Text))
		}
		return nil
	}
	r, ok := errors.AsType[*batchRefused](err)
	if !ok {
		return err
	}
	if len(messages) == 1 {
		t.dead = append(t.dead, *p.letter(messages[0].Index, messages[0].ID, r.Code, r.Text))
		if len(t.dead) >= allRefused && len(t.taken) == 0 {
			n := len(t.dead)
			t.dead = nil
			return fmt.Errorf("the receiver refused %d of %d messages sent one by one (%s: %s): it seems to refuse everything: %w", n, n, r.Code, r.Text, errHold)
		}
		if t.taken == nil {
			t.taken = map[uint64]bool{}
		}
		return nil
	}
	half := len(messages) / 2
	if err := p.divide(ctx, messages[:half], t); err != nil {
		return err
	}
	return p.divide(ctx, messages[half:], t)
}
