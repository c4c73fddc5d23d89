package access

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Mounter is where the API is served; control.Plane is one.
type Mounter interface {
	Handle(pattern string, h http.Handler)
	Authenticated(f func(http.ResponseWriter, *http.Request, identity.Identity)) http.Handler
}

// Mount serves the API. Callers send an access token; what they may do is decided by policy, and recorded, at each call.
//
//	POST /v1/access/requests                 asks                          Access.Request
//	GET  /v1/access/requests                 lists, newest first           Access.View, for each namespace
//	GET  /v1/access/requests/{id}            shows                         Access.View
//	GET  /v1/access/requests/{id}/uses       what was done under it        Access.View
//	GET  /v1/access/requests/{id}/watch      server-sent events            Access.View
//	POST /v1/access/requests/{id}/approve    and deny                      Access.Approve
//	POST /v1/access/requests/{id}/withdraw   and return: one's own         Access.Revoke
//	POST /v1/access/requests/{id}/extend     one's own                     Access.Request
//	POST /v1/access/requests/{id}/revoke     anybody's                     Access.Revoke
//	POST /v1/access/requests/{id}/review     of break-glass                Access.Review
func (s *Service) Mount(m Mounter) {
	handle := func(pattern string, f func(*http.Request, identity.Identity) (status int, answer any, err error)) {
		m.Handle(pattern, m.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
			status, answer, err := f(r, who)
			if err != nil {
				s.refuse(w, r, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(answer)
		}))
	}
	handle("POST /v1/access/requests", s.apiRequest)
	handle("GET /v1/access/requests", s.apiList)
	handle("GET /v1/access/requests/{id}", s.apiShow)
	handle("GET /v1/access/requests/{id}/uses", s.apiUses)
	m.Handle("GET /v1/access/requests/{id}/watch", m.Authenticated(s.apiWatch))
	for verb, v := range verbs {
		handle("POST /v1/access/requests/{id}/"+verb, func(r *http.Request, who identity.Identity) (int, any, error) { return s.apiAct(r, who, v) })
	}
}

// verb is something that can be done to a request.
type verb struct {
	update string
	action string // what policy is asked
	bound  bool   // to the digest of what the caller saw
}

var verbs = map[string]verb{
	"approve":  {updateApprove, ActionApprove, true},
	"deny":     {updateDeny, ActionApprove, true},
	"withdraw": {updateWithdraw, ActionRevoke, false},
	"return":   {updateReturn, ActionRevoke, false},
	"extend":   {updateExtend, ActionRequest, false},
	"revoke":   {updateRevoke, ActionRevoke, false},
	"review":   {updateReview, ActionReview, false},
}

func (s *Service) apiRequest(r *http.Request, who identity.Identity) (int, any, error) {
	var body AskBody
	if err := decode(r, &body); err != nil {
		return 0, nil, err
	}
	c := who.Claims()
	key := r.Header.Get("Idempotency-Key")
	if len(key) > 200 {
		return 0, nil, &Refusal{Status: 400, Code: "idempotency_key_too_long", Detail: "the Idempotency-Key has more than 200 bytes"}
	}
	slices.Sort(body.Actions)
	asked := Asked{Version: AskedVersion, ID: newID(c.Principal(), key), Principal: c.Principal(), Login: c.Login, Namespace: body.Namespace, Role: body.Role,
		Actions: slices.Compact(body.Actions), WorkflowType: body.WorkflowType, WorkflowID: body.WorkflowID, RunID: body.RunID, TaskQueue: body.TaskQueue,
		Seconds: body.Seconds, Reason: strings.TrimSpace(body.Reason), BreakGlass: body.BreakGlass}
	if refused := asked.check(s.cfg.Known); refused != nil {
		return 0, nil, refused
	}
	if key != "" { // sent again: the answer to the first
		if have, err := s.Get(r.Context(), asked.ID); err == nil {
			if have.Digest != asked.Digest() {
				return 0, nil, conflict("idempotency_key_reused", "that Idempotency-Key belongs to another request, %s", asked.ID)
			}
			return http.StatusOK, have, nil
		}
	}
	rules, d, id, err := s.terms(r, who, asked)
	if err != nil {
		return 0, nil, err
	}
	if refused := s.exists(r, c, asked.Namespace); refused != nil {
		return 0, nil, refused
	}
	if !asked.BreakGlass { // emergencies are not counted: they are loud by themselves
		if err := s.room(r.Context(), c.Principal()); err != nil {
			return 0, nil, err
		}
	}
	if asked.BreakGlass && rules.Approvals > 0 {
		return 0, nil, &Refusal{Status: 403, Code: "break_glass_not_allowed", Detail: "policy does not let you break this glass", Next: "ask without --break-glass", Decision: id}
	}
	backend, group := s.cfg.Settings.backend(&asked)
	cs := Case{Version: CaseVersion, Asked: asked, Digest: asked.Digest(), Requester: *c, At: s.cfg.Clock().UTC(), Rules: rules, Decision: id, Policies: d.Policies, Backend: backend, Group: group}
	if s.cfg.Notifier != nil {
		cs.Channels = s.cfg.Notifier.Channels()
	}
	if err := s.start(r.Context(), cs); err != nil {
		return 0, nil, err
	}
	if asked.BreakGlass {
		s.cfg.Logger.WarnContext(r.Context(), "glass is broken", "request", asked.ID, "login", c.Login, "namespace", asked.Namespace, "reason", asked.Reason)
	}
	have, err := s.Get(r.Context(), asked.ID)
	if err != nil { // it is made; only its state can't be told yet
		have = Request{ID: asked.ID, Asked: asked, Digest: cs.Digest, State: Pending, Requester: person(c), Created: cs.At, Needed: rules.Approvals, Backend: backend, Group: group, Policies: d.Policies}
	}
	return http.StatusCreated, have, nil
}

