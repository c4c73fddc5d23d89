package ssf

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// stream is a transmitter's outbox that is polled.
type stream struct {
	outbox map[string]string // by jti
	asked  int
	fails  int // askings that fail, first
	said   []Said
	each   func(asked int) // before an asking is answered
}

func (s *stream) Poll(_ context.Context, said Said, most int) (map[string]string, bool, error) {
	s.asked++
	if s.each != nil {
		s.each(s.asked)
	}
	if s.asked <= s.fails {
		return nil, false, errors.New("down on purpose")
	}
	s.said = append(s.said, said)
	for _, jti := range append(slices.Collect(maps.Keys(said.Refused)), said.Taken...) {
		delete(s.outbox, jti)
	}
	out := map[string]string{}
	for jti, raw := range s.outbox {
		if len(out) < most {
			out[jti] = raw
		}
	}
	return out, len(out) < len(s.outbox), nil
}

// poll polls until sleeping says that it is enough, and returns the pauses.
func (o *org) poll(s *stream, enough func(pauses []time.Duration) bool) (pauses []time.Duration) {
	o.t.Helper()
	err := o.r.Poll(o.t.Context(), PollConfig{Transmission: s, Audience: audience, Most: 2, First: time.Second, Top: 3 * time.Second, Sleep: func(_ context.Context, d time.Duration) error {
		if pauses = append(pauses, d); enough(pauses) {
			return context.Canceled
		}
		return nil
	}})
	if err != nil {
		o.t.Fatal(err)
	}
	return pauses
}

// What is polled is verified as what is pushed; what was kept is acknowledged, what is wrong is refused, and neither comes again.
func TestPoll(t *testing.T) {
	o := newOrg(t)
	revoked := func(jti string) string {
		return o.token(caep+"session-revoked", object{"subject": o.alice()}, "jti", jti)
	}
	s := &stream{outbox: map[string]string{
		"a": revoked("a"), "b": revoked("b"), "c": revoked("c"), "other audience": o.token(caep+"session-revoked", object{"subject": o.alice()}, "aud", "https://else.example"),
		"no token": "x.y.z", "long": strings.Repeat("x", maxToken+1), "verification": o.token(verification, object{"state": "hello"}, "jti", "v"),
	}}
	if pauses := o.poll(s, func([]time.Duration) bool { return true }); len(pauses) != 1 || pauses[0] != time.Second { // one that does not wait is not asked all the time
		t.Errorf("pauses %v", pauses)
	}
	taken, refused := []string{}, map[string]string{}
	for _, said := range s.said {
		taken = append(taken, said.Taken...)
		for jti, why := range said.Refused {
			refused[jti] = why.Code
			if why.Text == "" {
				t.Errorf("%s is refused without a word", jti)
			}
		}
	}
	slices.Sort(taken)
	if want := map[string]string{"other audience": "invalid_audience", "no token": "invalid_request", "long": "invalid_request"}; !slices.Equal(taken, []string{"a", "b", "c", "verification"}) || !maps.Equal(refused, want) {
		t.Errorf("taken %v, refused %v", taken, refused)
	}
	if len(o.signals) != 3 || len(s.outbox) != 0 {
		t.Errorf("signals %v, left %v", o.signals, s.outbox)
	}
	for _, signal := range o.signals {
		if signal.Kind != revocation.Cleared || signal.UID != "00ualice" {
			t.Errorf("%+v", signal)
		}
	}
	if st := o.r.Status(); st.Taken != 4 || st.State != "hello" || st.Refused != 3 {
		t.Errorf("%+v", st)
	}
}

// What can't be kept now is not acknowledged, and a transmitter that fails is asked again with longer pauses.
func TestPollGoesOn(t *testing.T) {
	o := newOrg(t)
	o.set(func() { o.full = true })
	s := &stream{fails: 3, outbox: map[string]string{"a": o.token(caep+"session-revoked", object{"subject": o.alice()}, "jti", "a")}}
	s.each = func(asked int) {
		if asked == 5 {
			o.set(func() { o.full = false })
		}
	}
	pauses := o.poll(s, func(p []time.Duration) bool { return len(p) == 5 })
	if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second, time.Second}; !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	// Down three times; then it can't be kept; then it is, and acknowledged with the next asking.
	if len(s.said) != 3 || len(s.said[1].Taken) != 0 || !slices.Equal(s.said[2].Taken, []string{"a"}) || len(o.signals) != 1 {
		t.Errorf("said %+v, signals %v", s.said, o.signals)
	}
	if err := o.r.Poll(t.Context(), PollConfig{Transmission: s}); err == nil {
		t.Error("without an audience everybody's tokens would be taken")
	}
}
