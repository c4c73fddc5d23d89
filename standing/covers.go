package standing

import (
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// Roles that a grant may give. They open what the starter policies' roles of the same names open, in one namespace and never on the cluster.
const (
	RoleRead   = "read"
	RoleWrite  = "write"
	RoleWorker = "worker"
	RoleAdmin  = "admin"
)

// Live reports whether the grant is honoured at now: from NotBefore on, and at Expires not any more. There is no tolerance for skew.
func (g *Grant) Live(now time.Time) bool {
	return !now.Before(g.NotBefore) && now.Before(g.Expires)
}

// Covers reports whether the grant is about this act at all. It says nothing of who acts, when, and whether policy permits it. What the
// resource does not tell (it is empty, or r.Unresolved) is not covered by a grant that is narrowed by it.
func (g *Grant) Covers(a policy.Action, r *policy.Resource) bool {
	if r == nil || g.Namespace == "" || r.Namespace != g.Namespace || !g.opens(a) {
		return false
	}
	if a.Name == describeNamespace && g.Role != "" {
		return true // however narrow a role is: clients ask it before anything else, and it names no workflow
	}
	if g.Role == RoleWorker {
		return g.coversWork(a, r)
	}
	return narrows(g.WorkflowType, r.WorkflowType) && narrows(g.WorkflowID, r.WorkflowID) && narrows(g.RunID, r.RunID) && narrows(g.TaskQueue, r.TaskQueue)
}

const (
	describeNamespace = "DescribeNamespace"
	getHistory        = "GetWorkflowExecutionHistory"
)

func narrows(want, have string) bool { return want == "" || want == have }

// opens reports whether the grant's role or its list of actions has the action in it. A grant never reaches the cluster, and none but one
// that names the action reaches the giving of access itself: what is lent can't be passed on.
func (g *Grant) opens(a policy.Action) bool {
	if a.Name == "" || a.Scope == policy.ScopeCluster {
		return false
	}
	if len(g.Actions) > 0 {
		return slices.Contains(g.Actions, a.Name)
	}
	switch g.Role {
	case RoleRead:
		return a.Access == policy.Read
	case RoleWrite:
		return a.Access == policy.Read || a.Access == policy.Operate
	case RoleWorker:
		// As in the starter policies: its namespace when it starts, and histories to replay.
		return a.Access == policy.Work || a.Name == describeNamespace || a.Name == getHistory
	case RoleAdmin:
		return a.Access == policy.Read || a.Access == policy.Operate || a.Access == policy.Work || a.Access == policy.Administer
	}
	return false
}

// coversWork is Covers for a worker. Its task queue says where it takes tasks from, which tasks it answers and whose histories it replays; what
// its workflows do to others (commands) and what it says of itself are not the queue's matter.
func (g *Grant) coversWork(a policy.Action, r *policy.Resource) bool {
	switch {
	case a.Name == "RecordWorkerHeartbeat", a.Name == "ShutdownWorker", strings.HasPrefix(a.Name, "Command."):
		return true
	}
	return narrows(g.TaskQueue, r.TaskQueue)
}

// SameScope reports whether two grants are of one principal and cover the same acts.
func (g *Grant) SameScope(o *Grant) bool {
	return g.Principal == o.Principal && g.Namespace == o.Namespace && g.Role == o.Role && slices.Equal(g.Actions, o.Actions) &&
		g.WorkflowType == o.WorkflowType && g.WorkflowID == o.WorkflowID && g.RunID == o.RunID && g.TaskQueue == o.TaskQueue
}
