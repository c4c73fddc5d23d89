package okta

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// budget keeps this client within its share of each rate limit. Okta says, with each answer, how large the limit of the endpoint's family is,
// how much of it is left for everybody, and when it is refilled.
type budget struct {
	share float64
	clock func() time.Time

	mu       sync.Mutex // covers families
	families map[string]*window
}

// window is one family's limit, as last heard.
type window struct {
	limit     int       // requests in a window; 0 until Okta has said
	remaining int       // of everybody's
	reset     time.Time // when the window ends, by our clock
	used      int       // ours in this window
}

func newBudget(share float64, clock func() time.Time) *budget {
	return &budget{share: share, clock: clock, families: map[string]*window{}}
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

// wait says how long to wait before a request of the family may be sent, and counts it as sent if that is no time.
func (b *budget) wait(name string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.families[name]
	if w == nil {
		w = &window{}
		b.families[name] = w
	}
	now := b.clock()
	if w.limit > 0 && !now.Before(w.reset) {
		*w = window{limit: w.limit, remaining: w.limit, reset: now.Add(time.Minute)} // refilled; the next answer says it exactly
	}
	if w.limit > 0 && (w.used >= max(1, int(float64(w.limit)*b.share)) || w.remaining <= 0) {
		return w.reset.Sub(now)
	}
	w.used++
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
	reset, ok := resetAt(h, b.clock())
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.families[name]
	if w == nil {
		w = &window{}
		b.families[name] = w
	}
	if reset.After(w.reset.Add(5 * time.Second)) { // another window: what we used belongs to the last one
		w.used = min(w.used, 1)
		w.remaining = remaining
	} else {
		w.remaining = min(w.remaining, remaining) // answers may arrive out of order
	}
	if w.limit == 0 {
		w.remaining = remaining
	}
	w.limit, w.reset = limit, reset
}

// resetAt is when the window ends, by our clock: X-Rate-Limit-Reset minus Date, plus the second that both are rounded by.
func resetAt(h http.Header, now time.Time) (time.Time, bool) {
	seconds, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		return time.Time{}, false
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
