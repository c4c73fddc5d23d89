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

// controlDo calls the control plane as the person logged in. in and into are JSON, or nil.
func (a *app) controlDo(ctx context.Context, c login.Context, method, path string, in, into any) error {
	u, err := url.Parse(c.ControlURL)
	if err != nil || u.Host == "" {
		return &coded{Code: "no_control_plane", Text: fmt.Sprintf("context %s names no control plane", c.Name), Fix: "choose another with --context"}
	}
	if u.Scheme != "https" && !netaddr.Loopback(u.Hostname()) {
		return &coded{Code: "plaintext_refused", Text: fmt.Sprintf("%s is not on this machine and has no TLS: your token would cross the network in the clear", u.Host), Fix: "use a context with https"}
	}
	session, err := a.session(c)
	if err != nil {
		return err
	}
	token, err := session.Token(ctx)
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("asking the control plane: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.ControlURL, "/")+path, body)
	if err != nil {
		return fmt.Errorf("asking the control plane: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return &coded{Code: "control_unreachable", Text: fmt.Sprintf("nothing answers at %s", c.ControlURL), Fix: "is `bailiwick dev`, or the control plane, running?"}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("reading the control plane's answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		var p struct{ Code, Detail, Next, Decision string }
		if json.Unmarshal(raw, &p) != nil || p.Code == "" {
			return fmt.Errorf("the control plane answered %s", resp.Status)
		}
		e := &coded{Code: p.Code, Text: safe(p.Detail), Fix: safe(p.Next)}
		if p.Decision != "" && resp.StatusCode == http.StatusForbidden {
			e.Text += " (bailiwick audit show " + safe(p.Decision) + ")"
		}
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			e.exit = exitDenied
		}
		return e
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading the control plane's answer: %w", err)
	}
	return nil
}
