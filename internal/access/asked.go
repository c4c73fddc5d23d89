package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// AskedVersion is the integer version of Asked's form. History: 1 (2026-11) first.
const AskedVersion = 1

// Asked is what somebody asks for. It never changes: what is approved is its digest. Scope fields that are empty do not narrow.
type Asked struct {
	Version   int      `json:"v"`
	ID        string   `json:"id"`        // of the request
	Principal string   `json:"principal"` // for whom
	Login     string   `json:"login"`
	Namespace string   `json:"namespace"`
	Role      string   `json:"role,omitempty"`    // a role, or
	Actions   []string `json:"actions,omitempty"` // sorted names of single actions

	WorkflowType string `json:"workflow_type,omitempty"`
	WorkflowID   string `json:"workflow_id,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	TaskQueue    string `json:"task_queue,omitempty"`

	Seconds    int64  `json:"seconds"` // how long; for an extension, how much longer
	Reason     string `json:"reason"`
	BreakGlass bool   `json:"break_glass,omitempty"`
	Extension  int    `json:"extension,omitempty"` // number of the extension, from 1; 0 for the request itself
}

// Limits of what can be asked.
const (
	maxReason  = 1000 // bytes
	maxActions = 20
	maxField   = 1000 // bytes of a workflow id and its like
	minSeconds = 60
	maxSeconds = 30 * 24 * 3600 // whatever policies say
)

// Digest is the SHA-256 (hex) of Asked as one line of JSON: the fields in the order above, no spaces, no HTML escaping, no line end.
func (a Asked) Digest() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return "" // strings and numbers always encode; nothing is bound to an empty digest
	}
	sum := sha256.Sum256(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return hex.EncodeToString(sum[:])
}

// Duration is how long, as asked.
func (a Asked) Duration() time.Duration { return time.Duration(a.Seconds) * time.Second }

// For is how long, as people write it: "30m", "1h30m", "2d".
func (a Asked) For() string { return Spell(a.Duration()) }

// Spell writes a duration without the zeros that time.Duration prints, and whole days from two on as days.
func Spell(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 1 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", days)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// What says in a few words what is asked for, such as "write in payments".
func (a Asked) What() string {
	what := a.Role
	if what == "" {
		what = strings.Join(a.Actions, ", ")
	}
	what += " in " + a.Namespace
	for _, part := range []struct{ name, value string }{{"type", a.WorkflowType}, {"workflow", a.WorkflowID}, {"run", a.RunID}, {"task queue", a.TaskQueue}} {
		if part.value != "" {
			what += ", " + part.name + " " + part.value
		}
	}
	return what
}

// resource is what the policies are asked about.
func (a Asked) resource() policy.Resource {
	return policy.Resource{Namespace: a.Namespace, WorkflowType: a.WorkflowType, WorkflowID: a.WorkflowID, RunID: a.RunID, TaskQueue: a.TaskQueue}
}

// grant is the permission that comes of it.
func (a Asked) grant(digest string, approvers []string, from, until time.Time) *standing.Grant {
	return &standing.Grant{
		ID: grantID(a.ID), Principal: a.Principal, Login: a.Login, Namespace: a.Namespace, Role: a.Role, Actions: a.Actions,
		WorkflowType: a.WorkflowType, WorkflowID: a.WorkflowID, RunID: a.RunID, TaskQueue: a.TaskQueue,
		NotBefore: from.Add(-clockTolerance), Expires: until, BreakGlass: a.BreakGlass, Reason: a.Reason, Request: a.ID, Digest: digest, Approvers: approvers,
	}
}

// clockTolerance is how far a gate's clock may be behind ours so that a grant holds as soon as it arrives. Its end has no tolerance.
const clockTolerance = 5 * time.Minute

// grantID names the grant of a request.
func grantID(request string) string { return "grant-" + strings.TrimPrefix(request, "ar-") }

// check refuses what can't be asked, with a code.
func (a *Asked) check(knownAction func(string) bool) *Refusal {
	bad := func(code, format string, args ...any) *Refusal {
		return &Refusal{Status: 400, Code: code, Detail: fmt.Sprintf(format, args...), Next: "see: bailiwick access request --help"}
	}
	if a.Namespace == "" {
		return bad("namespace_missing", "the request names no namespace")
	}
	if (a.Role == "") == (len(a.Actions) == 0) {
		return bad("role_or_actions", "name either a role (%s) or single actions", strings.Join(Roles(), ", "))
	}
	if a.Role != "" && !slices.Contains(Roles(), a.Role) {
		return bad("role_unknown", "%.40q is no role; there are %s", a.Role, strings.Join(Roles(), ", "))
	}
	if len(a.Actions) > maxActions {
		return bad("too_many_actions", "%d actions; %d are possible in one request", len(a.Actions), maxActions)
	}
	for _, name := range a.Actions {
		if strings.HasPrefix(name, "Access.") || knownAction != nil && !knownAction(name) {
			return bad("action_unknown", "%.80q is no action; actions are Temporal's methods, such as TerminateWorkflowExecution", name)
		}
	}
	if a.RunID != "" && a.WorkflowID == "" {
		return bad("workflow_missing", "a run is named without its workflow id")
	}
	for name, v := range map[string]string{"namespace": a.Namespace, "workflow type": a.WorkflowType, "workflow id": a.WorkflowID, "run id": a.RunID, "task queue": a.TaskQueue} {
		if len(v) > maxField || !plain(v) {
			return bad("scope_malformed", "the %s is longer than %d bytes or has control or invisible characters", name, maxField)
		}
	}
	if r := checkReason(a.Reason); r != nil {
		return r
	}
	if a.Seconds < minSeconds {
		return bad("duration_too_short", "%d s is too short: a minute is the least", a.Seconds)
	}
	if a.Seconds > maxSeconds {
		return bad("duration_over_limit", "%s is too long: 30 days is the most that anybody can ask for", a.For())
	}
	return nil
}

// checkReason refuses a reason that says nothing or that no approver could read.
func checkReason(reason string) *Refusal {
	switch {
	case strings.TrimSpace(reason) == "":
		return &Refusal{Status: 400, Code: "reason_missing", Detail: "the request gives no reason", Next: `say what it is for with --reason "…"`}
	case len(reason) > maxReason:
		return &Refusal{Status: 400, Code: "reason_too_long", Detail: fmt.Sprintf("the reason has %d bytes; %d are possible", len(reason), maxReason), Next: "say it shorter, and name the ticket that has the rest"}
	case !plain(reason):
		return &Refusal{Status: 400, Code: "reason_malformed", Detail: "the reason has line breaks, control or invisible characters, or is not UTF-8", Next: "write it as one line of text"}
	}
	return nil
}

// plain keeps out what would change how a line is shown.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) })
}

// Refusal is a no with a stable code. Status is HTTP's.
type Refusal struct {
	Status   int    `json:"status"`
	Code     string `json:"code"`
	Detail   string `json:"detail"`
	Next     string `json:"next,omitempty"`
	Decision string `json:"decision,omitempty"` // audit entry to ask about
	Missing  string `json:"missing,omitempty"`
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// uid is the identity provider's id within a principal.
func uid(principal string) string {
	return principal[strings.LastIndexByte(principal, '|')+1:]
}
