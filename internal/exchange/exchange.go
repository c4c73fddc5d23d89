// Package exchange trades an access token and a description of one act for the attestation of that act (RFC 8693, RFC 9396): what clients use
// where no gate stands between them and Temporal.
//
// It owns the token endpoint's form and errors. It decides nothing: it makes the Temporal request that the act would be, and asks the gate as
// the server plugin does, so that policy, record and statement are the same. It refuses to know Temporal servers, and never hands out
// anything that can be used to call one.
package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"

	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// The identifiers of this exchange.
const (
	GrantType       = "urn:ietf:params:oauth:grant-type:token-exchange"
	SubjectType     = "urn:ietf:params:oauth:token-type:access_token"
	AttestationType = "urn:bailiwick:params:oauth:token-type:attestation"
)

// Codes of this endpoint's own refusals; the gate adds its own.
const (
	codeRequest = "exchange_request" // the form
	codeDetails = "exchange_details" // authorization_details
)

const maxBody = 64 << 10

// Gate is what the exchange needs of one; gate.Gate does.
type Gate interface {
	Admit(context.Context, gate.Call) (*gate.Admission, error)
	Stamp(*gate.Admission, any) error
}

// Handler is the token endpoint, for POST alone.
func Handler(g Gate, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &endpoint{gate: g, log: log}
}

type endpoint struct {
	gate Gate
	log  *slog.Logger
}

// answer is a successful response (RFC 8693 section 2.2.1). The attestation stands under the name that the RFC gives whatever was issued; the
// token type says that it gives access to nothing.
type answer struct {
	AccessToken string `json:"access_token"`
	IssuedType  string `json:"issued_token_type"`
	TokenType   string `json:"token_type"` // "N_A"
	Decision    string `json:"decision"`   // id of the audit entry
}

// refusal is an error response (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Code        string `json:"code"` // stable, more telling than error
	Missing     string `json:"missing,omitempty"`
	Hint        string `json:"hint,omitempty"`
	Decision    string `json:"decision,omitempty"`
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		write(w, http.StatusMethodNotAllowed, refusal{Error: "invalid_request", Code: codeRequest, Description: "send a POST"})
		return
	}
	form, err := readForm(w, r)
	if err != nil {
		write(w, http.StatusBadRequest, refusal{Error: "invalid_request", Code: codeRequest, Description: err.Error()})
		return
	}
	if got := form.Get("grant_type"); got != GrantType {
		write(w, http.StatusBadRequest, refusal{Error: "unsupported_grant_type", Code: codeRequest, Description: "the grant_type must be " + GrantType})
		return
	}
	if err := checkForm(form); err != nil {
		write(w, http.StatusBadRequest, refusal{Error: "invalid_request", Code: codeRequest, Description: err.Error()})
		return
	}
	act, err := parseAct(form.Get("authorization_details"))
	if err != nil {
		write(w, http.StatusBadRequest, refusal{Error: "invalid_authorization_details", Code: codeDetails, Description: err.Error()})
		return
	}
	e.issue(w, r, form.Get("subject_token"), act)
}

// issue asks the gate. Nothing is handed out that is not on record.
func (e *endpoint) issue(w http.ResponseWriter, r *http.Request, token string, act act) {
	method, request, header := act.request()
	call := gate.Call{Method: method, Request: request, Authorization: []string{"Bearer " + token}, Source: netaddr.Source(r)}
	if act.Reason != "" {
		call.Reason = []string{act.Reason}
	}
	if act.Grant != "" {
		call.Grant = []string{act.Grant}
	}
	admission, err := e.gate.Admit(r.Context(), call)
	if err != nil {
		e.refuse(w, r, err)
		return
	}
	if err := e.gate.Stamp(admission, request); err != nil {
		e.refuse(w, r, err)
		return
	}
	raw, ok := attest.FromPayload(header().GetFields()[attest.HeaderKey])
	if !ok {
		e.refuse(w, r, errors.New("the gate made no statement"))
		return
	}
	write(w, http.StatusOK, answer{AccessToken: raw, IssuedType: AttestationType, TokenType: "N_A", Decision: admission.ID()})
}

// refuse tells a denial. A token that is not accepted is an invalid_request by RFC 8693 section 2.2.2; an act that policy forbids is
// access_denied (RFC 6749 section 4.1.2.1, at a token endpoint as in RFC 8628).
func (e *endpoint) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var d *gate.Denial
	if !errors.As(err, &d) {
		e.log.ErrorContext(r.Context(), "an exchange failed", "error", err)
		write(w, http.StatusInternalServerError, refusal{Error: "server_error", Code: "internal", Description: "the exchange failed; try again, and tell your operator if it stays so"})
		return
	}
	out := refusal{Code: d.Code, Description: d.Message, Missing: d.Missing, Hint: d.Hint, Decision: d.DecisionID}
	status := http.StatusBadRequest
	switch d.GRPCStatus().Code() {
	case codes.PermissionDenied, codes.NotFound:
		out.Error, status = "access_denied", http.StatusForbidden
	case codes.Unavailable:
		out.Error, status = "temporarily_unavailable", http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	default: // the token, or what the gate makes of the request
		out.Error = "invalid_request"
	}
	write(w, status, out)
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errors.New("the body must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, errors.New("the body could not be read, or is over 64 KB")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the body is not a form")
	}
	for name, values := range form {
		if len(values) > 1 { // RFC 6749 section 3.2
			return nil, errors.New("the parameter " + clip(name) + " is there more than once")
		}
	}
	return form, nil
}

func checkForm(form url.Values) error {
	switch {
	case form.Get("subject_token") == "":
		return errors.New("there is no subject_token")
	case form.Get("subject_token_type") != SubjectType:
		return errors.New("the subject_token_type must be " + SubjectType)
	case form.Get("requested_token_type") != AttestationType:
		return errors.New("the requested_token_type must be " + AttestationType)
	case form.Has("actor_token") || form.Has("actor_token_type"):
		return errors.New("actor tokens are not taken: let the issuer put the delegation into the subject token (act, RFC 8693 section 4.1)")
	case form.Has("scope") || form.Has("resource") || form.Has("audience"):
		return errors.New("scope, resource and audience mean nothing here: the act is described in authorization_details")
	}
	return nil
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body)
}
