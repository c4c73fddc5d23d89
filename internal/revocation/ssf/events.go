package ssf

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

const (
	setType  = "secevent+jwt"
	maxToken = 64 << 10 // bytes of a delivery
)

// refusal is an answer of RFC 8935 section 2.3.
type refusal struct {
	status    int
	Code      string `json:"err"`
	Text      string `json:"description"`
	retryable bool
}

func bad(code, text string) *refusal {
	return &refusal{status: http.StatusBadRequest, Code: code, Text: text}
}

func later(text string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Text: text, retryable: true}
}

// Events takes pushed security event tokens at EventsPath. A token is acknowledged with 202 when its signals are on disk. One that can't be
// verified or kept now is answered 503, upon which transmitters send it again.
func (r *Receiver) Events() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if req.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			answer(w, &refusal{status: http.StatusMethodNotAllowed, Code: "invalid_request", Text: "security event tokens are pushed by POST"})
			return
		}
		if no := r.event(w, req); no != nil {
			r.refused(no.Text)
			r.cfg.Logger.WarnContext(req.Context(), "a security event token was not taken", "code", no.Code, "why", no.Text)
			answer(w, no)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

func answer(w http.ResponseWriter, no *refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	if no.retryable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(no) // the caller may have gone
}

func (r *Receiver) event(w http.ResponseWriter, req *http.Request) *refusal {
	if r.cfg.Audience == "" {
		return bad("access_denied", "no stream is configured here")
	}
	if r.cfg.Secret != "" {
		got, want := sha256.Sum256([]byte(req.Header.Get("Authorization"))), sha256.Sum256([]byte(r.cfg.Secret))
		if len(req.Header.Values("Authorization")) != 1 || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return &refusal{status: http.StatusUnauthorized, Code: "authentication_failed", Text: "the Authorization header does not hold this stream's secret"}
		}
	}
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/secevent+jwt" {
		return bad("invalid_request", "the content type must be application/secevent+jwt")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxToken))
	if err != nil {
		return bad("invalid_request", "the delivery is larger than 64 KB, or was cut")
	}
	return r.take(req.Context(), identity.ParseUnverified(strings.TrimSpace(string(raw))), r.cfg.Audience)
}

// take verifies a security event token and keeps its signals, however it came.
func (r *Receiver) take(ctx context.Context, t identity.Unverified, audience string) *refusal {
	s, no := r.verify(ctx, t, identity.StatementProfile{Type: setType, Audiences: []string{audience}, MaxAge: r.cfg.MaxAge})
	if no != nil {
		return no
	}
	events, err := read(s)
	if err != nil {
		return bad("invalid_request", err.Error())
	}
	var signals []revocation.Signal
	for _, e := range events {
		if e.kind == "" {
			continue
		}
		signal, err := r.signal(ctx, s, e)
		switch {
		case errors.Is(err, errNobody): // of other apps, or of somebody who is gone: there is nothing to take away
			continue
		case errors.Is(err, errSubject):
			return bad("invalid_request", err.Error())
		case err != nil:
			r.cfg.Logger.WarnContext(ctx, "the subject of a security event token can't be looked up now", "error", err)
			return later("who this is can't be looked up now: send it again")
		}
		signals = append(signals, signal)
	}
	if len(signals) > 0 {
		if err := r.cfg.Sink.Accept(ctx, signals...); err != nil {
			r.cfg.Logger.ErrorContext(ctx, "a security event token could not be kept", "error", err)
			return later("the token could not be kept: send it again")
		}
	}
	r.taken(events)
	return nil
}

// verify checks a token with the transmitter's keys, and says what is wrong in the codes of RFC 8935 section 2.4.
func (r *Receiver) verify(ctx context.Context, t identity.Unverified, want identity.StatementProfile) (identity.Statement, *refusal) {
	v, err := r.verifier(ctx)
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "the transmitter's keys can't be had", "error", err)
		return identity.Statement{}, later("the transmitter's keys can't be had now: send it again")
	}
	s, err := v.VerifyStatement(ctx, t, want)
	no := &identity.Error{Code: identity.CodeTokenMalformed}
	if errors.As(err, &no) && no.Code == identity.CodeKeyUnknown && no.Cause == nil {
		// The keys may have been rotated within the pause that fetches of them keep: transmitters don't send again what was called wrong.
		select {
		case <-ctx.Done():
		case <-time.After(rediscover + rediscover/10):
		}
		s, err = v.VerifyStatement(ctx, t, want)
	}
	if err == nil {
		return s, nil
	}
	_ = errors.As(err, &no) // it always is one
	switch no.Code {
	case identity.CodeKeysUnavailable:
		return s, later("the transmitter's keys can't be had now: send it again")
	case identity.CodeKeyUnknown:
		if no.Cause != nil { // it may be a new key, and the keys can't be fetched
			return s, later("the transmitter's keys can't be had now: send it again")
		}
		return s, bad("invalid_key", no.Detail)
	case identity.CodeSignature, identity.CodeAlgorithm:
		return s, bad("invalid_key", no.Detail)
	case identity.CodeIssuer:
		return s, bad("invalid_issuer", no.Detail)
	case identity.CodeAudience:
		return s, bad("invalid_audience", no.Detail)
	}
	return s, bad("invalid_request", no.Detail)
}

// ahead is how far in the future an event may be dated; later ones are dated now, so that they end no token that is not issued yet.
const ahead = time.Minute

func (r *Receiver) signal(ctx context.Context, s identity.Statement, e event) (revocation.Signal, error) {
	uid, login, session, err := r.person(ctx, e.Subject)
	if err != nil {
		return revocation.Signal{}, err
	}
	out := revocation.Signal{ID: signalID(s.Issuer, s.ID, e.name), Kind: e.kind, At: e.at, UID: uid, Login: login, Source: revocation.SourceSSF}
	if session != "" && e.kind == revocation.Cleared {
		out.Kind, out.Session = revocation.SignedOut, session
	}
	if now := r.cfg.Clock(); out.At.After(now.Add(ahead)) {
		out.At = now.UTC()
	}
	if !out.Plain() {
		return out, errSubject
	}
	return out, nil
}

func (r *Receiver) refused(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Refused++
	r.status.Problem = why
}

func (r *Receiver) taken(events []event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Clock().UTC()
	r.status.Taken++
	r.status.Received = now
	for _, e := range events {
		switch e.name {
		case verification:
			r.status.Verified, r.status.State = now, e.State
		case streamUpdated:
			r.status.Stream = e.Status
		}
	}
}
