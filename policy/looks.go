package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// looks is a set of attributes, one bit each: what a policy looks at in the context and in a resource that differs by request. A
// request is built with nothing else, because building Cedar records costs more than evaluating the policies that use them.
type looks uint32

const (
	looksNow looks = 1 << iota
	looksAuthAge
	looksACR
	looksReason
	looksGrant
	looksSourceIP
	looksClientID
	looksScopes
	looksAgent
	looksSignal
	looksUpdate
	looksQuery
	looksEndpoint
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
	case "auth_age":
		return looksAuthAge
	case "acr":
		return looksACR
	case "reason":
		return looksReason
	case "grant":
		return looksGrant
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

// looksOf finds what a policy looks at. An entity is opaque, so that only reading or testing an attribute shows it; the context is
// a record and could also be compared or passed on whole, which is what the count is for.
func looksOf(p *ast.Policy) looks {
	found := looksNowhere
	for _, c := range p.Conditions {
		uses, reads := 0, 0
		look := func(arg ast.IsNode, name types.String) {
			found |= looksAt(name)
			if v, ok := arg.(ast.NodeTypeVariable); ok && v.Name == "context" {
				reads++
			}
		}
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				look(n.Arg, n.Value)
			case ast.NodeTypeHas:
				look(n.Arg, n.Value)
			case ast.NodeTypeVariable:
				if n.Name == "context" {
					uses++
				}
			}
			return true
		})
		if uses != reads {
			found = looksAll
		}
	}
	return found
}
