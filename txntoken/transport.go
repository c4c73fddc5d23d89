package txntoken

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Transport is an http.RoundTripper that attaches a Transaction Token to requests for known hosts, and to no others. Make it with NewTransport.
type Transport struct {
	base  http.RoundTripper
	hosts []string
	token func(context.Context) (string, error)
	plain bool
}

// TransportConfig are the settings of a Transport.
type TransportConfig struct {
	// Hosts are the services that get tokens, each "host" (its scheme's standard port) or "host:port". There are no wildcards.
	Hosts []string
	// Token gives the token for a request, from the request's context: Forward passes on the one that came in.
	Token func(context.Context) (string, error)
	// Base makes the requests. Default http.DefaultTransport.
	Base http.RoundTripper
	// AllowPlaintext permits tokens over http to hosts that are not loopback, where something else protects the connection.
	AllowPlaintext bool
}

// NewTransport checks the settings.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	if cfg.Token == nil {
		return nil, errors.New("making transport: Token is nil")
	}
	if len(cfg.Hosts) == 0 {
		return nil, errors.New("making transport: Hosts is empty, so that no request would get a token")
	}
	t := &Transport{base: cfg.Base, token: cfg.Token, plain: cfg.AllowPlaintext}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	for _, h := range cfg.Hosts {
		u, err := url.Parse("//" + h)
		if err != nil || u.Host != h || u.Hostname() == "" || strings.ContainsAny(h, "*/@?# ") {
			return nil, fmt.Errorf("making transport: %q is not a host or host:port", h)
		}
		t.hosts = append(t.hosts, strings.ToLower(h))
	}
	return t, nil
}

// RoundTrip attaches a token if the request is for a known host. A request that a redirect caused gets one only if the redirect stayed on the
// same scheme, host and port: nobody can steer a token by answering with a Location. No token, no request: an error of Token is the call's.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.known(req.URL) || redirectedFromElsewhere(req) {
		if len(req.Header.Values(Header)) > 0 {
			closeBody(req)
			return nil, fmt.Errorf("sending request: it carries a %s header and %s is not a host that gets one", Header, req.URL.Host)
		}
		return t.base.RoundTrip(req)
	}
	if req.URL.Scheme != "https" && !t.plain && !loopback(req.URL.Hostname()) {
		closeBody(req)
		return nil, fmt.Errorf("sending request: refusing to send a transaction token in plaintext to %s; use https", req.URL.Host)
	}
	token, err := t.token(req.Context())
	if err == nil && token == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		closeBody(req)
		return nil, fmt.Errorf("getting a transaction token for %s: %w", req.URL.Host, err)
	}
	clone := req.Clone(req.Context()) // a RoundTripper must not change the request; and http.Client copies only the original's headers when it follows a redirect
	clone.Header.Set(Header, token)
	return t.base.RoundTrip(clone)
}

func (t *Transport) known(u *url.URL) bool {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	standard := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if port == "" {
		port = standard
	}
	bare := host
	if strings.Contains(host, ":") {
		bare = "[" + host + "]"
	}
	return slices.Contains(t.hosts, net.JoinHostPort(host, port)) || port == standard && slices.Contains(t.hosts, bare)
}

// redirectedFromElsewhere reports whether some answer in the chain that led to this request came from another origin.
func redirectedFromElsewhere(req *http.Request) bool {
	for r := req; r.Response != nil && r.Response.Request != nil; r = r.Response.Request {
		if before := r.Response.Request.URL; before.Scheme != req.URL.Scheme || !strings.EqualFold(before.Host, req.URL.Host) {
			return true
		}
	}
	return false
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Forward is a TransportConfig.Token that passes on the token which Middleware verified, unchanged, as the draft asks of every workload in a call
// chain.
func Forward(ctx context.Context) (string, error) {
	v, ok := FromContext(ctx)
	if !ok {
		return "", errors.New("no transaction token came in with this request")
	}
	return v.Raw(), nil
}
