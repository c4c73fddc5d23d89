package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// looks is a set of attributes, one bit each: what a policy looks at in the context and in a resource that differs by request. A
// request is built with nothing else, because building Cedar records costs more than evaluating the policies that use them.
type looks uint64

const (
	looksNow looks = 1 << iota
	looksWeekday
	looksAuthAge
	looksACR
	looksReason
	looksAMR
	looksGranted
	looksGrant
	looksBreakGlass
	looksSourceIP
	looksClientID
	looksScopes
	looksAgent
	looksSignal
	looksUpdate
	looksQuery
	looksEndpoint
	looksActor
	looksRequestDigest
	looksRole
	looksWanted
	looksMinutes
	looksRequester
	looksManager
	looksDirectoryAge
	looksID
	looksRunID
	looksType
	looksTaskQueue
	looksName
	looksWorkflowID
	looksQueue
	looksSearchAttributes
	looksCron
	looksVersioning
	looksWhole // the resource itself, compared with another

	looksNowhere looks = 0
	looksAll     looks = 1<<iota - 1
	looksContext looks = looksID - 1

	// looksOnRun are the attributes that a run has and a call about it does not tell.
	looksOnRun = looksType | looksTaskQueue | looksQueue | looksSearchAttributes
)

// looksAt maps the attribute's name to its bit. One name has one bit, wherever the attribute is: a bit too many costs only time.
// A test holds it against the schema.
func looksAt(name types.String) looks {
	switch name {
	case "now":
		return looksNow
	case "weekday":
		return looksWeekday
	case "auth_age":
		return looksAuthAge
	case "acr":
		return looksACR
	case "reason":
		return looksReason
	case "amr":
		return looksAMR
	case "granted":
		return looksGranted
	case "grant":
		return looksGrant
	case "break_glass":
		return looksBreakGlass
	case "source_ip":
		return looksSourceIP
	case "client_id":
		return looksClientID
	case "scopes":
		return looksScopes
	case "agent":
		return looksAgent
	case "signal":
		return looksSignal
	case "update":
		return looksUpdate
	case "query":
		return looksQuery
	case "endpoint":
		return looksEndpoint
	case "actor":
		return looksActor
	case "request_digest":
		return looksRequestDigest
	case "role":
		return looksRole
	case "wanted":
		return looksWanted
	case "minutes":
		return looksMinutes
	case "requester":
		return looksRequester
	case "requester_manager":
		return looksManager
	case "directory_age":
		return looksDirectoryAge
	case "id":
		return looksID
	case "run_id":
		return looksRunID
	case "type":
		return looksType
	case "task_queue":
		return looksTaskQueue
	case "name":
		return looksName
	case "workflow_id":
		return looksWorkflowID
	case "queue":
		return looksQueue
	case "search_attributes":
		return looksSearchAttributes
	case "cron":
		return looksCron
	case "versioning":
		return looksVersioning
	}
	return looksNowhere
}

// looksOf finds what a policy looks at. An entity is opaque, so that only reading or testing an attribute shows it, and comparing it
// its name; the context is a record and could also be compared or passed on whole, which is what the counts are for.
//
// With unconfined, what follows "principal.confined.contains(resource.namespace) &&" is left out: it matters only in namespaces where
// roles.yaml confines a worker to task queues.
func looksOf(p *ast.Policy, unconfined bool) looks {
	found := looksNowhere
	for _, c := range p.Conditions {
		found |= looksIn(c.Body, unconfined)
	}
	return found
}

func looksIn(body ast.IsNode, unconfined bool) looks {
	found := looksNowhere
	contexts, resources := 0, 0 // uses of the variables that show no more than the attributes found, subtracted from all uses
	shown := func(n ast.IsNode) {
		if isVariable(n, "context") {
			contexts--
		} else if isVariable(n, "resource") {
			resources--
		}
	}
	ast.Inspect(ast.NewNode(body), func(n ast.IsNode) bool {
		switch n := n.(type) {
		case ast.NodeTypeAnd:
			if unconfined && isConfinedTest(firstOf(n)) {
				return false
			}
		case ast.NodeTypeAccess:
			found |= looksAt(n.Value)
			shown(n.Arg)
		case ast.NodeTypeHas:
			found |= looksAt(n.Value)
			shown(n.Arg)
		case ast.NodeTypeIs:
			shown(n.Left)
		case ast.NodeTypeIsIn:
			if isPlace(n.Entity) {
				shown(n.Left)
			}
		case ast.NodeTypeIn:
			if isPlace(n.Right) {
				shown(n.Left)
			}
		case ast.NodeTypeVariable:
			if n.Name == "context" {
				contexts++
			} else if n.Name == "resource" {
				resources++
			}
		}
		return true
	})
	if contexts != 0 {
		found |= looksContext
	}
	if resources != 0 {
		found |= looksWhole
	}
	return found
}

// isPlace reports whether the node names a namespace or the cluster: being in it shows nothing of a resource but its namespace.
func isPlace(n ast.IsNode) bool {
	uid, ok := literalEntity(n)
	return ok && (uid.Type == typeNamespace || uid.Type == typeCluster)
}

// firstOf is the leftmost condition of a && b && c: without it, none of the others is evaluated.
func firstOf(n ast.IsNode) ast.IsNode {
	for {
		and, ok := n.(ast.NodeTypeAnd)
		if !ok {
			return n
		}
		n = and.Left
	}
}

// isConfinedTest matches principal.confined.contains(resource.namespace).
func isConfinedTest(n ast.IsNode) bool {
	c, ok := n.(ast.NodeTypeContains)
	if !ok {
		return false
	}
	left, _ := isAttribute(c.Left, "principal")
	right, _ := isAttribute(c.Right, "resource")
	return left == "confined" && right == "namespace"
}

// names lists, in words, the attributes of a run in the set.
func (l looks) names() []string {
	var names []string
	for _, n := range []struct {
		bits looks
		name string
	}{
		{looksType, "type"}, {looksTaskQueue | looksQueue, "task queue"}, {looksSearchAttributes, "search attributes"}, {looksRunID, "run id"},
		{looksCron, "cron"}, {looksVersioning, "versioning override"}, {looksID | looksWhole | looksName | looksWorkflowID, "id"},
	} {
		if l&n.bits != 0 {
			names = append(names, n.name)
		}
	}
	return names
}
