package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// controlSession is who calls the control plane of a context. A token never crosses a network in the clear.
func (a *app) controlSession(c login.Context) (*login.Session, error) {
	if c.ControlURL == "" {
		return nil, &coded{Code: "no_control_plane", Text: fmt.Sprintf("context %s does not say where its control plane is", c.Name), Fix: "run `bailiwick login --control-url URL …`, or choose another with --context"}
	}
	u, err := url.Parse(c.ControlURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("context %s: the control plane %q is not a URL", c.Name, c.ControlURL)
	}
	if u.Scheme != "https" && !netaddr.Loopback(u.Hostname()) {
		return nil, &coded{Code: "plaintext_refused", Text: fmt.Sprintf("%s is not on this machine and has no TLS: your token would cross the network in the clear", c.ControlURL), Fix: "name an https URL with `bailiwick login --control-url`"}
	}
	return a.session(c)
}

// controlDo calls the control plane as the person logged in. in and into are JSON; in may be nil. What changes something may take a minute.
func (a *app) controlDo(ctx context.Context, c login.Context, method, path string, in, into any) error {
	within := time.Duration(0)
	if method != http.MethodGet {
		within = time.Minute
	}
	body, err := a.controlSend(ctx, c, method, path, in, within)
	if err != nil {
		return err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxControlAnswer))
	if err != nil {
		return fmt.Errorf("reading the control plane's answer: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading the control plane's answer: %w", err)
	}
	return nil
}

// maxControlAnswer bounds answers that are read at once, in bytes.
const maxControlAnswer = 8 << 20

// controlSend is controlDo for whoever reads the answer's body, and closes it. The reading too ends within the time; zero is the usual of a client.
func (a *app) controlSend(ctx context.Context, c login.Context, method, path string, in any, within time.Duration) (io.ReadCloser, error) {
	session, err := a.controlSession(c)
	if err != nil {
		return nil, err
	}
	token, err := session.Token(ctx)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("asking the control plane: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.ControlURL, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("asking the control plane: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := login.NewHTTPClient()
	if within != 0 {
		client.Timeout = within
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, &coded{Code: "control_unreachable", Text: fmt.Sprintf("nothing answers at %s", c.ControlURL), Fix: "is `bailiwick dev`, or the control plane, running?"}
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxControlAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the control plane's answer: %w", err)
	}
	var p struct{ Code, Detail, Next, Decision string }
	if json.Unmarshal(raw, &p) != nil || p.Code == "" {
		return nil, fmt.Errorf("the control plane answered %s", resp.Status)
	}
	e := &coded{Code: p.Code, Text: safe(p.Detail), Fix: safe(p.Next)}
	if p.Decision != "" && resp.StatusCode == http.StatusForbidden {
		e.Text += " (bailiwick audit show " + safe(p.Decision) + ")"
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		e.exit = exitDenied
	}
	return nil, e
}

// post sends a request to the current context's control plane.
func (a *app) post(ctx context.Context, path string, body, answer any) error {
	where, err := a.where()
	if err != nil {
		return err
	}
	return a.controlDo(ctx, where, http.MethodPost, path, body, answer)
}
