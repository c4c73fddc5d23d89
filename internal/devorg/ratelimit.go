package devorg

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// limiter counts requests per endpoint family in fixed windows of one minute, as Okta does.
type limiter struct {
	limits map[string]int

	mu      sync.Mutex // guards windows
	windows map[string]*window
}

type window struct {
	reset time.Time // when the window ends
	used  int
}

func newLimiter(limits map[string]int) *limiter {
	return &limiter{limits: limits, windows: map[string]*window{}}
}

// take counts one request, sets the X-Rate-Limit-* headers and says whether the request may go on.
func (l *limiter) take(h http.Header, family string, now time.Time) bool {
	limit, ok := l.limits[family]
	if !ok {
		limit = DefaultRateLimit
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[family]
	// A window further ahead than a minute means that the clock was set back: start anew rather than refuse for long.
	if w == nil || !now.Before(w.reset) || w.reset.Sub(now) > time.Minute {
		w = &window{reset: now.Truncate(time.Second).Add(time.Minute)}
		l.windows[family] = w
	}
	allowed := w.used < limit
	if allowed {
		w.used++
	}
	h.Set("X-Rate-Limit-Limit", strconv.Itoa(limit))
	h.Set("X-Rate-Limit-Remaining", strconv.Itoa(limit-w.used))
	h.Set("X-Rate-Limit-Reset", strconv.FormatInt(w.reset.Unix(), 10))
	return allowed
}
