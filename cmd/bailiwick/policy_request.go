package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// resourceFlags say what a call would act on.
type resourceFlags struct {
	namespace, workflowType, id, runID, queue, schedule, signal, update, query, endpoint, cron, versioning string
	attributes                                                                                             []string
	unnamed                                                                                                bool
}

func (f *resourceFlags) register(a *app, c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&f.namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	s.StringVarP(&f.workflowType, "type", "t", "", "workflow type")
	s.StringVar(&f.id, "id", "", "workflow id")
	s.StringVar(&f.runID, "run-id", "", "run id")
	s.StringVar(&f.queue, "task-queue", "", "task queue")
	s.StringVar(&f.schedule, "schedule", "", "schedule id")
	s.StringVar(&f.signal, "signal", "", "signal name")
	s.StringVar(&f.update, "update", "", "update name")
	s.StringVar(&f.query, "query", "", "query name")
	s.StringVar(&f.endpoint, "endpoint", "", "Nexus endpoint")
	s.StringVar(&f.cron, "cron", "", "cron expression of the start")
	s.StringVar(&f.versioning, "versioning", "", `versioning override: "auto_upgrade" or "pinned:VERSION"`)
	s.StringArrayVar(&f.attributes, "search-attribute", nil, "search attribute as NAME=VALUE; may be repeated")
	s.BoolVar(&f.unnamed, "by-query", false, "the call acts on runs that it does not name, such as a batch by a query")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
}

// resource is the resource asked about, in the shape that the gate gives it.
func (f *resourceFlags) resource(a *app, action policy.Action) policy.Resource {
	r := policy.Resource{WorkflowType: f.workflowType, WorkflowID: f.id, RunID: f.runID, TaskQueue: f.queue, Signal: f.signal, Update: f.update, Query: f.query,
		ScheduleID: f.schedule, Endpoint: f.endpoint, Cron: f.cron, Versioning: f.versioning, Unresolved: f.unnamed}
	if action.Scope != policy.ScopeCluster || f.namespace != "" {
		where, _ := a.where() // only for its default namespace
		r.Namespace = a.namespace(f.namespace, where)
	}
	for _, attribute := range f.attributes {
		name, _, _ := strings.Cut(attribute, "=")
		r.SearchAttributes = append(r.SearchAttributes, name)
		if name != attribute {
			r.SearchAttributes = append(r.SearchAttributes, attribute)
		}
	}
	return r
}

// whoFlags say who would call, and in which circumstances.
type whoFlags struct {
	action                                  string // instead of an argument
	as, client, app, issuer, agent          string
	groups, scopes, amr                     []string
	reason, grant, authAge, acr, when, from string
	access                                  accessFlags
}

func (f *whoFlags) register(a *app, c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.as, "as", "", "a person's login; groups and the rest are taken from their latest entry in the log (default: you, as your token says)")
	s.StringVar(&f.client, "client", "", "a service or agent that acts for itself, by its client id")
	s.StringArrayVarP(&f.groups, "group", "g", nil, "group of the caller, instead of those known; may be repeated")
	s.StringVar(&f.app, "app", "", "client id of the application that the person uses")
	s.StringVar(&f.issuer, "issuer", "", "issuer of the token (default: as known, else the context's)")
	s.StringVar(&f.agent, "agent", "", "an AI agent that acts for the person, by its client id")
	s.StringArrayVar(&f.scopes, "scope", nil, "OAuth scope of the token; may be repeated")
	s.StringVarP(&f.reason, "reason", "r", "", "what the caller says the call is for")
	s.StringVar(&f.grant, "grant", "", "id of a live grant of the caller that covers the call")
	s.StringVar(&f.authAge, "auth-age", "", "how long ago the person proved who they are, such as 5m or 2h")
	s.StringVar(&f.acr, "acr", "", "how strongly they did, such as urn:okta:loa:2fa:any")
	s.StringArrayVar(&f.amr, "amr", nil, "by which method, as a verified ID token says, such as mfa; may be repeated")
	s.StringVar(&f.when, "time", "", "when the call is made: 2026-11-28T22:30:00Z, or in local time 2026-11-28 22:30 or 22:30 (default: now)")
	s.StringVar(&f.from, "from", "", "address that the call comes from")
	f.access.register(c)
	must(c.RegisterFlagCompletionFunc("as", a.completeLogins))
	must(c.RegisterFlagCompletionFunc("client", a.completeClients))
}

// caller is who asks, and where we know them from.
type caller struct {
	claims *identity.Claims
	known  string // "your token", "the log, as of …", "the flags alone"
}

// request puts together what the gate would ask.
func (a *app) request(c *cobra.Command, who whoFlags, what resourceFlags, logs logFlags, name string) (policy.Request, string, error) {
	action, err := findAction(c, name)
	if err != nil {
		return policy.Request{}, "", err
	}
	now, err := moment(c, "time", who.when, time.Now())
	if err != nil {
		return policy.Request{}, "", err
	}
	req := policy.Request{Action: action.Name, Resource: what.resource(a, action), Context: policy.Context{Now: now, Reason: who.reason, Grant: who.grant, Granted: who.grant != "", AMR: who.amr}}
	if who.from != "" {
		if req.Context.SourceIP, err = netip.ParseAddr(who.from); err != nil {
			return req, "", badUsage(c, "--from is %q; an address such as 10.1.2.3 is needed", who.from)
		}
	}
	asks, err := a.caller(c, who, logs)
	if err != nil {
		return req, "", err
	}
	if who.authAge != "" {
		age, err := duration(who.authAge)
		if err != nil || age < 0 {
			return req, "", badUsage(c, "--auth-age is %q; a duration such as 5m, 2h or 3d is needed", who.authAge)
		}
		asks.claims.AuthTime = now.Add(-age)
	}
	req.Principal = asks.claims
	return req, asks.known, who.access.fill(c, &req, action)
}

