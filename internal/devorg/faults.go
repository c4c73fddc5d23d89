package devorg

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// faults are what goes wrong on request, so that an outage can be tried on a laptop. They are not Okta's, end by themselves, and are forgotten
// when the org is started again.
type faults struct {
	mu   sync.Mutex // covers the rest
	all  []fault
	last int
}

// fault is one of them.
type fault struct {
	ID         int       `json:"id"`
	Target     string    `json:"target"`                // a family of endpoints, "okta" for the whole API, or a way of telling: "hooks", "ssf", "logout"
	Status     int       `json:"status,omitempty"`      // answered instead of the truth: 429 or 5xx
	SlowMillis int       `json:"slow_ms,omitempty"`     // waited before the answer
	Malformed  bool      `json:"malformed,omitempty"`   // answered 200, with JSON that is cut; deliveries: a cut copy comes before each
	Duplicate  bool      `json:"duplicate,omitempty"`   // deliveries: each comes two or three times
	Reorder    bool      `json:"reorder,omitempty"`     // deliveries: in another order, with pauses
	Drop       bool      `json:"drop,omitempty"`        // deliveries: not at all
	Seconds    int       `json:"for_seconds,omitempty"` // how long it goes on; at most a day
	Until      time.Time `json:"until"`
}

// faultTargets are what can go wrong.
var faultTargets = []string{"okta", "users", "groups", "apps", "authorizationServers", "eventHooks", "logs", "token", "oauth2", "keys", "hooks", "ssf", "logout"}

// faultWays are the ways of telling among them, which take other faults.
var faultWays = []string{"hooks", "ssf", "logout"}

func (f *fault) check() error {
	wrong := func(cause string) error { return invalid("fault", cause) }
	forWays, way := f.Duplicate || f.Reorder || f.Drop, slices.Contains(faultWays, f.Target)
	switch {
	case !slices.Contains(faultTargets, f.Target):
		return wrong("target: one of " + strings.Join(faultTargets, ", "))
	case f.Status != 0 && f.Status != http.StatusTooManyRequests && (f.Status < 500 || f.Status > 599):
		return wrong("status: 429 or 500 to 599")
	case f.SlowMillis < 0 || f.SlowMillis > 120_000:
		return wrong("slow_ms: 0 to 120000")
	case f.Seconds < 1 || f.Seconds > 24*60*60:
		return wrong("for_seconds: 1 to 86400")
	case forWays && !way:
		return wrong("duplicate, reorder and drop are for hooks, ssf and logout")
	case way && f.Status != 0:
		return wrong("hooks, ssf and logout take duplicate, reorder, drop, malformed and slow_ms alone")
	case f.Status == 0 && f.SlowMillis == 0 && !f.Malformed && !forWays:
		return wrong("say what goes wrong: status, slow_ms, malformed; for hooks, ssf and logout duplicate, reorder, drop")
	}
	return nil
}

// live drops what is over. The caller holds mu.
func (fs *faults) live(now time.Time) []fault {
	fs.all = slices.DeleteFunc(fs.all, func(f fault) bool { return !now.Before(f.Until) })
	return fs.all
}

// way joins the faults of one way of telling.
func (fs *faults) way(name string, now time.Time) (out fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.live(now) {
		if f.Target == name {
			out.Duplicate, out.Reorder, out.Drop, out.Malformed = out.Duplicate || f.Duplicate, out.Reorder || f.Reorder, out.Drop || f.Drop, out.Malformed || f.Malformed
			out.SlowMillis = max(out.SlowMillis, f.SlowMillis)
		}
	}
	return out
}

// hits reports whether a fault concerns a route. Pages for people go on, or nobody could try a login during an outage.
func (f *fault) hits(rt route) bool {
	switch f.Target {
	case "okta":
		return rt.scope != "" || rt.family == "token" || rt.family == "oauth2"
	case "keys":
		return rt.family == "" && (rt.path == "/oauth2/v1/keys" || rt.path == "/oauth2/{as}/v1/keys")
	}
	return rt.family == f.Target
}

// strike answers a request as the faults want it, and reports whether it did.
func (fs *faults) strike(c *call, rt route) bool {
	var hit fault
	fs.mu.Lock()
	for _, f := range fs.live(c.now) {
		if f.hits(rt) {
			hit.SlowMillis = max(hit.SlowMillis, f.SlowMillis)
			if hit.Status == 0 {
				hit.Status, hit.Until = f.Status, f.Until
			}
			hit.Malformed = hit.Malformed || f.Malformed
		}
	}
	fs.mu.Unlock()
	if !rest(c.r.Context(), time.Duration(hit.SlowMillis)*time.Millisecond) {
		return true // the caller has gone
	}
	switch {
	case hit.Status == http.StatusTooManyRequests:
		h := c.w.Header()
		if h.Get("X-Rate-Limit-Limit") == "" {
			h.Set("X-Rate-Limit-Limit", strconv.Itoa(DefaultRateLimit))
		}
		h.Set("X-Rate-Limit-Remaining", "0")
		reset := c.now.Add(time.Minute)
		if hit.Until.Before(reset) {
			reset = hit.Until
		}
		h.Set("X-Rate-Limit-Reset", strconv.FormatInt(reset.Unix(), 10))
		c.fail(errLimit)
	case hit.Status != 0:
		failed := *errInternal
		failed.Status = hit.Status
		c.fail(&failed)
	case hit.Malformed:
		c.w.Header().Set("Content-Type", "application/json")
		_, _ = c.w.Write([]byte(`[{"id":"00u`)) // the caller may have gone
	default:
		return false
	}
	return true
}

// listFaults serves GET /dev/faults.
func (o *Org) listFaults(c *call) error {
	o.faults.mu.Lock()
	out := slices.Clone(o.faults.live(c.now))
	o.faults.mu.Unlock()
	if out == nil {
		out = []fault{}
	}
	c.json(http.StatusOK, out)
	return nil
}

// addFault serves POST /dev/faults.
func (o *Org) addFault(c *call) error {
	var f fault
	if err := c.body(&f); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	f.Until = c.now.Add(time.Duration(f.Seconds) * time.Second)
	o.faults.mu.Lock()
	o.faults.last++
	f.ID = o.faults.last
	o.faults.all = append(o.faults.live(c.now), f)
	o.faults.mu.Unlock()
	c.json(http.StatusOK, f)
	return nil
}

// clearFaults serves DELETE /dev/faults.
func (o *Org) clearFaults(c *call) error {
	o.faults.mu.Lock()
	o.faults.all = nil
	o.faults.mu.Unlock()
	c.empty(http.StatusNoContent)
	return nil
}
