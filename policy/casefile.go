package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// caseReader reads a table of cases.
type caseReader struct {
	yamlReader
	people map[string]*identity.Claims
	cases  []Case
}

// draft is a case while it is read: what defaults and the case itself say.
type draft struct {
	name, who, expect *yaml.Node
	actions           []string
	c                 Case
	requester         *yaml.Node
	manager           *yaml.Node
	authAge           time.Duration
	hasAge            bool
	acr               string
}

// caseTime is the clock of a case that names no time: a Wednesday noon, UTC.
var caseTime = time.Date(2026, time.November, 25, 12, 0, 0, 0, time.UTC)

// caseIssuer is the issuer of people whose case names none.
const caseIssuer = "https://acme.okta.com/oauth2/default"

// LoadCases reads a table of cases from a YAML file (docs/policy.md has its form). What is wrong with it is a *LoadError.
func LoadCases(path string) ([]Case, error) {
	data, err := readRegular(path)
	if err != nil {
		return nil, fmt.Errorf("reading cases: %w", err)
	}
	r := &caseReader{yamlReader: yamlReader{name: filepath.Base(path)}, people: map[string]*identity.Claims{}}
	r.read(data)
	if len(r.problems) == 0 && len(r.cases) == 0 {
		r.report(0, "add at least one under cases:", "it holds no case; a file cut short looks the same")
	}
	if len(r.problems) > 0 {
		return nil, fmt.Errorf("reading cases from %s: %w", path, &LoadError{r.problems})
	}
	return r.cases, nil
}

func (r *caseReader) read(data []byte) {
	root := r.document(data)
	if root == nil {
		return
	}
	var version, defaults, people, cases *yaml.Node
	r.mapping(root, "a file of cases", map[string]func(*yaml.Node){
		"version":  func(n *yaml.Node) { version = n },
		"defaults": func(n *yaml.Node) { defaults = n },
		"people":   func(n *yaml.Node) { people = n },
		"cases":    func(n *yaml.Node) { cases = n },
	})
	r.yamlReader.version(root, version)
	if people != nil {
		r.pairs(people, "people", func(key, value *yaml.Node) { r.people[key.Value] = r.person(key.Value, value) })
	}
	if cases == nil {
		return
	}
	r.each(cases, "cases", func(n *yaml.Node) {
		d := draft{c: Case{File: r.name, Line: n.Line}}
		d.c.Request.Context.Now = caseTime
		if defaults != nil {
			r.fields(&d, defaults, "defaults")
		}
		r.fields(&d, n, "a case")
		r.finish(&d, n)
	})
}

// person reads {login, groups, client, agent …}. An agent is a user's token whose outermost actor is an AI agent; machine: true is a
// client that acts for itself.
func (r *caseReader) person(name string, n *yaml.Node) *identity.Claims {
	c := &identity.Claims{Issuer: caseIssuer, Kind: identity.User, ID: name, Login: name, ClientID: "cli"}
	r.mapping(n, "a person", map[string]func(*yaml.Node){
		"id":      func(n *yaml.Node) { c.ID = r.text(n, "id") },
		"login":   func(n *yaml.Node) { c.Login = r.text(n, "login") },
		"issuer":  func(n *yaml.Node) { c.Issuer = r.text(n, "issuer") },
		"groups":  func(n *yaml.Node) { c.Groups = r.texts(n, "groups") },
		"scopes":  func(n *yaml.Node) { c.Scopes = r.texts(n, "scopes") },
		"client":  func(n *yaml.Node) { c.ClientID = r.text(n, "client") },
		"claims":  func(n *yaml.Node) { c.Custom = r.values(n, "claims") },
		"profile": func(n *yaml.Node) { c.Profile = r.values(n, "profile") },
		"agent": func(n *yaml.Node) {
			if r.boolean(n, "agent") {
				c.Actors = []identity.Actor{{Subject: "agent", Profile: "ai_agent"}}
			}
		},
		"machine": func(n *yaml.Node) {
			c.Kind, c.ID, c.ClientID, c.Login = identity.Client, r.text(n, "machine"), n.Value, n.Value
		},
	})
	return c
}

