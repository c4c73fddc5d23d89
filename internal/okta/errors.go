package okta

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is an answer by which Okta refuses a request.
type Error struct {
	Status  int    // HTTP status
	Code    string // Okta's, such as "E0000007" (not found); an OAuth error code for the token endpoint
	Summary string
	ID      string // Okta's own id of the failure, for its support
	Causes  []string
	Method  string
	Path    string
	Reset   time.Time // with 429: when the limit is refilled
}

func (e *Error) Error() string {
	text := fmt.Sprintf("okta: %s %s: HTTP %d", e.Method, e.Path, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Summary != "" {
		text += ": " + e.Summary
	}
	if len(e.Causes) > 0 {
		text += " (" + strings.Join(e.Causes, "; ") + ")"
	}
	return text
}

// IsNotFound reports whether what was asked for does not exist.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// IsForbidden reports whether the service app may not do this: a scope is not granted, or its admin role does not reach.
func IsForbidden(err error) bool {
	return hasStatus(err, http.StatusForbidden) || hasStatus(err, http.StatusUnauthorized)
}

// IsBadRequest reports whether Okta could not make sense of the request, such as of a cursor from long ago.
func IsBadRequest(err error) bool { return hasStatus(err, http.StatusBadRequest) }

// IsRateLimited reports whether the limit was still used up when waiting for it would have taken too long.
func IsRateLimited(err error) bool { return hasStatus(err, http.StatusTooManyRequests) }

func hasStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// parseError reads Okta's error shape and OAuth's (RFC 6749 section 5.2). What is neither is told by its status alone: the body may be a
// proxy's page, and is not repeated.
func parseError(method, path string, status int, body []byte) *Error {
	out := &Error{Status: status, Method: method, Path: path}
	var wire struct {
		Code    string `json:"errorCode"`
		Summary string `json:"errorSummary"`
		ID      string `json:"errorId"`
		Causes  []struct {
			Summary string `json:"errorSummary"`
		} `json:"errorCauses"`
		OAuth       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &wire) != nil {
		return out
	}
	out.Code, out.Summary, out.ID = wire.Code, clip(wire.Summary), clip(wire.ID)
	for _, c := range wire.Causes {
		out.Causes = append(out.Causes, clip(c.Summary))
	}
	if out.Code == "" {
		out.Code, out.Summary = wire.OAuth, clip(wire.Description)
	}
	return out
}

func clip(s string) string {
	if len(s) > 500 {
		return strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