// caller works out the claims: from the log, from the person's own token, or from flags alone; what flags say stands.
func (a *app) caller(c *cobra.Command, f whoFlags, logs logFlags) (caller, error) {
	if f.as != "" && f.client != "" {
		return caller{}, badUsage(c, "--as is a person and --client a service that acts for itself; give one of them")
	}
	if f.client != "" && f.agent != "" {
		return caller{}, badUsage(c, "--agent acts for a person: give --as too, or --client alone for what acts for itself")
	}
	where, _ := a.where()
	issuer := cmp.Or(f.issuer, where.Issuer, "https://idp.example")
	var out caller
	switch {
	case f.client != "":
		out = a.known(c.Context(), logs, func(x *identity.Claims) bool {
			return x.Kind == identity.Client && x.ID == f.client && (f.issuer == "" || x.Issuer == f.issuer)
		})
		if out.claims == nil {
			out = caller{&identity.Claims{Kind: identity.Client, Issuer: issuer, ID: f.client, ClientID: f.client, Login: f.client}, "the flags alone"}
		}
	case f.as != "":
		out = a.known(c.Context(), logs, func(x *identity.Claims) bool {
			return x.Kind == identity.User && (x.Login == f.as || x.ID == f.as) && (f.issuer == "" || x.Issuer == f.issuer)
		})
		if out.claims == nil {
			if len(f.groups) == 0 {
				fmt.Fprintf(a.errs, "%s the log knows nothing of %s: without --group they have no groups\n", a.errs.yellow("note:"), safe(f.as))
			}
			out = caller{&identity.Claims{Kind: identity.User, Issuer: issuer, ID: f.as, Login: f.as, ClientID: where.ClientID}, "the flags alone"}
		}
	case len(f.groups) > 0:
		out = caller{&identity.Claims{Kind: identity.User, Issuer: issuer, ID: "someone", Login: "someone", ClientID: where.ClientID}, "the flags alone"}
	default:
		me, err := a.myself(c.Context())
		if err != nil {
			return caller{}, err
		}
		out = me
	}
	x := out.claims
	if len(f.groups) > 0 {
		x.Groups = f.groups
	}
	if len(f.scopes) > 0 {
		x.Scopes = f.scopes
	}
	if f.app != "" && f.client == "" {
		x.ClientID = f.app
	}
	if f.acr != "" {
		x.ACR = f.acr
	}
	if f.agent != "" {
		x.Actors = []identity.Actor{{Subject: f.agent, Profile: "ai_agent"}}
	} else if f.as != "" {
		x.Actors = nil // asked about the person, not about whoever acted for them last
	}
	return out, nil
}

// myself is the person logged in, as their own token says.
func (a *app) myself(ctx context.Context) (caller, error) {
	where, err := a.where()
	if err == nil {
		var session *login.Session
		if session, err = a.session(where); err == nil {
			var p login.Profile
			if p, err = session.Profile(ctx); err == nil {
				var who login.UnverifiedClaims
				if who, err = login.DecodeUnverified(p.AccessToken); err == nil {
					x := &identity.Claims{Issuer: who.Issuer, Kind: identity.User, ID: who.UserID, Login: who.Subject, ClientID: who.ClientID, Groups: who.Groups, Scopes: who.Scopes, AuthTime: who.AuthTime}
					if x.ID == "" {
						x.Kind, x.ID = identity.Client, who.ClientID
					}
					return caller{x, "your token"}, nil
				}
			}
		}
	}
	return caller{}, &coded{Code: "nobody", Text: "it is not said who calls, and your own token can't be read: " + err.Error(), Fix: "say who with --as LOGIN, --client ID or --group NAME"}
}

// findAction finds an action by its name, in any case, or by the verb of a workflow: "terminate".
func findAction(c *cobra.Command, name string) (policy.Action, error) {
	var close []string
	for _, act := range policy.Actions() {
		switch {
		case strings.EqualFold(act.Name, name), strings.EqualFold(act.Name, name+"WorkflowExecution"):
			return act, nil
		case len(name) > 2 && strings.Contains(strings.ToLower(act.Name), strings.ToLower(name)):
			close = append(close, act.Name)
		}
	}
	if near := policy.NearestAction(name); len(close) == 0 && near != "" {
		close = append(close, near)
	}
	switch {
	case name == "":
		return policy.Action{}, badUsage(c, "name the action, such as StartWorkflowExecution or just start")
	case len(close) == 1:
		return policy.Action{}, badUsage(c, "no action is called %q; did you mean %s?", name, close[0])
	case len(close) > 8:
		close = append(close[:8], "…")
		fallthrough
	case len(close) > 1:
		return policy.Action{}, badUsage(c, "no action is called %q; did you mean one of %s?", name, strings.Join(close, ", "))
	}
	return policy.Action{}, badUsage(c, "no action is called %q; see bailiwick policy schema", name)
}

// moment reads a time; with an empty text it is the default.
func moment(c *cobra.Command, flag, text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("15:04", text, time.Local); err == nil {
		y, m, d := otherwise.Local().Date()
		return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, time.Local), nil
	}
	return time.Time{}, badUsage(c, "--%s is %q; write 2026-11-28T22:30:00Z, or in local time 2026-11-28 22:30", flag, text)
}

// duration reads what time.ParseDuration does, and days.
func duration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}
