package feed

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// Path is where control planes mount Handler.
const Path = "/v1/standing"

// Query parameters of a request: after (position, required), seen (position that the gate has made durable), wait (a duration, at most 30 s),
// gate (its name, required), nonce (required; comes back signed).
var (
	gateName  = regexp.MustCompile(`^[\pL\pN][\pL\pN ._:@/-]{0,127}$`)
	nonceText = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// Handler answers gates: GET, with a token as Bearer. The answer is a signed standing.Message as application/jose. It comes at once when
// there is anything after the position that the gate names, else when there is, or after the wait that the gate asks for.
func (f *Feed) Handler() http.Handler {
	return f.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			problem(w, http.StatusMethodNotAllowed, "bad_request", "only GET is answered here", "ask with GET")
			return
		}
		q, err := parseQuery(r.URL.RawQuery)
		if err != "" {
			problem(w, http.StatusBadRequest, "bad_request", err, "ask as this control plane's version of the gate does")
			return
		}
		f.answer(w, r, q)
	}))
}

// Guard lets requests through to h that have one of the feed's tokens as Bearer: what gates tell the control plane besides comes with it too.
func (f *Feed) Guard(h http.Handler) http.Handler {
	digests := make([][32]byte, len(f.cfg.Tokens))
	for i, t := range f.cfg.Tokens {
		digests[i] = sha256.Sum256([]byte(t))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if !authorized(r, digests) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			problem(w, http.StatusUnauthorized, "feed_token_invalid", "the feed's token is missing or not the right one", "give the gate the token file of this control plane")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// authorized compares digests, so that neither the token's bytes nor its length show in the time taken.
func authorized(r *http.Request, digests [][32]byte) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return false
	}
	sent := sha256.Sum256([]byte(token))
	good := 0
	for i := range digests {
		good |= subtle.ConstantTimeCompare(sent[:], digests[i][:])
	}
	return good == 1
}

type query struct {
	after, seen uint64
	wait        time.Duration
	gate, nonce string
}

func parseQuery(raw string) (q query, wrong string) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, "the query can't be read"
	}
	for name, v := range values {
		if len(v) != 1 {
			return q, "a parameter is sent twice"
		}
		switch name {
		case "after", "seen":
			n, err := strconv.ParseUint(v[0], 10, 63)
			if err != nil {
				return q, name + " is no position"
			}
			if name == "after" {
				q.after = n
			} else {
				q.seen = n
			}
		case "wait":
			if q.wait, err = time.ParseDuration(v[0]); err != nil || q.wait < 0 {
				return q, "wait is no duration"
			}
			q.wait = min(q.wait, maxWait)
		case "gate":
			if q.gate = v[0]; !gateName.MatchString(q.gate) {
				return q, "gate is no name"
			}
		case "nonce":
			if q.nonce = v[0]; !nonceText.MatchString(q.nonce) {
				return q, "nonce is not 16 to 64 letters and digits"
			}
		default:
			return q, "there is a parameter that is not known"
		}
	}
	if q.gate == "" || q.nonce == "" || !values.Has("after") {
		return q, "after, gate and nonce are all required"
	}
	return q, ""
}

// answer waits for news and sends them.
func (f *Feed) answer(w http.ResponseWriter, r *http.Request, q query) {
	ctx := r.Context()
	// The server's own limits would cut a held request short. Where they can't be lifted, they hold.
	limits, until := http.NewResponseController(w), time.Now().Add(q.wait+30*time.Second)
	_ = errors.Join(limits.SetReadDeadline(until), limits.SetWriteDeadline(until))
	f.note(r, q)
	f.hold(r, q)
	if ctx.Err() != nil {
		return
	}
	p, err := f.store.after(ctx, q.after, pageEvents)
	var raw string
	if err == nil {
		raw, err = standing.SignMessage(f.cfg.Key, f.message(p, q))
	}
	if err != nil {
		f.cfg.Logger.ErrorContext(ctx, "a gate could not be answered", "gate", q.gate, "error", err)
		problem(w, http.StatusServiceUnavailable, "feed_unavailable", "the feed can't be read now", "ask again")
		return
	}
	if p.head < q.after {
		f.cfg.Logger.ErrorContext(ctx, "a gate has seen more than this feed has: the feed was restored from an older copy", "gate", q.gate, "seen", q.after, "head", p.head)
	}
	w.Header().Set("Content-Type", "application/jose")
	_, _ = w.Write([]byte(raw))
}

// hold waits until there is something after the position, but not for one that the feed does not reach.
func (f *Feed) hold(r *http.Request, q query) {
	timer := time.NewTimer(q.wait)
	defer timer.Stop()
	for {
		woken := f.wakes()
		if f.position() != q.after {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-timer.C:
			return
		case <-woken:
		}
	}
}

func (f *Feed) message(p page, q query) standing.Message {
	m := standing.Message{Feed: f.id, At: f.cfg.Clock().UTC().Round(0), Nonce: q.nonce, After: q.after, AfterLink: p.afterLink, Head: p.head}
	if p.lost {
		m.Reset, m.More = true, true
		return m
	}
	m.Reset, m.Seq, m.Link, m.More, m.Events = q.after == 0, p.seq, p.link, p.seq < p.head, p.events
	return m
}

// note keeps how far the gate is: at once when it has moved, else every 10 s at most.
func (f *Feed) note(r *http.Request, q query) {
	now := f.cfg.Clock()
	f.mu.Lock()
	last, known := f.noted[q.gate]
	if fresh := known && last.Seq == q.seen && now.Sub(last.At) < 10*time.Second && !now.Before(last.At); fresh {
		f.mu.Unlock()
		return
	}
	if len(f.noted) > 10_000 { // names are the gates' own; the database keeps them all
		clear(f.noted)
	}
	f.noted[q.gate] = Seen{q.seen, now}
	f.mu.Unlock()
	if err := f.store.saw(r.Context(), q.gate, q.seen, now); err != nil {
		f.cfg.Logger.WarnContext(r.Context(), "how far a gate is could not be noted", "gate", q.gate, "error", err)
		f.mu.Lock()
		delete(f.noted, q.gate) // so that the next request tries again
		f.mu.Unlock()
		return
	}
	if !known || last.Seq != q.seen {
		f.wake()
	}
}

// problem answers as RFC 9457 has it.
func problem(w http.ResponseWriter, status int, code, detail, next string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		Next   string `json:"next"`
	}{"about:blank", http.StatusText(status), status, detail, code, next})
}
