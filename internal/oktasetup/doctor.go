package oktasetup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	Good    Level = "ok"
	Warning Level = "warning" // works, and should be looked at
	Wrong   Level = "error"   // does not work, or lets in who should not be
	Unknown Level = "unknown" // could not be asked
)

// Finding is what a check found.
type Finding struct {
	Level   Level  `json:"level"`
	Code    string `json:"code"` // stable
	Subject string `json:"subject,omitempty"`
	What    string `json:"what"`
	Fix     string `json:"fix,omitempty"`
}

// Checkup is the settings of Doctor.
type Checkup struct {
	Org *okta.Client // as whoever may read the settings: an admin, or the control plane's app
	// Control makes a client that asks as the control plane's app with one scope, to try what it may do; nil: not tried.
	Control func(scope string) (*okta.Client, error)
	Setup   Result       // what was set up
	HTTP    *http.Client // for discovery and keys; default: 15 s a request
	Clock   func() time.Time
}

// Ages and limits beyond which Doctor speaks up.
const (
	skewWrong   = 60 * time.Second // what gates allow a token to be ahead
	skewWarning = 10 * time.Second
	keyOld      = 180 * 24 * time.Hour
	signingOld  = 120 * 24 * time.Hour // Okta's own rotation comes about each quarter
	groupsMost  = 100                  // in a token; more, and Okta refuses the token
	adminsMost  = 200                  // whose factors are asked for
	lowShare    = 0.2                  // of a rate limit
)

// doctor collects findings.
type doctor struct {
	Checkup
	plan     *Plan
	findings []Finding
}

func (d *doctor) add(level Level, code, subject, fix, format string, args ...any) {
	d.findings = append(d.findings, Finding{Level: level, Code: code, Subject: subject, What: fmt.Sprintf(format, args...), Fix: fix})
}

// Doctor checks a live org. An error means that it could not begin; what is wrong with the org is in the findings.
func Doctor(ctx context.Context, c Checkup) ([]Finding, error) {
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 15 * time.Second}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	d := &doctor{Checkup: c}
	d.issuer(ctx)
	for _, check := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"wanted", d.wanted}, {"strangers", d.strangers}, {"groups", d.groups}, {"signing keys", d.signing}, {"client keys", d.clientKeys}, {"rights", d.rights}, {"excess", d.excess},
		{"event hook", d.hook}, {"admins", d.admins},
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := check.run(ctx); err != nil {
			d.unread(check.name, err)
		}
	}
	d.limits()
	return d.findings, nil
}

// unread says that a check could not be made, and what would let it.
func (d *doctor) unread(name string, err error) {
	var refused *okta.Error
	switch {
	case okta.IsForbidden(err):
		d.add(Unknown, "check_forbidden", name, "run it as an admin, or as an app with the rights that docs/okta-setup.md lists", "%v", err)
	case errors.As(err, &refused):
		d.add(Unknown, "check_failed", name, "run it again", "%v", err)
	default:
		d.add(Unknown, "check_failed", name, "is the org reached from here?", "%v", err)
	}
}

// issuer asks for the discovery document and the keys, as gates do, and compares the clocks.
func (d *doctor) issuer(ctx context.Context) {
	at := d.Setup.Issuer
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	header, err := d.fetch(ctx, at+"/.well-known/openid-configuration", &doc)
	switch {
	case err != nil:
		d.add(Wrong, "issuer_unreachable", at, "is the authorization server active, and reached from where the gates run? `bailiwick okta setup` makes one that is missing", "no discovery document: %v", err)
		return
	case doc.Issuer != at:
		d.add(Wrong, "issuer_mismatch", at, "run bailiwick okta setup again: the server's issuer has changed, such as by a custom domain", "the server calls itself %s", clip(doc.Issuer))
		return
	}
	var keys struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if !strings.HasPrefix(doc.JWKS, d.Setup.Org+"/") {
		d.add(Wrong, "keys_elsewhere", at, "gates take keys from the issuer's own host only", "the signing keys are said to be at %s", clip(doc.JWKS))
	} else if _, err := d.fetch(ctx, doc.JWKS, &keys); err != nil || len(keys.Keys) == 0 {
		d.add(Wrong, "keys_unreachable", doc.JWKS, "without keys no token is accepted, an hour after the last good answer at the latest", "no signing keys: %v", err)
	} else {
		d.add(Good, "issuer", at, "", "discovery and %d signing keys are there", len(keys.Keys))
	}
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		d.add(Unknown, "clock_unknown", at, "", "the answer has no date")
		return
	}
	skew := d.Clock().Sub(date).Round(time.Second)
	if skew < 0 {
		skew = -skew
	}
	switch {
	case skew > skewWrong:
		d.add(Wrong, "clock_skew", "", "set this machine's clock, by NTP; gates' too", "this machine's clock and Okta's are %v apart: tokens look expired, or as if from the future", skew)
	case skew > skewWarning:
		d.add(Warning, "clock_skew", "", "set this machine's clock, by NTP; gates' too", "this machine's clock and Okta's are %v apart", skew)
	default:
		d.add(Good, "clock", "", "", "this machine's clock and Okta's agree within %v", max(skew, time.Second))
	}
}

func (d *doctor) fetch(ctx context.Context, at string, into any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	res, err := d.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", res.StatusCode)
	}
	return res.Header, json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into)
}

// wanted compares the org with what it was set up to.
func (d *doctor) wanted(ctx context.Context) error {
	plan, err := Make(ctx, d.Org, d.Setup.Wanted, Options{})
	if err != nil {
		return err
	}
	d.plan = plan
	right := 0
	for _, item := range plan.Items {
		code := strings.ReplaceAll(item.Kind, " ", "_")
		subject := item.Kind + " " + item.Name
		for _, c := range item.Changes {
			switch {
			case c.Left:
				d.add(Warning, code+"_narrowed", subject, "meant so? Then leave it; else: bailiwick okta setup --widen", "%s is %s, less than the %s that set-up wants", c.Setting, c.From, c.To)
			default:
				d.add(Wrong, code+"_differs", subject, "bailiwick okta setup", "%s is %s and should be %s", c.Setting, c.From, c.To)
			}
		}
		switch item.Action {
		case Create:
			d.add(Wrong, code+"_missing", subject, "bailiwick okta setup", "it is not there; needed because: %s", item.Why)
		case Conflict:
			d.add(Wrong, code+"_foreign", subject, "bailiwick okta setup --adopt "+item.Key+", after a look at it", "somebody else's has the name (%s)", item.ID)
		case Keep:
			right++
		}
	}
	d.add(Good, "wanted", "", "", "%d of %d things are as they were set up", right, len(plan.Items))
	return nil
}

// limits looks at what the requests of this check left of each rate limit.
func (d *doctor) limits() {
	low := false
	for _, l := range d.Org.Limits() {
		if float64(l.Remaining) < lowShare*float64(l.Limit) {
			low = true
			d.add(Warning, "rate_limit_low", l.Family, "find out who else calls the org's API (admin console, Reports, Rate limits); Bailiwick uses at most its share", "%d of %d requests a minute are left", l.Remaining, l.Limit)
		}
	}
	if !low {
		d.add(Good, "rate_limit", "", "", "enough is left of every rate limit asked")
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
