package access

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client speaks to the API as somebody: the command line and the console use it.
type Client struct {
	URL   string                                    // of the control plane
	Token func(ctx context.Context) (string, error) // a fresh access token of the caller
	HTTP  *http.Client                              // default: one that follows no redirects, so that the token stays here
}

// maxAnswer bounds what a control plane can make a client read, in bytes.
const maxAnswer = 32 << 20

// Ask makes a request. Asking again with the same key and body answers with the same request.
func (c *Client) Ask(ctx context.Context, body AskBody, key string) (r Request, err error) {
	return r, c.call(ctx, http.MethodPost, "", map[string]string{"Idempotency-Key": key}, body, &r)
}

// List reads requests that the caller may see, newest first.
func (c *Client) List(ctx context.Context, f Filter) ([]Request, error) {
	q := url.Values{}
	for _, s := range f.States {
		q.Add("state", string(s))
	}
	for k, v := range map[string]string{"namespace": f.Namespace, "login": f.Login} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Open {
		q.Set("open", "true")
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var out struct{ Requests []Request }
	err := c.call(ctx, http.MethodGet, "?"+q.Encode(), nil, nil, &out)
	return out.Requests, err
}

// Get reads a request.
func (c *Client) Get(ctx context.Context, id string) (r Request, err error) {
	return r, c.call(ctx, http.MethodGet, "/"+url.PathEscape(id), nil, nil, &r)
}

// Uses reads what was done under a request's grant, oldest first. more says that there is more than MaxUses: the rest is in the audit log.
func (c *Client) Uses(ctx context.Context, id string) (uses []Use, more bool, err error) {
	var out struct {
		Uses []Use
		More bool
	}
	err = c.call(ctx, http.MethodGet, "/"+url.PathEscape(id)+"/uses", nil, nil, &out)
	return out.Uses, out.More, err
}

// Do acts on a request: approve, deny, withdraw, return, extend, revoke or review.
func (c *Client) Do(ctx context.Context, id, verb string, body ActBody) (r Request, err error) {
	return r, c.call(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/"+verb, nil, body, &r)
}

// ErrStop ends a Watch without an error.
var ErrStop = errors.New("enough was seen")

// Watch calls f with the request's state, now and each time that it changes, until nothing will change any more, f returns an error, or ctx ends.
// A stream that breaks is taken up again.
func (c *Client) Watch(ctx context.Context, id string, f func(Request) error) error {
	last := ""
	failures := 0
	for {
		ended, err := c.stream(ctx, id, func(data []byte) error {
			failures = 0
			if string(data) == last {
				return nil
			}
			last = string(data)
			var r Request
			if err := json.Unmarshal(data, &r); err != nil {
				return fmt.Errorf("reading the state: %w", err)
			}
			return f(r)
		})
		var refused *Refusal
		switch {
		case errors.Is(err, ErrStop), ended:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable && refused.Status != http.StatusInternalServerError:
			return err
		}
		if failures++; failures > 20 {
			return fmt.Errorf("watching %s: the stream broke %d times in a row: %w", id, failures, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Duration(failures)*500*time.Millisecond, 5*time.Second)):
		}
	}
}

// stream reads one stream of server-sent events.
func (c *Client) stream(ctx context.Context, id string, state func([]byte) error) (ended bool, err error) {
	res, err := c.send(ctx, http.MethodGet, "/"+url.PathEscape(id)+"/watch", map[string]string{"Accept": "text/event-stream"}, nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	event := ""
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = name
		} else if data, ok := strings.CutPrefix(line, "data: "); ok {
			switch event {
			case "end":
				return true, nil
			case "state":
				if err := state([]byte(data)); err != nil {
					return true, err
				}
			}
		}
	}
	return false, lines.Err()
}

func (c *Client) call(ctx context.Context, method, path string, header map[string]string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	res, err := c.send(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("reading the control plane's answer: %w", err)
	}
	return nil
}

// send returns a response of status 2xx; any other is a *Refusal.
func (c *Client) send(ctx context.Context, method, path string, header map[string]string, body io.Reader) (*http.Response, error) {
	token, err := c.Token(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+"/v1/access/requests"+path, body)
	if err != nil {
		return nil, fmt.Errorf("asking the control plane: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	h := c.HTTP
	if h == nil {
		h = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the control plane: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	refused := &Refusal{}
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(refused) != nil || refused.Code == "" {
		refused = &Refusal{Code: "control_answer", Detail: "the control plane answered HTTP " + strconv.Itoa(res.StatusCode)}
	}
	refused.Status = res.StatusCode
	return nil, refused
}
