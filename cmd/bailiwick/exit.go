package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// The exit codes; `bailiwick --help` documents them.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitDenied   = 3
	exitUnproven = 4
)

// usageError is a wrong command line.
type usageError struct {
	err     error
	command string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage makes an argument check's errors usage errors.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &usageError{err, c.CommandPath()}
		}
		return nil
	}
}

func badUsage(c *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), c.CommandPath()}
}

// unproven is a verification that found something wrong. The command has printed what; detail sums it up.
type unproven struct{ detail string }

func (e *unproven) Error() string { return e.detail }

// coded is a failure with a stable reason code and a fix, for programs and people.
type coded struct {
	Code string `json:"error"`
	Text string `json:"detail"`
	Fix  string `json:"fix,omitempty"`
	Port int    `json:"port,omitempty"`
	Path string `json:"path,omitempty"`
	PID  int    `json:"pid,omitempty"`
	exit int
}

func (e *coded) Error() string { return e.Code + ": " + e.Text }

// denial is a gate's refusal as it arrived here.
type denial struct {
	code, text, missing, hint, decision string
}

// denied finds a gate's refusal in an error that came over gRPC, through the SDK or not.
func denied(err error) (denial, bool) {
	st := statusOf(err)
	if st == nil {
		return denial{}, false
	}
	d := denial{text: st.Message()}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == gate.ErrorDomain {
			said := info.GetMetadata()
			d.code, d.missing, d.hint, d.decision = info.GetReason(), said["missing"], said["hint"], said["decision"]
		}
	}
	if d.code == "" && st.Code() != codes.PermissionDenied && st.Code() != codes.Unauthenticated {
		return denial{}, false
	}
	if d.code == gate.CodeBadRequest {
		return denial{}, false // the request was wrong, not the caller
	}
	d.text = strings.TrimPrefix(d.text, d.code+": ")
	d.text = strings.TrimSuffix(d.text, " (decision "+d.decision+")")
	// What has a line of its own is not said twice.
	if d.hint != "" {
		d.text = strings.TrimSuffix(d.text, "; "+d.hint)
	}
	if d.missing != "" {
		d.text = strings.TrimSuffix(d.text, "; missing permission: "+d.missing)
	}
	if d.code == "" {
		d.code = "denied"
	}
	return d, true
}

func statusOf(err error) *status.Status {
	var sdk interface{ Status() *status.Status } // what Temporal's SDK makes of a status
	if errors.As(err, &sdk) {
		return sdk.Status()
	}
	var plain interface{ GRPCStatus() *status.Status }
	if errors.As(err, &plain) {
		return plain.GRPCStatus()
	}
	return nil
}

// next is what to do about a denial that does not say so itself.
func (d denial) next() string {
	switch {
	case d.hint != "":
		return d.hint
	case d.code == "token_expired", d.code == "token_missing":
		return "run: bailiwick login"
	case strings.HasPrefix(d.code, "token_"):
		return "run: bailiwick login; if that does not help, tell your operator the reason code"
	case d.code == gate.CodeAuditUnavailable, d.code == "keys_unavailable":
		return "try again in a moment; it is the server's trouble, not yours"
	case d.missing != "":
		return "ask whoever administers the namespace for it; `bailiwick whoami` shows what you have"
	}
	return ""
}

func outOfTime(err error) bool {
	st := statusOf(err)
	return errors.Is(err, context.DeadlineExceeded) || st != nil && st.Code() == codes.DeadlineExceeded
}

// report prints an error and returns the exit code.
func (a *app) report(err error) int {
	if last := a.refusal.Load(); last != nil && outOfTime(err) {
		err = *last
	}
	if d, ok := denied(err); ok {
		a.reportDenial(d)
		return exitDenied
	}
	var (
		ue *usageError
		un *unproven
		co *coded
	)
	switch {
	case errors.As(err, &un):
		if !a.asJSON { // with --json the answer itself says it
			fmt.Fprintln(a.errs, a.errs.red("verification failed: ")+safe(un.detail))
		}
		return exitUnproven
	case errors.As(err, &ue):
		if a.asJSON {
			_ = a.errs.json(map[string]string{"error": "usage", "detail": ue.Error()})
			return exitUsage
		}
		fmt.Fprintf(a.errs, "%s%s\nrun: %s --help\n", a.errs.red("error: "), safe(ue.Error()), ue.command)
		return exitUsage
	case errors.As(err, &co):
		if a.asJSON {
			_ = a.errs.json(co)
		} else {
			fmt.Fprintf(a.errs, "%s%s\n", a.errs.red("error: "), safeLines(co.Error()))
			if co.Fix != "" {
				fmt.Fprintf(a.errs, "  next: %s\n", safeLines(co.Fix))
			}
		}
		if co.exit != 0 {
			return co.exit
		}
		return exitError
	case errors.Is(err, login.ErrNotLoggedIn):
		a.reportDenial(denial{code: "not_logged_in", text: "you are not logged in"})
		return exitDenied
	case errors.Is(err, login.ErrLoginExpired):
		a.reportDenial(denial{code: "login_expired", text: "your login has expired or was revoked"})
		return exitDenied
	case errors.Is(err, login.ErrDenied):
		a.reportDenial(denial{code: "sign_in_refused", text: err.Error()})
		return exitDenied
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(a.errs, "interrupted")
		return exitError
	}
	if a.asJSON {
		code := "failed"
		if st := statusOf(err); st != nil && strings.HasPrefix(st.Message(), gate.CodeBadRequest+": ") {
			code = gate.CodeBadRequest
		}
		_ = a.errs.json(map[string]string{"error": code, "detail": err.Error()})
	} else {
		fmt.Fprintf(a.errs, "%s%s\n", a.errs.red("error: "), safeLines(err.Error()))
	}
	return exitError
}

// canExplain reports whether a refusal was one of policy and its record is here to read.
func (a *app) canExplain(d denial) bool {
	where, err := a.where()
	return err == nil && d.decision != "" && (where.JournalDir != "" || len(where.Journals) > 0 || where.LogDir != "") &&
		slices.Contains([]policy.Code{policy.CodeNoPermission, policy.CodeForbidden, policy.CodeObligation, policy.CodeUnresolved, policy.CodePolicyError}, policy.Code(d.code))
}

func (a *app) reportDenial(d denial) {
	next := d.next()
	switch d.code {
	case "not_logged_in", "login_expired":
		next = "run: bailiwick login"
	}
	if a.asJSON {
		_ = a.errs.json(struct {
			Error    string `json:"error"`
			Detail   string `json:"detail"`
			Missing  string `json:"missing,omitempty"`
			Decision string `json:"decision,omitempty"`
			Fix      string `json:"fix,omitempty"`
		}{d.code, d.text, d.missing, d.decision, next})
		return
	}
	w := a.errs
	fmt.Fprintf(w, "%s%s\n", w.red("refused: "), safeLines(d.text))
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "  %s %s\n", w.dim(fmt.Sprintf("%-9s", k)), safe(v))
		}
	}
	row("reason", d.code)
	row("missing", d.missing)
	if d.decision != "" {
		row("decision", d.decision+"  (bailiwick audit show "+d.decision+")")
	}
	if a.canExplain(d) {
		row("why", "bailiwick policy explain --decision "+d.decision)
	}
	row("next", next)
}
