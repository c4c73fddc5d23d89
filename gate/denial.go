package gate

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/errordetails/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// ErrorDomain is the domain of the google.rpc.ErrorInfo that a denial carries.
const ErrorDomain = "bailiwick"

// Reason codes of the gate itself; tokens add identity's codes and decisions add policy's.
const (
	CodeBadRequest       = "bad_request"
	CodeUnknownMethod    = "unknown_method"
	CodeAuditUnavailable = "audit_unavailable"
	CodeNotFound         = "not_found"
	CodeRunUnknown       = "run_unknown" // a worker's answer can't be attested while the run's first event can't be read
)

// Denial is a refused call: what the caller is told, and for operators the cause.
type Denial struct {
	Code       string // stable reason code
	Message    string // for the caller: what was refused, why, and what to do next
	Missing    string // the permission that would have helped, such as "write in payments"; empty when none would
	Hint       string // what the caller can do, such as "ask for the group temporal:payments:write"; Message says it too
	DecisionID string // the audit entry to ask about
	Cause      error  // operators only; never sent
	grpc       codes.Code
}

func (d *Denial) Error() string { return d.Code + ": " + d.Message }

func (d *Denial) Unwrap() error { return d.Cause }

// GRPCStatus is the status that a caller gets. Details: Temporal's PermissionDeniedFailure for its SDKs, and a google.rpc.ErrorInfo with the
// code as reason and "missing", "hint" and "decision" as metadata for programs.
func (d *Denial) GRPCStatus() *status.Status {
	st := status.New(d.grpc, fmt.Sprintf("%s: %s (decision %s)", d.Code, d.Message, d.DecisionID))
	info := &errdetails.ErrorInfo{Reason: d.Code, Domain: ErrorDomain, Metadata: map[string]string{"decision": d.DecisionID}}
	if d.Missing != "" {
		info.Metadata["missing"] = d.Missing
	}
	if d.Hint != "" {
		info.Metadata["hint"] = d.Hint
	}
	var with *status.Status
	var err error
	if d.grpc == codes.PermissionDenied {
		with, err = st.WithDetails(&errordetails.PermissionDeniedFailure{Reason: d.Error()}, info)
	} else {
		with, err = st.WithDetails(info)
	}
	if err != nil {
		return st
	}
	return with
}

func denyToken(id string, err error) *Denial {
	var ierr *identity.Error
	if !errors.As(err, &ierr) {
		return &Denial{Code: "token_unverifiable", Message: "the token could not be verified; try again, and tell your operator if it stays so", DecisionID: id, Cause: err, grpc: codes.Unavailable}
	}
	d := &Denial{Code: string(ierr.Code), Message: ierr.Detail, DecisionID: id, Cause: ierr.Cause, grpc: codes.Unauthenticated}
	switch ierr.Code {
	case identity.CodeKeysUnavailable:
		d.grpc = codes.Unavailable
	case identity.CodeTokenMissing:
		d.Message += "; log in with: bailiwick login"
	}
	return d
}

func denyRequest(id string, err error) *Denial {
	return &Denial{Code: CodeBadRequest, Message: err.Error(), DecisionID: id, grpc: codes.InvalidArgument}
}

func denyUnknown(id, method string) *Denial {
	return &Denial{Code: CodeUnknownMethod, Message: fmt.Sprintf("method %q is not one that this gate knows, so it is refused", clip(method, 128)), DecisionID: id, grpc: codes.PermissionDenied}
}

func denyAudit(id string) *Denial {
	return &Denial{Code: CodeAuditUnavailable, Message: "the call was allowed but could not be recorded, so it was refused; try again, and tell your operator that the audit journal cannot be written",
		DecisionID: id, grpc: codes.Unavailable}
}

func denyPolicy(id string, c *identity.Claims, a *ask, d policy.Decision) *Denial {
	var b strings.Builder
	fmt.Fprintf(&b, "%s may not %s", c.Login, a.verb())
	if t := a.resource.WorkflowType; t != "" {
		fmt.Fprintf(&b, " %q", clip(t, 64))
	}
	if ns := a.resource.Namespace; ns != "" {
		fmt.Fprintf(&b, " in namespace %q", clip(ns, 64))
	}
	for _, r := range d.Reasons {
		b.WriteString("; " + r)
	}
	if d.Missing != "" {
		fmt.Fprintf(&b, "; missing permission: %s", d.Missing)
	}
	if d.Hint != "" {
		fmt.Fprintf(&b, "; %s", d.Hint)
	}
	return &Denial{Code: string(d.Code), Message: b.String(), Missing: d.Missing, Hint: d.Hint, DecisionID: id, grpc: codes.PermissionDenied}
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
