package devorg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// hookTypes are the event types that a hook can carry, as far as this org has them.
var hookTypes = []string{
	"group.user_membership.add", "group.user_membership.remove", "user.authentication.universal_logout",
	"user.lifecycle.activate", "user.lifecycle.create", "user.lifecycle.deactivate", "user.lifecycle.delete.initiated", "user.lifecycle.reactivate",
	"user.account.reset_password", "user.account.update_password",
	"user.lifecycle.suspend", "user.lifecycle.unsuspend", "user.session.clear", "user.session.end", "user.session.start",
}

const (
	hookTimeout  = 3 * time.Second // Okta's
	hooksAtOnce  = 8
	hookAttempts = 2 // Okta tries once more after 5xx or no answer
)

// queueDeliveries queues an event for every hook that wants it, in the transaction of what it tells of.
func queueDeliveries(tx *store.Tx, kind string, event []byte) error {
	if !slices.Contains(hookTypes, kind) {
		return nil
	}
	hooks, err := tx.EventHooks()
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if h.Status != store.Active || h.Verification != store.Verified || !slices.Contains(h.Types, kind) {
			continue
		}
		if err := tx.AddDelivery(h.ID, event); err != nil {
			return err
		}
	}
	return nil
}

// deliverer sends queued events: at least once, in no order, as Okta does.
type deliverer struct {
	o      *Org
	client *http.Client
	news   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startDeliverer(o *Org) *deliverer {
	d := &deliverer{o: o, news: make(chan struct{}, 1), client: &http.Client{Timeout: hookTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.done.Go(func() { d.run(ctx) })
	d.wake() // what was queued when the org was stopped
	return d
}

// wake tells of queued events. The org has no deliverer while it is planted.
func (d *deliverer) wake() {
	if d == nil {
		return
	}
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *deliverer) stop() {
	d.cancel()
	d.done.Wait()
	d.client.CloseIdleConnections()
}

func (d *deliverer) run(ctx context.Context) {
	slots := make(chan struct{}, hooksAtOnce)
	var under sync.WaitGroup
	defer under.Wait()
	sent := int64(0) // what is under way is in the queue still
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.news:
		}
		for {
			var queue []store.Delivery
			if err := d.o.view(ctx, func(tx *store.Tx) (err error) { queue, err = tx.Deliveries(sent, 100); return err }); err != nil {
				if ctx.Err() == nil {
					d.o.log.ErrorContext(ctx, "the queue of event hooks could not be read", "error", err)
				}
				break
			}
			if len(queue) == 0 {
				break
			}
			sent = queue[len(queue)-1].ID
			f := d.o.faults.way("hooks", d.o.now())
			if f.Reorder {
				rand.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
			}
			for _, q := range queue {
				select {
				case <-ctx.Done():
					return
				case slots <- struct{}{}:
				}
				under.Go(func() {
					defer func() { <-slots }()
					d.deliver(ctx, q, f)
				})
			}
		}
	}
}

// deliver sends one event and takes it off the queue, whether it arrived or was given up.
func (d *deliverer) deliver(ctx context.Context, q store.Delivery, f fault) {
	var h store.EventHook
	err := d.o.view(ctx, func(tx *store.Tx) (err error) { h, err = tx.EventHook(q.Hook); return err })
	if err == nil && h.Status == store.Active && !f.Drop {
		wait := time.Duration(f.SlowMillis) * time.Millisecond
		if f.Reorder {
			wait += rand.N(300 * time.Millisecond)
		}
		if !rest(ctx, wait) {
			return
		}
		copies := 1
		if f.Duplicate {
			copies += 1 + rand.IntN(2)
		}
		if f.Malformed {
			_, _ = d.post(ctx, h, q.Event[:len(q.Event)/2]) // refused, or it is the receiver's fault
		}
		for range copies {
			d.attempts(ctx, h, q.Event)
		}
	}
	if ctx.Err() != nil {
		return // it is in the queue when the org is back
	}
	err = d.o.store.Update(ctx, func(tx *store.Tx) error { return tx.DeleteDelivery(q.ID) })
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
		d.o.log.ErrorContext(ctx, "a delivery could not be taken off the queue", "error", err)
	}
}

// rest waits; false when ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (d *deliverer) attempts(ctx context.Context, h store.EventHook, event []byte) {
	body, err := json.Marshal(map[string]any{
		"eventType": "com.okta.event_hook", "eventTypeVersion": "1.0", "cloudEventsVersion": "0.1", "source": d.o.base.String() + "/api/v1/eventHooks/" + h.ID,
		"eventId": newUUID(), "data": map[string]any{"events": []json.RawMessage{event}}, "eventTime": stamp(d.o.now()), "contentType": "application/json",
	})
	if err != nil {
		return
	}
	for attempt := 1; attempt <= hookAttempts && ctx.Err() == nil; attempt++ {
		status, err := d.post(ctx, h, body)
		if err == nil && status < 500 {
			if status/100 != 2 {
				d.o.log.WarnContext(ctx, "an event hook was refused", "hook", h.ID, "status", status)
			}
			return
		}
		d.o.log.WarnContext(ctx, "an event hook was not taken", "hook", h.ID, "attempt", attempt, "status", status, "error", err)
	}
}

func (d *deliverer) post(ctx context.Context, h store.EventHook, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URI, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Okta-Integrations")
	if h.AuthKey != "" {
		req.Header.Set(h.AuthKey, h.AuthValue)
	}
	res, err := d.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, err
}

// verifyHook asks the address to say the challenge back.
func (d *deliverer) verifyHook(ctx context.Context, h store.EventHook) error {
	challenge := newSecret()
	failed := func(why string) error {
		return invalid("verification", "The event hook could not be verified: "+why)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URI, nil)
	if err != nil {
		return failed("the address is not valid")
	}
	req.Header.Set("X-Okta-Verification-Challenge", challenge)
	if h.AuthKey != "" {
		req.Header.Set(h.AuthKey, h.AuthValue)
	}
	res, err := d.client.Do(req)
	if err != nil {
		return failed("nobody answers there within 3 seconds")
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var answer struct {
		Verification string `json:"verification"`
	}
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(raw, &answer) != nil || answer.Verification != challenge {
		return failed("the answer does not hold the challenge")
	}
	return nil
}

// checkHookURI takes https, and http on loopback, where Okta takes https alone.
func checkHookURI(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(strings.Trim(u.Hostname(), "[]")))
}
