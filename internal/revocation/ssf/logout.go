package ssf

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

const (
	revocationType = "global-token-revocation+jwt"
	maxRequest     = 16 << 10         // bytes
	longestLogout  = 10 * time.Minute // Okta's tokens live for five
)

// Logout takes requests for global token revocation (draft-parecki-oauth-global-token-revocation, as Okta's Universal Logout sends them) at
// LogoutPath: all tokens of a person that were issued up to now end. It answers 204 when that is on disk, 401 for a token that is no good, 403
// for one of another app, 404 for a person whom nobody knows, and 422 for a subject of a form that is not understood.
func (r *Receiver) Logout() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if req.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			answer(w, &refusal{status: http.StatusMethodNotAllowed, Code: "invalid_request", Text: "requests to log out are made by POST"})
			return
		}
		if no := r.logout(w, req); no != nil {
			r.refused(no.Text)
			r.cfg.Logger.WarnContext(req.Context(), "a request to log somebody out was not taken", "code", no.Code, "why", no.Text)
			if no.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			}
			answer(w, no)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func (r *Receiver) logout(w http.ResponseWriter, req *http.Request) *refusal {
	if r.cfg.Logout == "" {
		return &refusal{status: http.StatusForbidden, Code: "access_denied", Text: "requests to log out are not configured here"}
	}
	token, err := identity.FromAuthorization(req.Header.Values("Authorization"))
	if err != nil {
		return &refusal{status: http.StatusUnauthorized, Code: "authentication_failed", Text: "a signed JWT is needed as Bearer token"}
	}
	s, no := r.verify(req.Context(), token, identity.StatementProfile{Type: revocationType, Audiences: []string{r.cfg.Logout}, MaxLifetime: longestLogout})
	switch {
	case no != nil && no.retryable:
		return no
	case no != nil:
		no.status = http.StatusUnauthorized
		return no
	case s.Subject != r.cfg.LogoutApp:
		return &refusal{status: http.StatusForbidden, Code: "access_denied", Text: "the token is of another app than ours"}
	}
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bad("invalid_request", "the content type must be application/json")
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxRequest))
	if err != nil || !utf8.Valid(text) {
		return bad("invalid_request", "the request is too large, not UTF-8, or was cut")
	}
	var in struct {
		Subject *subject `json:"sub_id"`
	}
	if json.Unmarshal(text, &in) != nil || in.Subject == nil {
		return bad("invalid_request", "the request does not name anybody as sub_id")
	}
	uid, login, _, err := r.person(req.Context(), in.Subject)
	signal := revocation.Signal{ID: signalID(s.Issuer, s.ID, revocationType), Kind: revocation.Cleared, At: s.IssuedAt, UID: uid, Login: login, Source: revocation.SourceLogout}
	switch {
	case errors.Is(err, errNobody):
		return &refusal{status: http.StatusNotFound, Code: "not_found", Text: "nobody here is called so"}
	case errors.Is(err, errSubject) || err == nil && !signal.Plain():
		return &refusal{status: http.StatusUnprocessableEntity, Code: "invalid_request", Text: errSubject.Error()}
	case err != nil:
		r.cfg.Logger.WarnContext(req.Context(), "the subject of a request to log out can't be looked up now", "error", err)
		return later("who this is can't be looked up now: send it again")
	}
	if now := r.cfg.Clock(); signal.At.After(now) {
		signal.At = now.UTC()
	}
	if err := r.cfg.Sink.Accept(req.Context(), signal); err != nil {
		r.cfg.Logger.ErrorContext(req.Context(), "a request to log out could not be kept", "error", err)
		return later("the request could not be kept: send it again")
	}
	r.taken(nil)
	return nil
}
