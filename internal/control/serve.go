package control

import (
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// Handle mounts a handler, before the plane serves. Patterns are http.ServeMux's.
func (p *Plane) Handle(pattern string, h http.Handler) { p.mux.Handle(pattern, h) }

// ServeHTTP serves what was mounted.
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store") // handlers of public things say otherwise
	if _, pattern := p.mux.Handler(r); pattern == "" {
		Problem(w, http.StatusNotFound, "not_found", "there is nothing at "+r.URL.Path, "")
		return
	}
	p.mux.ServeHTTP(w, r)
}

// Authenticated lets only callers through who send a valid access token (RFC 6750 section 2.1). What they may do is f's to ask of the gate.
// An ID token of the same login may come beside it, in the header that the Temporal UI uses for one, and tells how the person authenticated.
// A refusal is on record, and told as Problem tells it.
func (p *Plane) Authenticated(f func(http.ResponseWriter, *http.Request, identity.Identity)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := p.Gate().Authenticate(r.Context(), r.Header.Values("Authorization"), r.Header.Values(gate.MetadataIDToken), netaddr.Source(r), r.Method+" "+r.Pattern)
		if err != nil {
			Refuse(w, err)
			return
		}
		f(w, r, who)
	})
}

// problem is the body of a refusal (RFC 9457). Code is stable; Next is what the caller can do.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Code     string `json:"code"`
	Next     string `json:"next,omitempty"`
	Decision string `json:"decision,omitempty"` // id of the audit entry to ask about
}

// Problem refuses a request.
func Problem(w http.ResponseWriter, status int, code, detail, next string) {
	write(w, problem{Status: status, Code: code, Detail: detail, Next: next})
}

// Refuse tells an error of the gate. Any other error is told as an internal one, without its text.
func Refuse(w http.ResponseWriter, err error) {
	var d *gate.Denial
	if !errors.As(err, &d) {
		Problem(w, http.StatusInternalServerError, "internal", "the control plane could not decide; try again, and tell your operator if it stays so", "")
		return
	}
	status := http.StatusForbidden
	switch d.GRPCStatus().Code() {
	case codes.Unauthenticated:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 section 3
	case codes.InvalidArgument:
		status = http.StatusBadRequest
	case codes.NotFound:
		status = http.StatusNotFound
	case codes.Unavailable:
		status = http.StatusServiceUnavailable
	}
	write(w, problem{Status: status, Code: d.Code, Detail: d.Message, Next: d.Hint, Decision: d.DecisionID})
}

func write(w http.ResponseWriter, p problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
