package standing

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// round asks once and acts on the answer.
func (f *Follower) round(ctx context.Context) error {
	now := f.cfg.Clock()
	age := now.Sub(f.copied)
	if f.staged == nil && (f.feed == "" || f.cache.size == 0 && (age > copyAgain || age < 0) || f.cache.full() || age > refreshAfter) {
		f.staged = &staged{}
	}
	after := f.seq
	if f.staged != nil {
		after = f.staged.seq
	}
	m, raw, err := f.ask(ctx, after)
	if err == nil {
		err = f.take(m, raw, after)
	}
	if err != nil && f.staged != nil {
		f.staged = &staged{} // from the beginning: a copy in parts that don't fit is no copy
	}
	return err
}

// ask fetches and verifies one message.
func (f *Follower) ask(ctx context.Context, after uint64) (Message, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Wait+answerSlack)
	defer cancel()
	token, err := f.cfg.Token()
	if err != nil {
		return Message{}, nil, fmt.Errorf("reading the feed's token: %w", err)
	}
	nonce := rand.Text()
	wait := f.cfg.Wait
	if f.staged != nil {
		wait = 0 // a copy is wanted as it is now, also where it is of an empty feed
	}
	q := url.Values{"after": {strconv.FormatUint(after, 10)}, "seen": {strconv.FormatUint(f.seq, 10)}, "wait": {wait.String()}, "gate": {f.cfg.Gate}, "nonce": {nonce}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.cfg.URL+"?"+q.Encode(), nil)
	if err != nil {
		return Message{}, nil, fmt.Errorf("asking the feed: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := f.cfg.HTTPClient.Do(req)
	if err != nil {
		return Message{}, nil, fmt.Errorf("asking the feed: %w", unquoted(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Message{}, nil, fmt.Errorf("asking the feed: %s answered %s", f.cfg.URL, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, MaxMessage+1))
	if err != nil {
		return Message{}, nil, fmt.Errorf("reading the feed's answer: %w", err)
	}
	m, err := OpenMessage(raw, f.cfg.Keys)
	if err != nil {
		return Message{}, nil, fmt.Errorf("reading the feed's answer: %w", err)
	}
	if m.Nonce != nonce || m.After != after {
		return Message{}, nil, refuse(MessageReplayed, "the feed's answer is to another question")
	}
	return m, raw, nil
}

// unquoted takes the URL, with its query, out of a client's error: it would be a new text each time.
func unquoted(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// take acts on a message that answers what was asked.
func (f *Follower) take(m Message, raw []byte, after uint64) error {
	if f.feed != "" && m.Feed != f.feed {
		return refuse(MessageOtherFeed, "the control plane has the feed %q, this gate has followed %q: if it was made anew on purpose, stop this gate, remove %s and start it", clip(m.Feed), f.feed, f.cfg.Cache)
	}
	if m.Head < f.seq {
		return refuse(MessageRolledBack, "the control plane's feed ends at %d, this gate has seen %d: it was restored from an older copy. If that is meant, stop this gate, remove %s and start it", m.Head, f.seq, f.cfg.Cache)
	}
	if f.staged != nil {
		return f.stage(m, raw)
	}
	if m.Reset {
		f.staged = &staged{}
		return nil
	}
	if f.link != "" && m.AfterLink != f.link {
		return forked(after, f.cfg.Cache)
	}
	now := f.cfg.Clock()
	if len(m.Events) > 0 {
		if f.cache.size > 0 {
			f.kept(f.cache.append(raw, now))
		}
		f.noted = now
		if err := f.cfg.State.ApplyAll(m.Events); err != nil {
			return err
		}
	}
	f.at(m, now)
	return nil
}

func forked(after uint64, cache string) error {
	return refuse(MessageRolledBack, "the control plane's history up to %d is not the one that this gate has seen: it was restored from an older copy and went on. If that is meant, stop this gate, remove %s and start it", after, cache)
}

// stage collects a full copy, and puts it in force when it is whole.
func (f *Follower) stage(m Message, raw []byte) error {
	s := f.staged
	switch {
	case m.Reset && m.After != 0:
		f.staged = &staged{}
		return errors.New("the feed was pruned while it was read; beginning again")
	case s.feed != "" && (m.Feed != s.feed || s.link != "" && m.AfterLink != s.link):
		return forked(m.After, f.cfg.Cache)
	}
	s.feed, s.seq, s.link = m.Feed, m.Seq, m.Link
	s.raw = append(s.raw, raw)
	s.events = append(s.events, m.Events...)
	if m.More {
		return nil
	}
	now := f.cfg.Clock()
	f.kept(f.cache.replace(s.raw, now))
	if err := f.cfg.State.Replace(s.events, s.seq); err != nil {
		return err
	}
	f.staged, f.copied, f.noted = nil, now, now
	f.at(m, now)
	return nil
}

// at notes the position that is in force.
func (f *Follower) at(m Message, now time.Time) {
	f.feed, f.seq, f.link = m.Feed, m.Seq, m.Link
	if m.More {
		return
	}
	f.cfg.State.hear(now)
	if now.Sub(f.noted) >= noteEvery || now.Before(f.noted) {
		f.noted = now
		if f.cache.size > 0 {
			f.kept(f.cache.hear(now))
		}
	}
}

// kept acts on a cache that could not be written. What is new counts all the same, but the old copy must not be what a restart goes by: without
// any copy it refuses everybody until it has heard the control plane, and forgets no bar.
func (f *Follower) kept(err error) {
	if err == nil {
		f.tell(func(s *FollowStatus) { s.CacheError = "" })
		return
	}
	err = errors.Join(err, f.cache.drop())
	f.cfg.Logger.Error("standings are in force but could not be kept: a restart begins with nothing", "cache", f.cfg.Cache, "error", err)
	f.tell(func(s *FollowStatus) { s.CacheError = err.Error() })
}
