package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Decider decides about a caller, and keeps a record of it; control.Plane does. id is the audit entry's.
type Decider interface {
	Decide(ctx context.Context, who identity.Identity, r policy.Request) (d policy.Decision, id string)
}

// Uses finds the calls that were made under a grant, oldest first, in the record of every gate: one more than MaxUses is enough.
type Uses interface {
	Uses(ctx context.Context, grant string) ([]Use, error)
}

// Config says what the service works with. The first four are required.
type Config struct {
	Decider         Decider
	Judge           Judge
	Recorder        Recorder
	Publisher       Publisher
	Grants          Grants                   // the live grants of the feed, for the janitor; default none
	Standing        Standing                 // default none: what people had when they asked and approved counts
	Directory       Directory                // default none, likewise
	Groups          Groups                   // default none: no Okta back end
	Notifier        Notifier                 // default none
	Uses            Uses                     // default none: a request does not show what was done under it
	Settings        Settings                 // of access.yaml
	CheckNamespaces bool                     // refuse requests for namespaces that the server does not have
	Known           func(action string) bool // whether a Temporal method of that name exists; default policy.LookupAction
	Clock           func() time.Time         // default time.Now
	Logger          *slog.Logger             // default discards
}

// Service is access requests. It serves as soon as Connect was called; until then it says that it can't.
type Service struct {
	cfg    Config
	hub    hub
	client atomic.Pointer[client.Client]
}

// New makes a service.
func New(cfg Config) (*Service, error) {
	if cfg.Decider == nil || cfg.Judge == nil || cfg.Recorder == nil || cfg.Publisher == nil {
		return nil, errors.New("making the access service: Decider, Judge, Recorder and Publisher are all required")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Known == nil {
		cfg.Known = func(name string) bool { _, ok := policy.LookupAction(name); return ok }
	}
	if cfg.Settings.Rules == (Rules{}) { // no settings at all
		cfg.Settings.Rules = DefaultRules()
	}
	for _, g := range cfg.Settings.Groups {
		if cfg.Groups == nil {
			return nil, fmt.Errorf("making the access service: access.yaml lets group %s carry %s in %s, and no identity provider is configured to change memberships", g.Group, g.Role, g.Namespace)
		}
	}
	return &Service{cfg: cfg}, nil
}

// Connect gives the service its client of Temporal, which must be in Namespace and act as the control plane.
func (s *Service) Connect(c client.Client) { s.client.Store(&c) }

// errUnavailable means that requests can't be reached now.
var errUnavailable = &Refusal{Status: 503, Code: "access_unavailable", Detail: "Temporal, which keeps the requests, does not answer", Next: "try again in a moment; grants that are in force go on, and end in time"}

func (s *Service) temporal() (client.Client, error) {
	if c := s.client.Load(); c != nil {
		return *c, nil
	}
	return nil, errUnavailable
}

// newID names a request: "ar-" and 12 letters and digits (60 bits), random, or the same for the same key of the same person.
func newID(principal, key string) string {
	raw := make([]byte, 8)
	if key == "" {
		_, _ = rand.Read(raw) // never fails (crypto/rand)
	} else {
		sum := sha256.Sum256([]byte("access request\x00" + principal + "\x00" + key))
		copy(raw, sum[:])
	}
	return "ar-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)[:12])
}

// isID keeps what is no id of ours away from Temporal.
func isID(id string) bool {
	rest, ok := strings.CutPrefix(id, "ar-")
	return ok && len(rest) == 12 && !strings.ContainsFunc(rest, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') })
}

// start makes the workflow. Starting the same case twice is starting it once.
func (s *Service) start(ctx context.Context, c Case) error {
	t, err := s.temporal()
	if err != nil {
		return err
	}
	_, err = t.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: c.Asked.ID, TaskQueue: TaskQueue, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary: c.Asked.What() + " for " + c.Asked.Login,
	}, WorkflowName, c)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return &Refusal{Status: 409, Code: "already_requested", Detail: "request " + c.Asked.ID + " exists", Next: "bailiwick access show " + c.Asked.ID}
	}
	return s.down(ctx, err, "starting the request")
}

// Get reads a request as it is now.
func (s *Service) Get(ctx context.Context, id string) (r Request, err error) {
	if !isID(id) {
		return r, notFound(id)
	}
	t, err := s.temporal()
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v, err := t.QueryWorkflow(ctx, id, "", queryState)
	if err != nil {
		return r, named(s.down(ctx, err, "reading request "+id), id)
	}
	if err := v.Get(&r); err != nil {
		return r, fmt.Errorf("reading request %s: %w", id, err)
	}
	return r, nil
}

func notFound(id string) *Refusal {
	return &Refusal{Status: 404, Code: "request_unknown", Detail: fmt.Sprintf("there is no request %.40q, or not any more: old ones are in the audit log only", id), Next: "bailiwick access list; or: bailiwick audit query --kind access"}
}

// act sends an update and waits for its outcome. Who sends the same again is told the same outcome.
func (s *Service) act(ctx context.Context, id, update, key string, a Act) (r Request, err error) {
	if !isID(id) {
		return r, notFound(id)
	}
	t, err := s.temporal()
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	h, err := t.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateID: key, UpdateName: update, Args: []any{a}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = h.Get(ctx, &r)
	}
	s.hub.stir(id)
	return r, named(s.down(ctx, err, update+" of request "+id), id)
}

