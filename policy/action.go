package policy

import (
	"slices"
	"strings"
	"sync"
)

// Access is the level of access that an action needs. The levels are the action groups of the Cedar schema.
type Access string

const (
	Read       Access = "read"       // sees, changes nothing
	Operate    Access = "operate"    // starts, signals, stops, schedules: what people and services do to runs
	Work       Access = "work"       // takes tasks and answers them: what workers do
	Administer Access = "administer" // changes namespaces, search attributes, endpoints or the cluster
	Delegate   Access = "delegate"   // acts on Bailiwick, not on Temporal: asks for access, gives it and takes it away, reads the audit log
)

// accesses lists the levels as people read them.
var accesses = []Access{Read, Operate, Work, Administer, Delegate}

// Scope is the kind of resource that an action acts on. Each kind is one Cedar entity type.
type Scope string

const (
	ScopeCluster   Scope = "cluster"
	ScopeNamespace Scope = "namespace"
	ScopeWorkflow  Scope = "workflow"
	ScopeTaskQueue Scope = "taskqueue"
	ScopeSchedule  Scope = "schedule"
)

// AdminAction stands for every method of Temporal's AdminService.
const AdminAction = "Admin"

// Acts that are not methods of their own: commands that a worker sends inside RespondWorkflowTaskCompleted and that act on the
// worker's own namespace. (A request to a Nexus endpoint over HTTP is decided as StartNexusOperationExecution.)
const (
	CommandStartChild     = "Command.StartChildWorkflowExecution"
	CommandSignal         = "Command.SignalExternalWorkflowExecution"
	CommandRequestCancel  = "Command.RequestCancelExternalWorkflowExecution"
	CommandNexusOperation = "Command.ScheduleNexusOperation"
	CommandContinueAsNew  = "Command.ContinueAsNewWorkflowExecution" // may change type and task queue
)

// Acts on requests for access and on the grants that come of them. The resource is what the request asks for: a workflow, whose id is empty
// where it asks for the whole namespace.
const (
	AccessRequest = "Access.Request" // asks for access, or for more time
	AccessApprove = "Access.Approve" // approves or denies somebody's request
	AccessRevoke  = "Access.Revoke"  // ends a grant before it runs out, or withdraws a request
	AccessReview  = "Access.Review"  // confirms in a review that a grant or a role is still needed, or not
	AccessView    = "Access.View"    // sees requests and grants
)

// Acts on the keys that everything rests on: those of issuers, of services and Bailiwick's own.
const (
	KeysRotate = "Keys.Rotate" // begins a rotation, or takes a verifier off the list of those that are waited for
	KeysView   = "Keys.View"   // sees keys (their public halves), verifiers and rotations
)

// AuditRead reads the entries of the audit log over HTTP, of which hashes and checkpoints are for everybody. It is among the acts on Bailiwick
// and not among those that read Temporal: whoever sees every namespace does not thereby see what everybody did.
const AuditRead = "Audit.Read"

// Action is one API method as policies see it, or an act inside one.
type Action struct {
	Name     string
	Access   Access
	Scope    Scope
	Mutating bool // it changes something, so it must be durably recorded before it is let through
}

// LookupAction finds an action by its name: a WorkflowService method by its short name ("StartWorkflowExecution"), an
// OperatorService method as "Operator.DeleteNamespace", everything of the AdminService as "Admin", a worker's command as
// "Command.StartChildWorkflowExecution", an act on a request for access as "Access.Approve", one on the audit log as "Audit.Read".
func LookupAction(name string) (Action, bool) {
	table := sortedActions()
	i, ok := slices.BinarySearchFunc(table, name, func(a Action, name string) int { return strings.Compare(a.Name, name) })
	if !ok {
		return Action{}, false
	}
	return table[i], true
}

// Actions lists every action, sorted by name.
func Actions() []Action { return slices.Clone(sortedActions()) }

var sortedActions = sync.OnceValue(func() []Action {
	var all []Action
	for _, row := range actionTable {
		for name := range strings.FieldsSeq(row.names) {
			all = append(all, Action{Name: name, Access: row.access, Scope: row.scope, Mutating: row.mutating})
		}
	}
	slices.SortFunc(all, func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	return all
})

// NearestAction is the action that whoever wrote name most likely meant; "" when none is close.
func NearestAction(name string) string {
	if name == "" {
		return ""
	}
	var names []string
	for _, a := range sortedActions() {
		names = append(names, a.Name)
	}
	return nearest(name, names)
}
