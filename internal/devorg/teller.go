package devorg

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// teller tells receivers of signed tokens what is in the System Log: Shared Signals streams, and the endpoint of Universal Logout. How far each was
// told is kept, so that nothing is lost when the org or a receiver is down: at least once, and not for ever in order.
type teller struct {
	o      *Org
	client *http.Client
	ways   []way
	cancel context.CancelFunc
	ending <-chan struct{} // closed when it stops
	done   sync.WaitGroup
	bell   bell // rings when something was written
}

// way is one of the two, on its own.
type way struct {
	news chan struct{}
	tell func(ctx context.Context) error // all that is to be told; an error: somebody could not be reached
}

func startTeller(o *Org) *teller {
	t := &teller{o: o, client: &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel, t.ending = cancel, ctx.Done()
	for _, tell := range []func(context.Context) error{t.tellStreams, t.tellLogout} {
		w := way{make(chan struct{}, 1), tell}
		t.ways = append(t.ways, w)
		t.done.Go(func() { t.run(ctx, w) })
	}
	t.wake()
	return t
}

// wake says that something was written. The org has no teller while it is planted.
func (t *teller) wake() {
	if t == nil {
		return
	}
	t.bell.ring()
	for _, w := range t.ways {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
}

func (t *teller) stop() {
	t.cancel()
	t.done.Wait()
	t.client.CloseIdleConnections()
}

func (t *teller) run(ctx context.Context, w way) {
	const first, most = 200 * time.Millisecond, 5 * time.Second
	pause := first
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		}
		for {
			err := w.tell(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				pause = first
				break
			}
			t.o.log.WarnContext(ctx, "a receiver of signed tokens could not be told", "error", err)
			if !rest(ctx, pause) {
				return
			}
			pause = min(2*pause, most)
		}
	}
}

// told is the events after a place of the System Log that mean something, and where they end.
func told(ctx context.Context, o *Org, after int64, means func(logEvent) bool) (events []logEvent, end int64, err error) {
	end = after
	err = o.view(ctx, func(tx *store.Tx) error {
		rows, err := tx.Logs(store.LogQuery{After: after, Limit: 100})
		for _, r := range rows {
			end = r.Seq
			var e logEvent
			if json.Unmarshal(r.Event, &e) == nil && e.Outcome.Result == "SUCCESS" && means(e) {
				events = append(events, e)
			}
		}
		return err
	})
	return events, end, err
}

// user is whom an event is about.
func (e *logEvent) user() (p logParty, ok bool) {
	for _, t := range e.Target {
		if t.Type == "User" {
			return t, true
		}
	}
	return e.Actor, e.Actor.Type == "User"
}

// deliver tells of events, with the faults that are asked for, and says whether all were taken or refused for good.
func (t *teller) deliver(ctx context.Context, f fault, events []logEvent, send func(ctx context.Context, e logEvent, cut bool) error) error {
	if f.Drop {
		return nil
	}
	if f.Reorder {
		rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	for _, e := range events {
		wait := time.Duration(f.SlowMillis) * time.Millisecond
		if f.Reorder {
			wait += rand.N(300 * time.Millisecond)
		}
		if !rest(ctx, wait) {
			return ctx.Err()
		}
		if f.Malformed {
			_ = send(ctx, e, true) // refused, or it is the receiver's fault
		}
		copies := 1
		if f.Duplicate {
			copies += 1 + rand.IntN(2)
		}
		for range copies {
			if err := send(ctx, e, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// post sends a body. Refusals are final; an error means that it is worth another try.
func (t *teller) post(ctx context.Context, to, kind, authorization, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "Okta-Integrations")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	switch {
	case err != nil:
		return err
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests:
		return errors.New("the receiver answers " + res.Status)
	case res.StatusCode/100 != 2:
		t.o.log.WarnContext(ctx, "a receiver refused a signed token", "status", res.StatusCode, "said", printable(string(said)))
	}
	return nil
}

// signing is the org's published key in force, as it was rotated last.
func (o *Org) signing(ctx context.Context) (key signer, err error) {
	err = o.store.Update(ctx, func(tx *store.Tx) error {
		row, err := o.ensureKey(tx, o.now(), orgPublished, store.Active)
		if err != nil {
			return err
		}
		k, err := o.parseKey(row)
		key = signer{row.KID, k}
		return err
	})
	return key, err
}