// terms asks policy whether somebody may ask for something, and on what terms.
func (s *Service) terms(r *http.Request, who identity.Identity, asked Asked) (rules Rules, d policy.Decision, id string, err error) {
	d, id, err = s.decide(r, who, ActionRequest, asked, who.Claims().Principal())
	if err != nil {
		return rules, d, id, err
	}
	if rules, err = s.cfg.Settings.Rules.with(d.Obligations); err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "policy's terms for a request can't be read", "error", err, "policies", d.Policies)
		return rules, d, id, &Refusal{Status: 403, Code: "policy_error", Detail: err.Error(), Next: "tell whoever edits the policies", Decision: id}
	}
	if rules.MaxSeconds > 0 && asked.Seconds > rules.MaxSeconds {
		return rules, d, id, &Refusal{Status: 403, Code: "duration_over_limit", Detail: fmt.Sprintf("policy allows %d minutes at most", rules.MaxSeconds/60), Next: fmt.Sprintf("ask for less: --for %dm", rules.MaxSeconds/60), Decision: id}
	}
	return rules, d, id, nil
}

// managerWait bounds how long the directory is waited for while somebody waits for an answer.
const managerWait = 3 * time.Second

// decide asks policy about the caller. A denial is a *Refusal.
func (s *Service) decide(r *http.Request, who identity.Identity, action string, asked Asked, requester string) (policy.Decision, string, error) {
	q := question(action, asked, who.Claims(), requester, s.cfg.Clock())
	q.Context.SourceIP = netaddr.Source(r)
	bounded, cancel := context.WithTimeout(r.Context(), managerWait)
	defer cancel()
	var err error
	if q.Context.Manager, err = s.manager(bounded, action, requester); err != nil { // then nobody is known to be their manager; others decide as ever
		s.cfg.Logger.WarnContext(r.Context(), "a request is decided without knowing the requester's manager", "error", err)
	}
	d, id := s.cfg.Decider.Decide(r.Context(), who, q)
	if d.Allow {
		return d, id, nil
	}
	detail := strings.Join(d.Reasons, "; ")
	if detail == "" {
		detail = "policy does not permit it"
	}
	return d, id, &Refusal{Status: 403, Code: string(d.Code), Detail: detail, Next: d.Hint, Missing: d.Missing, Decision: id}
}

// visible reads a request that the caller may see. Whether there is one that they may not see is not told.
func (s *Service) visible(r *http.Request, who identity.Identity) (Request, error) {
	have, err := s.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return have, err
	}
	if _, id, err := s.decide(r, who, ActionView, have.Asked, have.Asked.Principal); err != nil {
		hidden := notFound(r.PathValue("id"))
		hidden.Decision = id
		return Request{}, hidden
	}
	return have, nil
}

func (s *Service) apiShow(r *http.Request, who identity.Identity) (int, any, error) {
	have, err := s.visible(r, who)
	return http.StatusOK, have, err
}

