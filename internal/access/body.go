package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// maxBody bounds what callers send, in bytes.
const maxBody = 64 << 10

// AskBody is what POST /v1/access/requests takes.
type AskBody struct {
	Namespace    string   `json:"namespace"`
	Role         string   `json:"role,omitempty"`
	Actions      []string `json:"actions,omitempty"`
	WorkflowType string   `json:"workflow_type,omitempty"`
	WorkflowID   string   `json:"workflow_id,omitempty"`
	RunID        string   `json:"run_id,omitempty"`
	TaskQueue    string   `json:"task_queue,omitempty"`
	Seconds      int64    `json:"seconds"`
	Reason       string   `json:"reason"`
	BreakGlass   bool     `json:"break_glass,omitempty"`
}

// ActBody is what the other POSTs take.
type ActBody struct {
	Digest    string `json:"digest,omitempty"`    // approve, deny: of what you saw
	Comment   string `json:"comment,omitempty"`   // extend, review: required
	Seconds   int64  `json:"seconds,omitempty"`   // extend
	Justified *bool  `json:"justified,omitempty"` // review: required
}

// decode reads a body strictly.
func decode(r *http.Request, to any) error {
	bad := func(status int, code, detail string) error {
		return &Refusal{Status: status, Code: code, Detail: detail}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bad(415, "content_type", "the body must be application/json")
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return bad(400, "body_unreadable", "the body could not be read")
	}
	if len(raw) > maxBody {
		return bad(413, "request_too_large", fmt.Sprintf("the body has more than %d bytes", maxBody))
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return bad(400, "body_malformed", "the body is not what this takes: "+err.Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad(400, "body_malformed", "the body holds more than one value")
	}
	return nil
}

// refuse tells an error as problem+json (RFC 9457). What is not a refusal is told without its text.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refused *Refusal
	if !errors.As(err, &refused) {
		if !errors.Is(err, context.Canceled) {
			s.cfg.Logger.ErrorContext(r.Context(), "an access request failed", "path", r.URL.Path, "error", err)
		}
		refused = &Refusal{Status: 500, Code: "internal", Detail: "the control plane could not do it; try again, and tell your operator if it stays so"}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(refused.Status)
	_ = json.NewEncoder(w).Encode(struct {
		Type  string `json:"type"`
		Title string `json:"title"`
		*Refusal
	}{"about:blank", http.StatusText(refused.Status), refused})
}
