package okta

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// budget keeps this client within its share of each rate limit. Okta says, with each answer, how large the limit of the endpoint's family is,
// how much of it is left for everybody, and when it is refilled.
type budget struct {
	clock func() time.Time

	mu       sync.Mutex // covers families
	families map[string]*window
}

// window is one family's limit, as last heard.
type window struct {
	limit     int       // requests in a window; 0 until Okta has said
	remaining int       // of everybody's
	reset     time.Time // when the window ends, by our clock
	epoch     int64     // the same by Okta's clock, in its own words: names the window
	refilled  bool      // the window that epoch names is over, and no answer has named the one that is counted
	used      int       // ours in this window
	sent      int       // ours since the client was made
	most      int       // of ours in one window
}

// Usage is what this program used of one rate limit.
type Usage struct {
	Family    string    `json:"family"`    // the first segment of a path below /api/v1, or "oauth2"
	Limit     int       `json:"limit"`     // requests in a window; 0 until Okta has said
	Remaining int       `json:"remaining"` // of everybody's, as last heard
	Used      int       `json:"used"`      // ours in this window
	Most      int       `json:"most"`      // the most that was ours in one window
	Sent      int       `json:"sent"`      // ours since the start
	Reset     time.Time `json:"reset,omitzero"`
}

func newBudget(clock func() time.Time) *budget {
	return &budget{clock: clock, families: map[string]*window{}}
}

// usage lists the families by name.
func (b *budget) usage() []Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Usage, 0, len(b.families))
	for name, w := range b.families {
		out = append(out, Usage{name, w.limit, w.remaining, w.used, w.most, w.sent, w.reset})
	}
	slices.SortFunc(out, func(a, b Usage) int { return strings.Compare(a.Family, b.Family) })
	return out
}

// family is what Okta limits together: about the first segment of a path below /api/v1, and the token endpoint.
func family(path string) string {
	rest, found := strings.CutPrefix(path, "/api/v1/")
	if !found {
		return "oauth2"
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// spare is the part of a limit that is left to others when they have used up the rest: one in so many.
const spare = 20

// wait says how long to wait before a request of the family may be sent by who may use share of the limit, and counts it as sent if that is no
// time. The count is everybody's of this program: whoever has the smaller share stands back for the others.
func (b *budget) wait(name string, share float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.families[name]
	if w == nil {
		w = &window{}
		b.families[name] = w
	}
	now := b.clock()
	if w.limit > 0 && !now.Before(w.reset) {
		w.remaining, w.reset, w.used, w.refilled = w.limit, now.Add(time.Minute), 0, true // refilled; the next answer says it exactly
	}
	if w.limit > 0 && (w.used >= max(1, int(float64(w.limit)*share)) || w.remaining <= w.limit/spare) {
		return w.reset.Sub(now)
	}
	w.used++
	w.sent++
	w.most = max(w.most, w.used)
	w.remaining--
	return 0
}

// heard takes in what an answer says of the limit. Reset is in the server's time, so its Date header tells how far away it is.
func (b *budget) heard(name string, h http.Header) {
	limit, err := strconv.Atoi(h.Get("X-Rate-Limit-Limit"))
	if err != nil || limit <= 0 {
		return
	}
	remaining, err := strconv.Atoi(h.Get("X-Rate-Limit-Remaining"))
	if err != nil {
		return
	}
	epoch, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	reset, ok := resetAt(h, b.clock())
	if !ok || err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.families[name]
	if w == nil {
		w = &window{}
		b.families[name] = w
	}
	switch {
	case epoch < w.epoch || epoch == w.epoch && w.refilled:
		return // an answer that comes late, of a window that is over
	case epoch == w.epoch:
		w.remaining = min(w.remaining, remaining) // answers may arrive out of order
	case w.refilled: // this names the window that was counted since
		w.remaining = min(w.remaining, remaining)
	default: // another window: of ours in it are at most as many as were used by everybody
		w.remaining, w.used = remaining, min(w.used, max(limit-remaining, 0))
	}
	w.limit, w.reset, w.epoch, w.refilled = limit, reset, epoch, false
}

// resetAt is when the window ends, by our clock: X-Rate-Limit-Reset minus Date, plus the second that both are rounded by. Where a proxy says
// Retry-After alone (RFC 9110 section 10.2.3), it is that.
func resetAt(h http.Header, now time.Time) (time.Time, bool) {
	seconds, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		after, err := strconv.Atoi(h.Get("Retry-After"))
		if err != nil || after < 0 {
			return time.Time{}, false
		}
		return now.Add(min(time.Duration(min(after, 3600))*time.Second, 5*time.Minute)), true
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = now
	}
	left := min(max(time.Unix(seconds, 0).Sub(date)+time.Second, 0), 5*time.Minute)
	return now.Add(left), true
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