// named puts the request's id into what a refusal says.
func named(err error, id string) error {
	var refused *Refusal
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case "request_unknown":
		return notFound(id)
	case "already_ended", "not_pending", "not_active":
		told := *refused
		if told.Next == seeIt {
			told.Next += " " + id
		}
		return &told
	}
	return err
}

// down tells a refusal of the workflow, an unknown request and a Temporal that does not answer from each other.
func (s *Service) down(ctx context.Context, err error, doing string) error {
	if err == nil {
		return nil
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		r := Refusal{}
		if app.HasDetails() && app.Details(&r) == nil && r.Code != "" {
			return &r
		}
	}
	var missing *serviceerror.NotFound
	if errors.As(err, &missing) {
		if strings.Contains(missing.Error(), "already completed") {
			return conflict("already_ended", "the request has ended: there is nothing to decide")
		}
		return notFound("")
	}
	s.cfg.Logger.ErrorContext(ctx, "Temporal did not do what access requests need", "doing", doing, "error", err)
	return errUnavailable
}

// Filter chooses requests.
type Filter struct {
	States    []State
	Namespace string
	Login     string // of the requester
	Open      bool   // only those that have not ended, or wait for a review
	Limit     int    // default 100
}

// maxScanned bounds how many runs a list looks at.
const maxScanned = 5000

// list reads requests, newest first, as their memos have them: some moments old. keep is asked about each.
func (s *Service) list(ctx context.Context, f Filter, keep func(*Request) bool) (out []Request, err error) {
	t, err := s.temporal()
	if err != nil {
		return nil, err
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	q := "WorkflowType = '" + WorkflowName + "'"
	if f.Open {
		q += " AND ExecutionStatus = 'Running'"
	}
	req := &workflowservice.ListWorkflowExecutionsRequest{PageSize: 200, Query: q} // in the namespace of the client
	for scanned := 0; scanned < maxScanned; {
		res, err := t.ListWorkflow(ctx, req)
		if err != nil {
			return nil, s.down(ctx, err, "listing requests")
		}
		for _, e := range res.GetExecutions() {
			scanned++
			r, ok := remembered(e)
			if ok && f.matches(&r) && (keep == nil || keep(&r)) {
				if out = append(out, r); len(out) == f.Limit {
					return out, nil
				}
			}
		}
		if req.NextPageToken = res.GetNextPageToken(); len(req.NextPageToken) == 0 {
			return out, nil
		}
	}
	return out, nil
}

func remembered(e *workflowpb.WorkflowExecutionInfo) (r Request, ok bool) {
	p := e.GetMemo().GetFields()[memoKey]
	return r, p != nil && converter.GetDefaultDataConverter().FromPayload(p, &r) == nil && r.Asked.ID == e.GetExecution().GetWorkflowId()
}

func (f *Filter) matches(r *Request) bool {
	if f.Namespace != "" && r.Asked.Namespace != f.Namespace || f.Login != "" && !strings.EqualFold(r.Asked.Login, f.Login) {
		return false
	}
	for _, s := range f.States {
		if r.State == s {
			return true
		}
	}
	return len(f.States) == 0
}

// room refuses who has as many open requests as anybody may have. Lists are some moments old, so that a burst may go over it by a few.
func (s *Service) room(ctx context.Context, principal string) error {
	most := s.cfg.Settings.MaxOpen
	if most == 0 {
		most = DefaultMaxOpen
	}
	open, err := s.list(ctx, Filter{Open: true, Limit: most}, func(r *Request) bool {
		return r.Asked.Principal == principal && !r.Asked.BreakGlass && !r.State.Ended()
	})
	if err != nil {
		return err
	}
	if len(open) >= most {
		return &Refusal{Status: 429, Code: "too_many_requests", Detail: fmt.Sprintf("you have %d open requests, as many as anybody may have", len(open)), Next: "withdraw or return what you don't need: bailiwick access list"}
	}
	return nil
}

// holders are other requests that hold a membership now.
func (s *Service) holders(ctx context.Context, m Membership) ([]Request, error) {
	return s.list(ctx, Filter{Open: true}, func(r *Request) bool {
		return r.Asked.ID != m.Request && r.Backend == Okta && r.Group == m.Group && uid(r.Asked.Principal) == m.User && (r.State == Active || r.State == Approved)
	})
}

// RevokePerson ends every request of a principal: somebody left, or lost access. It returns how many it ended.
func (s *Service) RevokePerson(ctx context.Context, principal string, by identity.Claims, why string) (n int, err error) {
	open, err := s.list(ctx, Filter{Open: true, Limit: maxScanned}, func(r *Request) bool { return r.Asked.Principal == principal && !r.State.Ended() })
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, r := range open {
		_, err := s.act(ctx, r.Asked.ID, updateRevoke, "", Act{By: by, At: s.cfg.Clock(), Comment: why})
		var refused *Refusal
		switch {
		case err == nil:
			n++
		case errors.As(err, &refused) && refused.Code == "already_ended":
		default:
			failed = append(failed, err)
		}
	}
	return n, errors.Join(failed...)
}
