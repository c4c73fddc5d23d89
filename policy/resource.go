package policy

import (
	"net/netip"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

var clusterUID = types.NewEntityUID(typeCluster, "temporal")

// namespace is what every resource of one namespace shares.
type namespace struct {
	uid    types.EntityUID
	inIt   types.EntityUIDSet // the parents of what is in the namespace
	bare   types.Record       // {namespace}: the attributes of a resource of which policies ask nothing else
	entity types.Entity
	inKeys []int32 // index keys of the namespace and the cluster

	// named are the index keys of the workflows, task queues and schedules in it that some policy names.
	named map[entityName]int32
}

func (s *Set) newNamespace(name string) *namespace {
	n := &namespace{uid: types.NewEntityUID(typeNamespace, types.String(name))}
	n.inIt = types.NewEntityUIDSet(n.uid)
	n.bare = types.NewRecord(types.RecordMap{"namespace": n.uid})
	n.entity = types.Entity{
		UID:        n.uid,
		Parents:    types.NewEntityUIDSet(clusterUID),
		Attributes: types.NewRecord(types.RecordMap{"namespace": n.uid, "name": types.String(name)}),
	}
	n.inKeys = keysOf(s.index.resources, n.uid, clusterUID)
	n.named = s.index.named[name]
	return n
}

// entityType is the type of what actions of a scope act on.
func (s Scope) entityType() types.EntityType {
	switch s {
	case ScopeNamespace:
		return typeNamespace
	case ScopeWorkflow:
		return typeWorkflow
	case ScopeTaskQueue:
		return typeTaskQueue
	case ScopeSchedule:
		return typeSchedule
	}
	return typeCluster
}

// entities gives Cedar the entities of one request as it asks for them. It makes no promise beyond that request.
type entities struct {
	set      *Set
	p        *principal
	ns       *namespace
	uid      types.EntityUID // of the resource
	resource *Resource
	looks    looks // what the candidates look at
	built    bool  // whether own is ready
	own      types.Entity
}

// Get implements types.EntityGetter.
func (e *entities) Get(uid types.EntityUID) (types.Entity, bool) {
	switch {
	case uid == e.p.uid:
		return e.p.entity(), true
	case uid == e.uid:
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
		if uid == e.ns.uid {
			return e.ns.entity, true
		}
		return e.set.namespaces.get(string(uid.ID), e.set.newNamespace).entity, true
	case typeGroup:
		return types.Entity{UID: uid}, true
	case typeCluster:
		return types.Entity{UID: uid, Attributes: types.NewRecord(types.RecordMap{"namespace": types.NewEntityUID(typeNamespace, "")})}, true
	}
	// A workflow, task queue or schedule that the policy names and the request does not: only its place is known.
	if name, id, ok := strings.Cut(string(uid.ID), "/"); ok {
		ns := e.set.namespaces.get(name, e.set.newNamespace)
		known := types.RecordMap{"namespace": ns.uid}
		switch uid.Type {
		case typeWorkflow, typeSchedule:
			known["id"] = types.String(id)
			return types.Entity{UID: uid, Parents: ns.inIt, Attributes: types.NewRecord(known)}, true
		case typeTaskQueue:
			known["name"] = types.String(id)
			return types.Entity{UID: uid, Parents: ns.inIt, Attributes: types.NewRecord(known)}, true
		}
	}
	return types.Entity{}, false
}

func (e *entities) build() types.Entity {
	if e.uid.Type == typeNamespace {
		return e.ns.entity
	}
	entity := types.Entity{UID: e.uid, Parents: e.ns.inIt, Attributes: e.ns.bare}
	if e.uid.Type == typeCluster {
		entity.Parents = types.EntityUIDSet{}
		return entity
	}
	if e.looks&^looksContext == 0 {
		return entity
	}
	attributes := types.RecordMap{"namespace": e.ns.uid}
	r := e.resource
	add := func(bit looks, name types.String, value string, always bool) {
		if e.looks&bit != 0 && (always || value != "") {
			attributes[name] = types.String(value)
		}
	}
	if e.looks&looksQueue != 0 && r.TaskQueue != "" {
		attributes["queue"] = types.NewEntityUID(typeTaskQueue, types.String(r.Namespace+"/"+r.TaskQueue))
	}
	if e.looks&looksSearchAttributes != 0 {
		attributes["search_attributes"] = textSet(r.SearchAttributes)
	}
	add(looksCron, "cron", r.Cron, false)
	add(looksVersioning, "versioning", r.Versioning, false)
	switch e.uid.Type {
	case typeWorkflow:
		add(looksID, "id", r.WorkflowID, true)
		add(looksRunID, "run_id", r.RunID, false)
		add(looksType, "type", r.WorkflowType, false)
		add(looksTaskQueue, "task_queue", r.TaskQueue, false)
	case typeTaskQueue:
		attributes = types.RecordMap{"namespace": e.ns.uid}
		add(looksName, "name", r.TaskQueue, true)
	case typeSchedule:
		add(looksID, "id", r.ScheduleID, true)
		add(looksWorkflowID, "workflow_id", r.WorkflowID, false)
		add(looksType, "type", r.WorkflowType, false)
		add(looksTaskQueue, "task_queue", r.TaskQueue, false)
	}
	entity.Attributes = types.NewRecord(attributes)
	return entity
}

// circumstances makes the Cedar context, with only what the candidates look at.
func circumstances(seen looks, p *principal, r *Resource, c *Context) types.Record {
	if seen&looksContext == 0 {
		return types.Record{}
	}
	attributes := types.RecordMap{}
	text := func(bit looks, name types.String, value string) {
		if seen&bit != 0 && value != "" {
			attributes[name] = types.String(value)
		}
	}
	if seen&looksAgent != 0 {
		attributes["agent"] = types.Boolean(p.agent)
	}
	if seen&looksScopes != 0 {
		attributes["scopes"] = p.scopes()
	}
	if seen&looksClientID != 0 {
		attributes["client_id"] = types.String(p.claims.ClientID)
	}
	if seen&looksNow != 0 {
		attributes["now"] = types.NewDatetime(c.Now)
	}
	if seen&looksWeekday != 0 {
		attributes["weekday"] = types.Long(weekday(c.Now))
	}
	if seen&looksAuthAge != 0 {
		if age, ok := authAge(p.claims, c.Now); ok {
			attributes["auth_age"] = types.Long(age)
		}
	}
	if seen&looksDirectoryAge != 0 && !p.claims.FactsAsOf.IsZero() {
		attributes["directory_age"] = types.Long(max(0, int64(c.Now.Sub(p.claims.FactsAsOf).Seconds())))
	}
	if seen&looksSourceIP != 0 && c.SourceIP.IsValid() {
		addr := c.SourceIP.Unmap().WithZone("")
		attributes["source_ip"] = types.IPAddr(netip.PrefixFrom(addr, addr.BitLen()))
	}
	text(looksACR, "acr", p.claims.ACR)
	text(looksReason, "reason", strings.TrimSpace(c.Reason))
	if seen&looksAMR != 0 {
		attributes["amr"] = textSet(c.AMR)
	}
	if seen&looksGranted != 0 {
		attributes["granted"] = types.Boolean(c.Granted)
	}
	if seen&looksBreakGlass != 0 {
		attributes["break_glass"] = types.Boolean(c.BreakGlass)
	}
	if seen&looksWanted != 0 && len(c.Wanted) > 0 {
		attributes["wanted"] = textSet(c.Wanted)
	}
	if seen&looksMinutes != 0 && c.Minutes > 0 {
		attributes["minutes"] = types.Long(c.Minutes)
	}
	text(looksGrant, "grant", c.provenGrant())
	text(looksRole, "role", c.Role)
	text(looksRequester, "requester", c.Requester)
	text(looksManager, "requester_manager", c.Manager)
	text(looksSignal, "signal", r.Signal)
	text(looksUpdate, "update", r.Update)
	text(looksQuery, "query", r.Query)
	text(looksEndpoint, "endpoint", r.Endpoint)
	text(looksActor, "actor", currentActor(p.claims))
	text(looksRequestDigest, "request_digest", c.RequestDigest)
	return types.NewRecord(attributes)
}

func textSet(texts []string) types.Set {
	values := make([]types.Value, len(texts))
	for i, text := range texts {
		values[i] = types.String(text)
	}
	return types.NewSet(values...)
}

// provenGrant is the grant that policies see: a caller may name any.
func (c *Context) provenGrant() string {
	if !c.Granted {
		return ""
	}
	return c.Grant
}

// currentActor is the outermost actor of the delegation chain, or "" when the principal acts itself. RFC 8693 section 4.1: nested actors
// are never an input to authorization.
func currentActor(c *identity.Claims) string {
	if len(c.Actors) == 0 {
		return ""
	}
	return c.Actors[0].Subject
}