// values reads custom claims, or a profile, as JSON: a dotted name is a path.
func (r *caseReader) values(n *yaml.Node, what string) map[string]string {
	out := map[string]string{}
	r.pairs(n, what, func(key, value *yaml.Node) {
		var v any
		err := value.Decode(&v)
		var text []byte
		if err == nil {
			text, err = json.Marshal(v)
		}
		if err != nil {
			r.report(value.Line, "write a text, a number, true or false, a list or a mapping", "%s.%s can't be read", what, key.Value)
			return
		}
		out[key.Value] = string(text)
	})
	return out
}

func (r *caseReader) fields(d *draft, n *yaml.Node, what string) {
	c, at, context := &d.c, &d.c.Request.Resource, &d.c.Request.Context
	field := func(into *string, name string) func(*yaml.Node) {
		return func(n *yaml.Node) { *into = r.text(n, name) }
	}
	var code string
	r.mapping(n, what, map[string]func(*yaml.Node){
		"name": func(n *yaml.Node) { d.name = n },
		"who":  func(n *yaml.Node) { d.who = n },
		"action": func(n *yaml.Node) {
			d.actions = r.texts(n, "action")
			for _, name := range d.actions {
				if _, known := LookupAction(name); !known {
					fix := "a method goes by its API name, such as StartWorkflowExecution"
					if guess := nearest(name, actionNames()); guess != "" {
						fix = fmt.Sprintf("did you mean %s?", guess)
					}
					r.report(n.Line, fix, "action %q does not exist", name)
				}
			}
		},
		"namespace": field(&at.Namespace, "namespace"), "type": field(&at.WorkflowType, "type"), "workflow_id": field(&at.WorkflowID, "workflow_id"),
		"run_id": field(&at.RunID, "run_id"), "task_queue": field(&at.TaskQueue, "task_queue"), "schedule_id": field(&at.ScheduleID, "schedule_id"),
		"signal": field(&at.Signal, "signal"), "update": field(&at.Update, "update"), "query": field(&at.Query, "query"),
		"endpoint": field(&at.Endpoint, "endpoint"), "cron": field(&at.Cron, "cron"), "versioning": field(&at.Versioning, "versioning"),
		"search_attributes": func(n *yaml.Node) { at.SearchAttributes = r.texts(n, "search_attributes") },
		"unresolved":        func(n *yaml.Node) { at.Unresolved = r.boolean(n, "unresolved") },
		"reason":            field(&context.Reason, "reason"), "acr": field(&d.acr, "acr"),
		"grant": func(n *yaml.Node) { // policies see proven grants only
			context.Grant = r.text(n, "grant")
			context.Granted = context.Granted || context.Grant != ""
		},
		"granted":           func(n *yaml.Node) { context.Granted = r.boolean(n, "granted") },
		"break_glass":       func(n *yaml.Node) { context.BreakGlass = r.boolean(n, "break_glass") },
		"amr":               func(n *yaml.Node) { context.AMR = r.texts(n, "amr") },
		"role":              field(&context.Role, "role"),
		"wanted":            func(n *yaml.Node) { context.Wanted = r.texts(n, "wanted") },
		"minutes":           func(n *yaml.Node) { context.Minutes = int(r.duration(n, time.Minute) / time.Minute) },
		"requester":         func(n *yaml.Node) { d.requester = n },
		"requester_manager": func(n *yaml.Node) { d.manager = n },
		"source_ip": func(n *yaml.Node) {
			addr, err := netip.ParseAddr(n.Value)
			if err != nil {
				r.report(n.Line, "such as 10.1.2.3", "source_ip %q is no address", n.Value)
			}
			context.SourceIP = addr
		},
		"time":     func(n *yaml.Node) { context.Now = r.moment(n) },
		"auth_age": func(n *yaml.Node) { d.authAge, d.hasAge = r.duration(n, time.Second), true },
		"expect":   func(n *yaml.Node) { d.expect = n },
		"code": func(n *yaml.Node) {
			code = r.text(n, "code")
			codes := []string{string(CodeAllowed), string(CodeNoPermission), string(CodeForbidden), string(CodePolicyError), string(CodeObligation), string(CodeUnresolved), string(CodeAttribute)}
			if !slices.Contains(codes, code) {
				r.report(n.Line, "codes are "+strings.Join(codes, ", "), "code %q does not exist", code)
			}
			c.Code = Code(code)
		},
		"policy": field(&c.Policy, "policy"), "missing": field(&c.Missing, "missing"),
	})
}

