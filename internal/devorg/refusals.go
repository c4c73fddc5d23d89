package devorg

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// refusal is an error that is an answer: the request was understood and the answer is no.
type refusal interface {
	error
	answer(c *call)
}

// oauthError is the error body of RFC 6749 section 5.2.
type oauthError struct {
	Status      int
	Code        string
	Description string
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func (e *oauthError) answer(c *call) {
	if e.Status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Basic realm="%s"`, c.o.base.Host))
	}
	c.json(e.Status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{e.Code, e.Description})
}

func badRequest(code, format string, args ...any) *oauthError {
	return &oauthError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

func badClient(description string) *oauthError {
	return &oauthError{http.StatusUnauthorized, "invalid_client", description}
}

// bearerError is the refusal of a bearer token (RFC 6750 section 3): a status and a WWW-Authenticate header, no body.
type bearerError struct {
	Status            int
	Code, Description string
}

func (e *bearerError) Error() string { return e.Code + ": " + e.Description }

func (e *bearerError) answer(c *call) {
	c.w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="%s", error_description="%s"`, e.Code, e.Description))
	c.w.WriteHeader(e.Status)
}

// apiError is the error body of Okta's management API.
type apiError struct {
	Status  int
	Code    string
	Summary string
	Causes  []string
	bearer  string // the WWW-Authenticate header, if any
}

func (e *apiError) Error() string { return e.Code + ": " + e.Summary }

func (e *apiError) answer(c *call) {
	type cause struct {
		Summary string `json:"errorSummary"`
	}
	causes := []cause{}
	for _, s := range e.Causes {
		causes = append(causes, cause{s})
	}
	if e.bearer != "" {
		c.w.Header().Set("WWW-Authenticate", e.bearer)
	}
	c.json(e.Status, struct {
		Code    string  `json:"errorCode"`
		Summary string  `json:"errorSummary"`
		Link    string  `json:"errorLink"`
		ID      string  `json:"errorId"`
		Causes  []cause `json:"errorCauses"`
	}{e.Code, e.Summary, e.Code, newID("oae"), causes})
}

func invalid(what string, causes ...string) *apiError {
	return &apiError{Status: http.StatusBadRequest, Code: "E0000001", Summary: "Api validation failed: " + what, Causes: causes}
}

func missing(id, kind string) *apiError {
	return &apiError{Status: http.StatusNotFound, Code: "E0000007", Summary: fmt.Sprintf("Not found: Resource not found: %s (%s)", id, kind)}
}

// orMissing turns "no such row" into Okta's 404 and leaves other errors alone.
func orMissing(err error, id, kind string) error {
	if errors.Is(err, store.ErrNotFound) {
		return missing(id, kind)
	}
	return err
}

func notAllowed(summary string) *apiError {
	return &apiError{Status: http.StatusForbidden, Code: "E0000006", Summary: summary}
}

var (
	errAPIToken = &apiError{Status: http.StatusUnauthorized, Code: "E0000011", Summary: "Invalid token provided"}
	errBody     = &apiError{Status: http.StatusBadRequest, Code: "E0000003", Summary: "The request body was not well-formed."}
	errMethod   = &apiError{Status: http.StatusMethodNotAllowed, Code: "E0000022", Summary: "The endpoint does not support the provided HTTP method"}
	errLimit    = &apiError{Status: http.StatusTooManyRequests, Code: "E0000047", Summary: "API call exceeded rate limit due to too many requests."}
	errInternal = &apiError{Status: http.StatusInternalServerError, Code: "E0000009", Summary: "Internal Server Error"}
)

// pageError is a refusal shown to a person, used where redirecting would be wrong (unknown client, foreign redirect URI).
type pageError struct {
	Status       int
	Title, Cause string
}

func (e *pageError) Error() string { return e.Title + ": " + e.Cause }
func (e *pageError) answer(c *call) {
	c.page(e.Status, "problem", page{Title: e.Title, Problem: e.Cause})
}

// fail answers any error a handler returned.
func (c *call) fail(err error) {
	var r refusal
	if errors.As(err, &r) {
		r.answer(c)
		return
	}
	c.o.log.ErrorContext(c.r.Context(), "development org request failed", "request", c.id, "path", c.r.URL.Path, "error", err)
	errInternal.answer(c)
}

func decodeJSON(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return errBody
	}
	return nil
}
