package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// callbackPorts are the loopback ports that the application's redirect URIs are registered on: Okta matches a redirect URI exactly,
// port included, so the any-port rule of RFC 8252 section 7.3 does not help.
var callbackPorts = []int{8765, 8766, 8767}

// BrowserConfig says how to run the browser flow.
type BrowserConfig struct {
	Ports   []int                  // loopback ports to try, in order; nil means 8765, 8766, 8767
	Show    func(url string)       // told the URL to visit, before Open
	Open    func(url string) error // opens a browser; nil means OpenBrowser. Its failure is not fatal: Show has printed the URL
	Timeout time.Duration          // how long to wait for the person; 0 means 5 minutes
}

// answer is what the browser brought back, judged.
type answer struct {
	code string
	err  error
}

// Browser signs in with an authorization code and PKCE (RFC 7636) over a loopback redirect (RFC 8252): it checks state, the issuer of
// the answer (RFC 9207) and the nonce of an ID token if one comes. An answer with a wrong state is refused and waited past, because any
// web page can make the browser call a loopback port.
func (a Application) Browser(ctx context.Context, cfg BrowserConfig) (*oauth2.Token, error) {
	if a.Provider.AuthURL == "" {
		return nil, fmt.Errorf("signing in: %s has no authorization endpoint", a.Provider.Issuer)
	}
	if cfg.Ports == nil {
		cfg.Ports = callbackPorts
	}
	if cfg.Open == nil {
		cfg.Open = OpenBrowser
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Minute
	}
	listener, err := listen(cfg.Ports)
	if err != nil {
		return nil, err
	}
	var (
		oc       = a.config()
		state    = rand.Text()
		nonce    = rand.Text()
		verifier = oauth2.GenerateVerifier()
		answers  = make(chan answer, 1)
		host     = listener.Addr().String()
	)
	oc.RedirectURL = "http://" + host + "/callback"
	server := &http.Server{
		Handler:           a.callback(host, state, answers),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      5 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	go func() { _ = server.Serve(listener) }()
	defer func() { // let the page reach the browser, then close the port
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(stop)
	}()

	visit := oc.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce))
	if cfg.Show != nil {
		cfg.Show(visit)
	}
	_ = cfg.Open(visit)

	timeout := time.NewTimer(cfg.Timeout)
	defer timeout.Stop()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the browser: %w", ctx.Err())
	case <-timeout.C:
		return nil, fmt.Errorf("waiting for the browser: %w", ErrTimedOut)
	case got := <-answers:
		if got.err != nil {
			return nil, got.err
		}
		tok, err := oc.Exchange(a.context(ctx), got.code, oauth2.VerifierOption(verifier))
		if err != nil {
			return nil, explain("trading the code for a token", err)
		}
		// The ID token came straight from the token endpoint, which stands in for checking its signature (OpenID Connect Core
		// 3.1.3.7 item 6); it is not kept, only its nonce is compared.
		if id, _ := tok.Extra("id_token").(string); id != "" {
			if c, err := DecodeUnverified(id); err != nil || subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) != 1 {
				return nil, errors.New("trading the code for a token: the ID token is not the answer to this sign-in (nonce differs)")
			}
		}
		return tok, nil
	}
}

func listen(ports []int) (net.Listener, error) {
	var last error
	for _, p := range ports {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", p))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, fmt.Errorf("signing in: none of the registered callback ports %v is free: %w (close what uses them, or log in without --browser)", ports, last)
}

// callback judges what the browser brings to the loopback port. Only the first answer with the right state counts.
func (a Application) callback(host, state string, answers chan<- answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		q := r.URL.Query()
		switch {
		case r.Method != http.MethodGet || r.URL.Path != "/callback" || r.Host != host: // another Host is DNS rebinding
			http.NotFound(w, r)
			return
		case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1:
			page(w, http.StatusBadRequest, "This is not the sign-in that is waiting", "Go back to the terminal and use the link it printed.")
			return
		}
		got := answer{code: q.Get("code")}
		switch {
		case q.Has("iss") && q.Get("iss") != a.Provider.Issuer, a.Provider.IssParameter && !q.Has("iss"):
			got.err = fmt.Errorf("signing in: the answer came from issuer %q, not from %s: refused (RFC 9207)", q.Get("iss"), a.Provider.Issuer)
		case q.Get("error") == "access_denied":
			got.err = fmt.Errorf("signing in: %w: %s", ErrDenied, orDefault(q.Get("error_description"), "access_denied"))
		case q.Has("error"):
			got.err = fmt.Errorf("signing in: the provider answered %s: %s", q.Get("error"), orDefault(q.Get("error_description"), "no description"))
		case got.code == "":
			got.err = errors.New("signing in: the answer holds no code")
		}
		select {
		case answers <- got:
		default: // an answer was taken already: a reload, or a replay
		}
		if got.err != nil {
			page(w, http.StatusBadRequest, "You are not signed in", "The terminal says why.")
			return
		}
		page(w, http.StatusOK, "You can close this page", "The sign-in goes on in the terminal.")
	})
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Bailiwick</title>
<style>body{font:17px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;color:#1c2430}h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{background:#14181f;color:#e6e9ee}}</style>
<h1>{{.Title}}</h1><p>{{.Text}}</p></html>`))

func page(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, struct{ Title, Text string }{title, text})
}

// OpenBrowser opens an http or https URL in the user's browser: $BROWSER if set, else the system's opener. It does not wait for it.
func OpenBrowser(url string) error {
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		return fmt.Errorf("opening a browser: %q is not a web address", url)
	}
	name, args := "xdg-open", []string{url}
	switch {
	case os.Getenv("BROWSER") != "":
		name = os.Getenv("BROWSER")
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("opening a browser: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
