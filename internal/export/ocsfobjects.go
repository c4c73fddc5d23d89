package export

import (
	"net/netip"
	"reflect"
	"strings"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// userObject is an actor as OCSF's user: it has a name or a uid whatever happened, "unauthenticated" when nobody had proved anything.
func userObject(p *audit.Party) object {
	u := object{}
	u.put("uid", p.Principal)
	u.put("name", firstOf(p.Login, p.ClientID))
	if len(u) == 0 {
		u["name"] = "unauthenticated"
	}
	switch {
	case strings.HasPrefix(p.Principal, "user:"):
		u["type_id"], u["type"] = 1, "User"
	case strings.HasPrefix(p.Principal, "client:"):
		u["type_id"], u["type"] = 4, "Service"
	default:
		u["type_id"], u["type"] = 0, "Unknown"
	}
	if strings.Contains(p.Login, "@") {
		u["email_addr"] = p.Login
	}
	u.put("credential_uid", p.TokenKey)
	var groups []object
	for _, g := range p.Groups {
		groups = append(groups, object{"name": g})
	}
	u.put("groups", groups)
	return u
}

func actorObject(p *audit.Party) object {
	a := object{"user": userObject(p)}
	a.put("app_uid", p.ClientID)
	a.put("invoked_by", strings.Join(p.Actors, " < ")) // the delegation chain, outermost first
	s := object{}
	s.put("uid", p.TokenID)
	if !p.AuthTime.IsZero() {
		s["created_time"] = p.AuthTime.UnixMilli()
	}
	if kind, rest, ok := strings.Cut(p.Principal, ":"); ok && (kind == "user" || kind == "client") {
		if issuer, _, ok := strings.Cut(rest, "|"); ok {
			s.put("issuer", issuer)
		}
	}
	a.put("session", s)
	return a
}

// endpointObject is where a call came from; the class API Activity asks for one even where the gate does not know.
func endpointObject(e *audit.Entry) object {
	if ip, err := netip.ParseAddr(e.Source); err == nil {
		return object{"ip": ip.String()}
	}
	if e.Source != "" {
		return object{"hostname": e.Source}
	}
	if e.Kind == audit.KindDecision {
		return object{"name": "unknown"}
	}
	return nil
}

func apiObject(e *audit.Entry) object {
	a := object{"operation": firstOf(e.Action, "unknown"), "service": object{"name": "Temporal", "uid": firstOf(e.Gate, "unknown")}}
	a["request"] = object{"uid": e.ID}
	if d := e.Decision; d != nil {
		r := object{}
		r.put("code", map[bool]int64{false: 403}[d.Allow])
		if !d.Allow {
			r.put("error", string(d.Code))
			r.put("error_message", d.Missing)
		}
		a.put("response", r)
	}
	return a
}

// resourceObjects is what a call acts on: the resource itself first, then the further acts'.
func resourceObjects(e *audit.Entry) []object {
	var out []object
	add := func(r *policy.Resource) {
		o := object{}
		o.put("namespace", r.Namespace)
		switch {
		case r.WorkflowID != "" || r.WorkflowType != "" || r.RunID != "":
			o["type"] = "workflow"
			o.put("name", firstOf(r.WorkflowID, r.WorkflowType))
			o.put("uid", r.RunID)
			if r.WorkflowType != "" {
				o["labels"] = []string{"workflow_type:" + r.WorkflowType}
			}
		case r.ScheduleID != "":
			o["type"] = "schedule"
			o.put("name", r.ScheduleID)
		case r.TaskQueue != "":
			o["type"] = "task queue"
			o.put("name", r.TaskQueue)
		case r.Endpoint != "":
			o["type"] = "nexus endpoint"
			o.put("name", r.Endpoint)
		case r.Namespace != "":
			o["type"] = "namespace"
			o.put("name", r.Namespace)
		default:
			return
		}
		if o["name"] == nil && o["uid"] == nil {
			o["name"] = r.Namespace + "/*"
		}
		out = append(out, o)
	}
	add(&e.Resource)
	for i := range e.Acts {
		add(&e.Acts[i].Resource)
	}
	return out
}

func policyObject(d *policy.Decision) object {
	p := object{}
	p.put("uid", d.PolicyDigest)
	p.put("name", strings.Join(d.Policies, ", "))
	if len(p) > 0 {
		p["is_applied"] = true
	}
	return p
}

// subjectObject is whom a directory event or a revocation is about.
func subjectObject(e *audit.Entry) object {
	u := object{}
	u.put("uid", e.Detail["subject"])
	u.put("name", e.Detail["login"])
	if len(u) == 0 {
		return userObject(&e.Actor)
	}
	u["type_id"], u["type"] = 1, "User"
	return u
}

// entity is what an entry of the other kinds is about, and what happened to it.
func entity(e *audit.Entry) (object, int) {
	event := e.Detail["event"]
	o := object{}
	activity := 99
	switch e.Kind {
	case audit.KindPolicy:
		o["type"], o["name"] = "Policy", "policy set"
		o["type_id"] = 5
		o.put("uid", e.Detail["policy_digest"])
		o.put("version", e.Detail["policy_digest"])
		activity = 3
	case audit.KindGate:
		o["type"], o["name"] = "Gate", firstOf(e.Gate, "gate")
		switch event {
		case "started", "start":
			activity = 10
		case "stopped", "stop":
			activity = 11
		}
	case audit.KindKey:
		o["type"], o["name"] = "Key", firstOf(e.Detail["use"], "key")
		o.put("uid", e.Detail["kid"])
		if a, ok := map[string]int{"created": 1, "published": 8, "rotated": 3, "retired": 9, "archived": 4}[event]; ok {
			activity = a
		}
	case audit.KindAccess:
		o["type"], o["name"] = "Access request", firstOf(e.Detail["request"], "request")
		if a, ok := map[string]int{"requested": 1, "approved": 8, "denied": 9, "withdrawn": 4, "escalated": 3, "reminded": 2, "reviewed": 3, "refused": 9}[event]; ok {
			activity = a
		}
	case audit.KindReport:
		o["type"], o["name"] = "Report", firstOf(event, "report")
		activity = 1
	case audit.KindLost:
		o["type"], o["name"] = "Audit entry", "lost entry"
		activity = 4
	default:
		o["type"], o["name"] = "Bailiwick", firstOf(event, string(e.Kind))
		activity = 3
	}
	if o["type_id"] == nil {
		o["type_id"] = 99 // says type; none of the schema's own kinds
	}
	return o, activity
}

// unmapped keeps what the class has no place for, under the entry's own names.
func unmapped(e *Event) object {
	x := &e.Entry
	u := object{"kind": string(x.Kind), "index": e.Index}
	u.put("gate", x.Gate)
	u.put("access", x.Access)
	u.put("reason", x.Reason)
	u.put("grant", x.Grant)
	u.put("request_digest", x.RequestDigest)
	u.put("actor_profile", x.Actor.ActorProfile)
	u.put("scopes", x.Actor.Scopes)
	u.put("acr", x.Actor.ACR)
	if len(x.Detail) > 0 {
		u["detail"] = x.Detail
	}
	if d := x.Decision; d != nil {
		u.put("obligations", d.Obligations)
		u.put("missing", d.Missing)
		u.put("hint", d.Hint)
	}
	if len(x.Acts) > 0 {
		u["acts"] = x.Acts
	}
	r := &x.Resource
	if x.Decision == nil && !reflect.DeepEqual(*r, policy.Resource{}) {
		u["resource"] = r // most classes of these kinds have no resources
	}
	u.put("task_queue", r.TaskQueue)
	u.put("signal", r.Signal)
	u.put("update", r.Update)
	u.put("query", r.Query)
	u.put("cron", r.Cron)
	u.put("versioning", r.Versioning)
	u.put("search_attributes", r.SearchAttributes)
	if e.Test {
		u["test"] = true
	}
	return u
}

// summary is one sentence for people.
func summary(e *audit.Entry) string {
	who := firstOf(e.Actor.Login, e.Actor.ClientID, e.Actor.Principal, "nobody")
	if e.Decision == nil {
		return strings.TrimSpace(string(e.Kind) + " " + e.Detail["event"])
	}
	word := "was allowed"
	if !e.Decision.Allow {
		word = "was refused"
	}
	at := strings.Trim(e.Resource.Namespace+"/"+firstOf(e.Resource.WorkflowID, e.Resource.ScheduleID, e.Resource.TaskQueue), "/")
	return strings.TrimSpace(strings.Join([]string{who, word, e.Action, at}, " "))
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func nonEmpty(o object, key, value string) object {
	o.put(key, value)
	return o
}
