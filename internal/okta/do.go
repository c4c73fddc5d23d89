package okta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody is the largest answer that is read, in bytes.
const maxBody = 16 << 20

// answer is a successful answer.
type answer struct {
	header http.Header
	body   []byte
}

// do sends one request and, where it makes sense, sends it again: after 429 when the limit is refilled, and after 5xx and lost connections with
// growing, jittered pauses. in and out are JSON, or nil. Requests that change something are repeated only where Okta cannot have taken
// them (429), or where doing them twice is doing them once (GET, PUT, DELETE).
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) (answer, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return answer{}, fmt.Errorf("okta: encoding a request: %w", err)
		}
	}
	u, err := c.at(path, query)
	if err != nil {
		return answer{}, err
	}
	return c.send(ctx, method, u, body, out)
}

// at is the address of a path, whose segments are escaped already.
func (c *Client) at(path string, query url.Values) (*url.URL, error) {
	u, err := url.Parse(c.base.String() + path)
	if err != nil {
		return nil, fmt.Errorf("okta: making an address: %w", err)
	}
	u.RawQuery = query.Encode()
	return u, nil
}

func (c *Client) send(ctx context.Context, method string, u *url.URL, body []byte, out any) (answer, error) {
	name, spent, renewed := family(u.Path), time.Duration(0), false
	pause := func(d time.Duration, cause error) error {
		if spent += d; spent > c.cfg.MaxWait {
			return cause
		}
		return c.cfg.Sleep(ctx, d)
	}
	for attempt := 1; ; attempt++ {
		for d := c.budget.wait(name, c.cfg.Share); d > 0; d = c.budget.wait(name, c.cfg.Share) {
			if err := pause(d, &Error{Status: http.StatusTooManyRequests, Method: method, Path: u.Path, Reset: c.cfg.Clock().Add(d), Summary: "this program's share of the rate limit is used up"}); err != nil {
				return answer{}, err
			}
		}
		a, err := c.once(ctx, method, u, body, out)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return answer{}, ctx.Err()
		}
		var refused *Error
		limited := errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests
		if refused != nil && refused.Status == http.StatusUnauthorized && refused.Path == u.Path && !renewed && c.cfg.Credentials.renewable() {
			renewed = true // the token was revoked, or the proof wants a nonce: nothing was done, so once more with what is new
			continue
		}
		again := limited || method != http.MethodPost && (refused == nil || refused.Status >= 500)
		if !again || attempt >= c.cfg.Attempts {
			return answer{}, err
		}
		wait := time.Duration(1<<(attempt-1)) * 250 * time.Millisecond
		wait += time.Duration(rand.Int64N(int64(wait))) // jitter needs no secrecy
		if refused != nil && !refused.Reset.IsZero() {
			wait = max(wait, refused.Reset.Sub(c.cfg.Clock()))
		}
		c.cfg.Logger.InfoContext(ctx, "asking Okta again", "method", method, "path", u.Path, "attempt", attempt, "pause", wait, "error", err)
		if err := pause(wait, err); err != nil {
			return answer{}, err
		}
	}
}

// once sends the request one time.
func (c *Client) once(ctx context.Context, method string, u *url.URL, body []byte, out any) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("okta: making a request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := c.cfg.Credentials.authorize(ctx, c, req); err != nil {
		return answer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("okta: %s %s: %w", method, u.Path, bare(err))
	}
	defer res.Body.Close()
	c.budget.heard(family(u.Path), res.Header)
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return answer{}, fmt.Errorf("okta: reading the answer to %s %s: %w", method, u.Path, err)
	}
	if len(raw) > maxBody {
		return answer{}, fmt.Errorf("okta: the answer to %s %s is over %d bytes", method, u.Path, maxBody)
	}
	if res.StatusCode/100 != 2 {
		refused := parseError(method, u.Path, res.StatusCode, raw)
		if reset, ok := resetAt(res.Header, c.cfg.Clock()); ok && (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "") {
			refused.Reset = reset
		}
		if res.StatusCode == http.StatusUnauthorized {
			c.cfg.Credentials.refused(req, res.Header)
		}
		return answer{}, refused
	}
	if out != nil {
		if t := res.Header.Get("Content-Type"); !strings.Contains(t, "json") {
			return answer{}, fmt.Errorf("okta: %s %s answered %q instead of JSON: is this an Okta org?", method, u.Path, clip(t))
		}
		if err := json.Unmarshal(raw, out); err != nil {
			return answer{}, fmt.Errorf("okta: reading the answer to %s %s: %w", method, u.Path, err)
		}
	}
	return answer{res.Header, raw}, nil
}

// bare takes the URL out of an error of net/http: it may hold a query that names people.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