func (s *Service) apiUses(r *http.Request, who identity.Identity) (int, any, error) {
	have, err := s.visible(r, who)
	if err != nil {
		return 0, nil, err
	}
	uses, more := []Use{}, false
	if s.cfg.Uses != nil && have.Grant != "" {
		found, err := s.cfg.Uses.Uses(r.Context(), have.Grant)
		if err != nil {
			return 0, nil, fmt.Errorf("reading what was done under %s: %w", have.Grant, err)
		}
		more = len(found) > MaxUses
		uses = append(uses, found[:min(len(found), MaxUses)]...)
	}
	return http.StatusOK, map[string]any{"request": have.Asked.ID, "grant": have.Grant, "uses": uses, "more": more}, nil
}

func (s *Service) apiList(r *http.Request, who identity.Identity) (int, any, error) {
	q := r.URL.Query()
	f := Filter{Namespace: q.Get("namespace"), Login: q.Get("login"), Open: q.Get("open") == "true"}
	for _, state := range q["state"] {
		if !slices.Contains(States(), State(state)) {
			return 0, nil, &Refusal{Status: 400, Code: "state_unknown", Detail: fmt.Sprintf("%.40q is no state", state)}
		}
		f.States = append(f.States, State(state))
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 1000 {
			return 0, nil, &Refusal{Status: 400, Code: "limit_out_of_bounds", Detail: "limit must be from 1 to 1000"}
		}
		f.Limit = n
	}
	// One decision for each namespace, and one for one's own in it, not one for each request.
	type kind struct {
		namespace string
		own       bool
	}
	may := map[kind]bool{}
	me := who.Claims().Principal()
	found, err := s.list(r.Context(), f, func(have *Request) bool {
		k := kind{have.Asked.Namespace, have.Asked.Principal == me}
		ok, asked := may[k]
		if !asked {
			requester := ""
			if k.own {
				requester = me
			}
			_, _, err := s.decide(r, who, ActionView, Asked{Namespace: k.namespace}, requester)
			ok = err == nil
			may[k] = ok
		}
		return ok
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"requests": append([]Request{}, found...)}, nil
}

func (s *Service) apiAct(r *http.Request, who identity.Identity, v verb) (int, any, error) {
	var body ActBody
	if err := decode(r, &body); err != nil {
		return 0, nil, err
	}
	if len(body.Comment) > 0 {
		if refused := checkReason(body.Comment); refused != nil {
			return 0, nil, refused
		}
	}
	have, err := s.visible(r, who)
	if err != nil {
		return 0, nil, err
	}
	c := who.Claims()
	a := Act{By: *c, At: s.cfg.Clock().UTC(), Comment: strings.TrimSpace(body.Comment), Digest: body.Digest, Seconds: body.Seconds}
	asked := have.Asked
	key := ""
	switch {
	case v.bound:
		if body.Digest == "" {
			return 0, nil, &Refusal{Status: 400, Code: "digest_missing", Detail: "a decision names the digest of what it is about", Next: "send the digest that the request shows"}
		}
		if have.Extension != nil && body.Digest == have.Extension.Digest {
			asked = have.Extension.Asked
		}
		if have.State.Ended() { // an approval that is sent again must not look as if it counted
			return 0, nil, named(conflict("not_pending", "it is %s: there is nothing to decide", have.State), have.Asked.ID)
		}
		key = fmt.Sprintf("%s/%s/%s/%d", v.update, c.Principal(), body.Digest, struck(&have))
	case v.update == updateReview && body.Justified == nil:
		return 0, nil, &Refusal{Status: 400, Code: "verdict_missing", Detail: "a review says whether it was justified"}
	case v.update == updateReview:
		a.Justified = *body.Justified
	case v.update == updateExtend:
		asked.Seconds, asked.Reason = body.Seconds, a.Comment
		if refused := asked.check(nil); refused != nil {
			return 0, nil, refused
		}
	}
	if v.update == updateExtend {
		a.Rules, _, a.Decision, err = s.terms(r, who, asked)
	} else {
		_, a.Decision, err = s.decide(r, who, v.action, asked, have.Asked.Principal)
	}
	if err != nil {
		return 0, nil, err
	}
	after, err := s.act(r.Context(), have.Asked.ID, v.update, key, a)
	return http.StatusOK, after, err
}

// struck counts the times that approvals were struck out: whoever has the right again approves anew.
func struck(r *Request) (n int) {
	for _, s := range r.Steps {
		if s.Event == "refused" {
			n++
		}
	}
	return n
}
