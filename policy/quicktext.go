package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// text reads one attribute of type String from a question; false when it is absent.
type text func(*question) (string, bool)

// textOf returns the reader of an expression that names a text attribute, or nil.
func textOf(n ast.IsNode) text {
	a, ok := n.(ast.NodeTypeAccess)
	if !ok {
		return nil
	}
	if inner, ok := isAttribute(a.Arg, "resource"); ok && inner == "namespace" && a.Value == "name" {
		return func(q *question) (string, bool) { return q.namespaceName(), true }
	}
	switch {
	case isVariable(a.Arg, "context"):
		return contextText(a.Value)
	case isVariable(a.Arg, "resource"):
		return resourceText(a.Value)
	case isVariable(a.Arg, "principal") && a.Value == "id":
		return func(q *question) (string, bool) { return q.p.claims.ID, true }
	case isVariable(a.Arg, "principal") && a.Value == "name":
		return func(q *question) (string, bool) { return q.p.name, true }
	case isVariable(a.Arg, "principal") && a.Value == "issuer":
		return func(q *question) (string, bool) { return q.p.claims.Issuer, true }
	}
	return nil
}

func contextText(name types.String) text {
	switch name {
	case "client_id":
		return func(q *question) (string, bool) { return q.p.claims.ClientID, true }
	case "acr":
		return func(q *question) (string, bool) { return some(q.p.claims.ACR) }
	case "reason":
		return func(q *question) (string, bool) { return some(strings.TrimSpace(q.context.Reason)) }
	case "grant":
		return func(q *question) (string, bool) { return some(q.context.provenGrant()) }
	case "role":
		return func(q *question) (string, bool) { return some(q.context.Role) }
	case "requester":
		return func(q *question) (string, bool) { return some(q.context.Requester) }
	case "requester_manager":
		return func(q *question) (string, bool) { return some(q.context.Manager) }
	case "signal":
		return func(q *question) (string, bool) { return some(q.resource.Signal) }
	case "update":
		return func(q *question) (string, bool) { return some(q.resource.Update) }
	case "query":
		return func(q *question) (string, bool) { return some(q.resource.Query) }
	case "endpoint":
		return func(q *question) (string, bool) { return some(q.resource.Endpoint) }
	case "actor":
		return func(q *question) (string, bool) { return some(currentActor(q.p.claims)) }
	case "request_digest":
		return func(q *question) (string, bool) { return some(q.context.RequestDigest) }
	}
	return nil
}

// resourceText reads an attribute that only some kinds of resource have.
func resourceText(name types.String) text {
	of := func(read func(*Resource) string) text {
		return func(q *question) (string, bool) {
			if !q.hasRunAttributes() {
				return "", false
			}
			return some(read(q.resource))
		}
	}
	switch name {
	case "type":
		return of(func(r *Resource) string { return r.WorkflowType })
	case "task_queue":
		return of(func(r *Resource) string { return r.TaskQueue })
	case "cron":
		return of(func(r *Resource) string { return r.Cron })
	case "versioning":
		return of(func(r *Resource) string { return r.Versioning })
	case "id":
		return func(q *question) (string, bool) { return q.id, q.hasRunAttributes() }
	case "run_id":
		return func(q *question) (string, bool) {
			return q.resource.RunID, q.action.Scope == ScopeWorkflow && q.resource.RunID != ""
		}
	case "workflow_id":
		return func(q *question) (string, bool) {
			return q.resource.WorkflowID, q.action.Scope == ScopeSchedule && q.resource.WorkflowID != ""
		}
	case "name":
		return func(q *question) (string, bool) {
			switch q.action.Scope {
			case ScopeTaskQueue:
				return q.id, true
			case ScopeNamespace:
				return q.resource.Namespace, true
			}
			return "", false
		}
	}
	return nil
}

func some(s string) (string, bool) { return s, s != "" }

// hasRunAttributes reports whether the resource is of a kind that has a workflow's attributes.
func (q *question) hasRunAttributes() bool {
	return q.action.Scope == ScopeWorkflow || q.action.Scope == ScopeSchedule
}

// namespaceName is the name of resource.namespace; that of the cluster is empty.
func (q *question) namespaceName() string {
	if q.action.Scope == ScopeCluster {
		return ""
	}
	return q.resource.Namespace
}

// authAge is how many seconds ago the person last proved who they are, if the token says. An authentication a little in the future
// is clock skew, not a negative age.
func (q *question) authAge() (int64, bool) { return authAge(q.p.claims, q.context.Now) }
