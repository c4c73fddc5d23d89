package devorg

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// pollMethod is delivery to receivers that ask (RFC 8936), which may be where nobody can call them. Okta's streams only push.
const pollMethod = "urn:ietf:rfc:8936"

const (
	pollPath = "/api/v1/ssf/poll"
	pollHold = 20 * time.Second // how long an asking waits for something to tell
	pollMost = 100              // tokens in one answer
	maxAcks  = 1000             // in one asking
)

// pollAsk is what a receiver asks (RFC 8936 section 2.2).
type pollAsk struct {
	Most *int     `json:"maxEvents"`
	Now  bool     `json:"returnImmediately"`
	Ack  []string `json:"ack"` // jti of tokens that were taken
	Errs map[string]struct {
		Code string `json:"err"`
		Text string `json:"description"`
	} `json:"setErrs"` // jti of tokens that were refused, and why
}

// pollAnswer is section 2.3.
type pollAnswer struct {
	Sets map[string]string `json:"sets"` // by jti
	More bool              `json:"moreAvailable,omitempty"`
}

// pollStream serves POST /api/v1/ssf/poll. What was acknowledged, or refused, is not told again; all else is, until it was. Sections 2.4 and 2.5.
func (o *Org) pollStream(c *call) error {
	var in pollAsk
	if err := c.body(&in); err != nil {
		return err
	}
	most := pollMost
	if in.Most != nil {
		if most = min(*in.Most, pollMost); most < 0 {
			return invalid("maxEvents", "maxEvents: it can't be negative")
		}
	}
	if len(in.Ack)+len(in.Errs) > maxAcks {
		return invalid("ack", "ack, setErrs: more than "+strconv.Itoa(maxAcks)+" tokens")
	}
	done := slices.Clone(in.Ack)
	for jti, e := range in.Errs {
		o.log.WarnContext(c.r.Context(), "a receiver refused a signed token", "jti", printable(jti), "code", printable(e.Code), "said", printable(e.Text))
		done = append(done, jti)
	}
	if err := o.acknowledge(c, done); err != nil {
		return err
	}
	held := time.NewTimer(pollHold)
	defer held.Stop()
	for {
		rung := o.teller.bell.heard() // before looking, so that nothing is missed
		out, err := o.outstanding(c, most)
		if err != nil {
			return err
		}
		if len(out.Sets) > 0 || in.Now || most == 0 {
			c.json(http.StatusOK, out)
			return nil
		}
		select {
		case <-c.r.Context().Done():
			return c.r.Context().Err()
		case <-o.teller.ending:
			c.json(http.StatusOK, out)
			return nil
		case <-held.C:
			c.json(http.StatusOK, out)
			return nil
		case <-rung:
		}
	}
}

// polled finds the caller's stream, which must be one that is polled.
func polled(tx *store.Tx, c *call) (all []stream, i int, err error) {
	all, i, err = own(tx, c)
	if err == nil && (i < 0 || all[i].Method != pollMethod) {
		err = noStream(c)
	}
	return all, i, err
}

// acknowledge notes what needs telling no more.
func (o *Org) acknowledge(c *call, jtis []string) error {
	check := o.view // a stream that does not exist is told in any case
	if len(jtis) > 0 {
		check = o.update
	}
	return check(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := polled(tx, c)
		if err != nil || len(jtis) == 0 {
			return err
		}
		s := &all[i]
		s.Acked = append(s.Acked, jtis...)
		if err := s.advance(tx); err != nil {
			return err
		}
		return setMetaJSON(tx, metaStreams, all)
	})
}

// outstanding is what is to be told, oldest first.
func (o *Org) outstanding(c *call, most int) (out pollAnswer, err error) {
	out.Sets = map[string]string{}
	var s stream
	var events []logEvent
	if err := o.view(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := polled(tx, c)
		if err != nil {
			return err
		}
		s = all[i]
		return s.each(tx, func(e logEvent, _ int64, acked bool) bool {
			if !acked {
				events = append(events, e)
			}
			return len(events) <= most
		})
	}); err != nil || o.faults.way("ssf", o.now()).Drop {
		return out, err
	}
	add := func(jti string, claims map[string]any) error {
		if len(out.Sets) >= most {
			out.More = true
			return nil
		}
		token, err := o.teller.signed(c.r.Context(), claims)
		out.Sets[jti] = token
		return err
	}
	for n, state := range s.Verify {
		if jti := s.verifyID(n); !slices.Contains(s.Acked, jti) {
			if err := add(jti, o.teller.verification(s, jti, state)); err != nil {
				return out, err
			}
		}
	}
	for _, e := range events {
		if err := add(s.tokenID(e), o.teller.setFor(s, e)); err != nil {
			return out, err
		}
	}
	return out, nil
}

// each hands over what happened after the place up to which everything is told, in order, until f says that it is enough.
func (s *stream) each(tx *store.Tx, f func(e logEvent, at int64, acked bool) bool) error {
	for at := s.Sent; ; {
		rows, err := tx.Logs(store.LogQuery{After: at, Limit: 100})
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			at = r.Seq
			var e logEvent
			if json.Unmarshal(r.Event, &e) == nil && e.Outcome.Result == "SUCCESS" && slices.Contains(s.Requested, setOf(e.Type)) && !f(e, at, slices.Contains(s.Acked, s.tokenID(e))) {
				return nil
			}
		}
	}
}

// advance moves the place up to which everything is told, and forgets acknowledgements of what lies before it, or of nothing.
func (s *stream) advance(tx *store.Tx) error {
	var kept []string
	for len(s.Verify) > 0 && slices.Contains(s.Acked, s.verifyID(0)) {
		s.Verify, s.Verified = s.Verify[1:], s.Verified+1
	}
	for n := range s.Verify {
		if jti := s.verifyID(n); slices.Contains(s.Acked, jti) {
			kept = append(kept, jti)
		}
	}
	whole, to := true, s.Sent
	err := s.each(tx, func(e logEvent, at int64, acked bool) bool {
		whole = whole && acked
		switch {
		case whole:
			to = at
		case acked:
			kept = append(kept, s.tokenID(e))
		}
		return true
	})
	s.Sent, s.Acked = to, kept
	return err
}

// tokenID is the jti of an event's token, the same however often it is sent.
func (s *stream) tokenID(e logEvent) string { return digest(s.ID + e.UUID)[:32] }

// verifyID is that of the nth verification event which is outstanding.
func (s *stream) verifyID(n int) string {
	return digest(s.ID + "verification" + strconv.FormatInt(s.Verified+int64(n), 10))[:32]
}

// signed is a security event token.
func (t *teller) signed(ctx context.Context, claims map[string]any) (string, error) {
	if _, dated := claims["events"].(map[string]any)[setVerify]; !dated {
		delete(claims, "toe") // Okta dates the event itself, to the millisecond
	}
	key, err := t.o.signing(ctx)
	if err != nil {
		return "", err
	}
	return signTyped(key.key, key.kid, "secevent+jwt", claims)
}

// bell wakes all who wait for news.
type bell struct {
	mu sync.Mutex // covers ch
	ch chan struct{}
}

// heard is closed when the bell rings next.
func (b *bell) heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
