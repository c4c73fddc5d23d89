package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

var clusterUID = types.NewEntityUID(typeCluster, "temporal")

// namespace is what every resource of one namespace shares.
type namespace struct {
	uid    types.EntityUID
	inIt   types.EntityUIDSet // the parents of what is in the namespace
	bare   types.Record       // {namespace}: the attributes of a resource of which policies ask nothing else
	entity types.Entity
	inKeys []int32 // index keys of the namespace and the cluster
}

func (s *set) newNamespace(name string) *namespace {
	n := &namespace{uid: types.NewEntityUID(typeNamespace, types.String(name))}
	n.inIt = types.NewEntityUIDSet(n.uid)
	n.bare = types.NewRecord(types.RecordMap{"namespace": n.uid})
	n.entity = types.Entity{
		UID:        n.uid,
		Parents:    types.NewEntityUIDSet(clusterUID),
		Attributes: types.NewRecord(types.RecordMap{"namespace": n.uid, "name": types.String(name)}),
	}
	n.inKeys = keysOf(s.index.resources, n.uid, clusterUID)
	return n
}

// target is the resource of one request, as Cedar sees it.
type target struct {
	uid types.EntityUID
	ns  *namespace
}

// target names the entity that the action acts on. Workflows, task queues and schedules are "NAMESPACE/ID", which has one reading
// because a namespace has no slash.
func (s *set) target(a Action, r *Resource) target {
	if a.Scope == ScopeCluster {
		return target{clusterUID, s.namespaces.get("", s.newNamespace)}
	}
	ns := s.namespaces.get(r.Namespace, s.newNamespace)
	switch a.Scope {
	case ScopeWorkflow:
		return target{types.NewEntityUID(typeWorkflow, types.String(r.Namespace+"/"+r.WorkflowID)), ns}
	case ScopeTaskQueue:
		return target{types.NewEntityUID(typeTaskQueue, types.String(r.Namespace+"/"+r.TaskQueue)), ns}
	case ScopeSchedule:
		return target{types.NewEntityUID(typeSchedule, types.String(r.Namespace+"/"+r.ScheduleID)), ns}
	}
	return target{ns.uid, ns}
}

// entities gives Cedar the entities of one request as it asks for them. It makes no promise beyond that request.
type entities struct {
	set       *set
	principal *principal
	target    target
	resource  *Resource
	built     bool // whether own is ready
	own       types.Entity
}

// Get implements types.EntityGetter.
func (e *entities) Get(uid types.EntityUID) (types.Entity, bool) {
	switch {
	case uid == e.principal.entity.UID:
		return e.principal.entity, true
	case uid == e.target.uid:
		if !e.built {
			e.own, e.built = e.build(), true
		}
		return e.own, true
	}
	switch uid.Type {
	case typeAction:
		entity, ok := e.set.actions[string(uid.ID)]
		return entity, ok
	case typeNamespace:
		if uid == e.target.ns.uid {
			return e.target.ns.entity, true
		}
		return e.set.namespaces.get(string(uid.ID), e.set.newNamespace).entity, true
	case typeGroup:
		return types.Entity{UID: uid}, true
	case typeCluster:
		return types.Entity{UID: uid, Attributes: types.NewRecord(types.RecordMap{"namespace": types.NewEntityUID(typeNamespace, "")})}, true
	}
	// A workflow, task queue or schedule that the policy names and the request does not: only its place is known.
	if name, _, ok := strings.Cut(string(uid.ID), "/"); ok {
		switch uid.Type {
		case typeWorkflow, typeTaskQueue, typeSchedule:
			ns := e.set.namespaces.get(name, e.set.newNamespace)
			return types.Entity{UID: uid, Parents: ns.inIt, Attributes: ns.bare}, true
		}
	}
	return types.Entity{}, false
}

func (e *entities) build() types.Entity {
	entity := types.Entity{UID: e.target.uid, Parents: e.target.ns.inIt, Attributes: e.target.ns.bare}
	attributes := types.RecordMap{"namespace": e.target.ns.uid}
	add := func(name types.String, value string, always bool) {
		if (always || value != "") && e.set.mentions.has(name) {
			attributes[name] = types.String(value)
		}
	}
	r := e.resource
	switch e.target.uid.Type {
	case typeCluster:
		entity.Parents = types.EntityUIDSet{}
	case typeNamespace:
		return e.target.ns.entity
	case typeWorkflow:
		add("id", r.WorkflowID, true)
		add("run_id", r.RunID, false)
		add("type", r.WorkflowType, false)
		add("task_queue", r.TaskQueue, false)
	case typeTaskQueue:
		add("name", r.TaskQueue, true)
	case typeSchedule:
		add("id", r.ScheduleID, true)
		add("workflow_id", r.WorkflowID, false)
		add("type", r.WorkflowType, false)
		add("task_queue", r.TaskQueue, false)
	}
	if len(attributes) > 1 {
		entity.Attributes = types.NewRecord(attributes)
	}
	return entity
}

// circumstances makes the Cedar context: only what some policy looks at.
func (s *set) circumstances(p *principal, req *Request) types.Record {
	m := &s.mentions
	attributes := types.RecordMap{}
	put := func(name types.String, value types.Value) {
		if m.has(name) {
			attributes[name] = value
		}
	}
	text := func(name types.String, value string) {
		if value != "" && m.has(name) {
			attributes[name] = types.String(value)
		}
	}
	c := &req.Context
	put("agent", p.agent)
	put("scopes", p.scopes)
	if m.has("client_id") {
		attributes["client_id"] = types.String(p.claims.ClientID)
	}
	if m.has("now") {
		attributes["now"] = types.NewDatetime(c.Now)
	}
	if !p.claims.AuthTime.IsZero() && m.has("auth_age") {
		// An authentication a little in the future is clock skew, not a negative age.
		attributes["auth_age"] = types.Long(max(0, int64(c.Now.Sub(p.claims.AuthTime).Seconds())))
	}
	if m.has("source_ip") && c.SourceIP.IsValid() {
		addr := c.SourceIP.Unmap().WithZone("")
		if prefix, err := addr.Prefix(addr.BitLen()); err == nil {
			attributes["source_ip"] = types.IPAddr(prefix)
		}
	}
	text("acr", p.claims.ACR)
	text("reason", strings.TrimSpace(c.Reason))
	text("grant", c.Grant)
	text("signal", req.Resource.Signal)
	text("update", req.Resource.Update)
	text("query", req.Resource.Query)
	text("endpoint", req.Resource.Endpoint)
	if len(attributes) == 0 {
		return types.Record{}
	}
	return types.NewRecord(attributes)
}