// finish completes a case; a list of actions makes one case of each.
func (r *caseReader) finish(d *draft, n *yaml.Node) {
	switch {
	case d.who == nil:
		r.report(n.Line, "such as who: alice, or who: { groups: [temporal:payments:write] }", "a case needs who")
		return
	case len(d.actions) == 0:
		r.report(n.Line, "such as action: StartWorkflowExecution", "a case needs action")
		return
	case d.expect == nil || d.expect.Value != "allow" && d.expect.Value != "deny":
		r.report(n.Line, "write allow or deny", "a case needs expect")
		return
	case d.who.Kind == yaml.ScalarNode && r.people[d.who.Value] == nil:
		known := slices.Sorted(maps.Keys(r.people))
		fix := "name them under people:"
		if guess := nearest(d.who.Value, known); guess != "" {
			fix = fmt.Sprintf("did you mean %s? %s", guess, fix)
		}
		r.report(d.who.Line, fix, "nobody is called %q", d.who.Value)
		return
	}
	var claims identity.Claims
	who := d.who.Value
	if d.who.Kind == yaml.ScalarNode {
		claims = *r.people[who]
	} else {
		claims, who = *r.person("someone", d.who), "someone"
	}
	if d.hasAge {
		claims.AuthTime = d.c.Request.Context.Now.Add(-d.authAge)
	}
	if d.acr != "" {
		claims.ACR = d.acr
	}
	d.c.Request.Context.Requester = r.somebody(d.requester, "requester", d.who.Value, &claims)
	d.c.Request.Context.Manager = r.somebody(d.manager, "requester_manager", d.who.Value, &claims)
	d.c.Request.Principal, d.c.Expect = &claims, d.expect.Value == "allow"
	for _, action := range d.actions {
		c := d.c
		c.Request.Action = action
		if d.name != nil {
			c.Name = r.text(d.name, "name")
		} else {
			c.Name = who + " may " + map[bool]string{true: "", false: "not "}[c.Expect] + action
		}
		if d.name != nil && len(d.actions) > 1 {
			c.Name += ": " + action
		}
		r.cases = append(r.cases, c)
	}
}

// texts reads one text or a list of them.
// somebody reads a person of the case: one under people:, which the case's own may be, or a principal as it is.
func (r *caseReader) somebody(n *yaml.Node, what, who string, claims *identity.Claims) string {
	if n == nil {
		return ""
	}
	text := r.text(n, what)
	if text == who {
		text = claims.Principal()
	} else if known := r.people[text]; known != nil {
		text = known.Principal()
	}
	if wrong := invalidRequest(&Context{Requester: text}); wrong != "" {
		r.report(n.Line, "name somebody under people:, or write user:ISSUER|ID", "%s", wrong)
	}
	return text
}

func (r *yamlReader) texts(n *yaml.Node, what string) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{r.text(n, what)}
	}
	var all []string
	r.each(n, what, func(n *yaml.Node) { all = append(all, r.text(n, what)) })
	return all
}

func (r *yamlReader) moment(n *yaml.Node) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, n.Value); err == nil {
			return t
		}
	}
	r.report(n.Line, "such as 2026-11-25T12:00:00Z", "time %q is not understood", n.Value)
	return time.Time{}
}

// duration reads a plain number of the unit, or a duration such as 90m.
func (r *yamlReader) duration(n *yaml.Node, unit time.Duration) time.Duration {
	if number, err := strconv.ParseInt(n.Value, 10, 32); err == nil {
		return time.Duration(number) * unit
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil {
		r.report(n.Line, "a plain number, or such as 90m", "duration %q is not understood", n.Value)
	}
	return d
}
