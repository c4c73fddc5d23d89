package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

func quickContains(n ast.NodeTypeContains) test {
	if list, ok := n.Left.(ast.NodeTypeSet); ok {
		return quickOneOf(list, n.Right)
	}
	if name, ok := isAttribute(n.Left, "principal"); ok {
		what, _ := isAttribute(n.Right, "resource")
		switch {
		case name == "everywhere":
			text, ok := literalText(n.Right)
			if !ok {
				return nil
			}
			bit := roleBit(Role(text))
			return func(q *question) truth { return said(q.always&bit != 0) }
		case name == "confined" && what == "namespace":
			return func(q *question) truth {
				return said(q.queues != nil)
			}
		case name == "queues" && isVariable(n.Right, "resource"):
			return func(q *question) truth { return said(q.action.Scope == ScopeTaskQueue && q.mayTake()) }
		case name == "queues" && what == "queue":
			return func(q *question) truth {
				if !q.hasRunAttributes() || q.resource.TaskQueue == "" {
					return fail
				}
				return said(q.mayTake())
			}
		case roleBit(Role(name)) != 0 && what == "namespace":
			bit := roleBit(Role(name))
			return func(q *question) truth { return said(q.here&bit != 0) }
		}
		return nil
	}
	text, ok := literalText(n.Right)
	if !ok {
		return nil
	}
	if name, ok := isAttribute(n.Left, "context"); ok {
		switch name {
		case "scopes":
			return func(q *question) truth { return said(slices.Contains(q.p.claims.Scopes, text)) }
		case "amr":
			return func(q *question) truth { return said(slices.Contains(q.context.AMR, text)) }
		case "wanted":
			return func(q *question) truth {
				if len(q.context.Wanted) == 0 {
					return fail
				}
				return said(slices.Contains(q.context.Wanted, text))
			}
		}
	}
	if name, ok := isAttribute(n.Left, "resource"); ok && name == "search_attributes" {
		return func(q *question) truth {
			if !q.hasRunAttributes() {
				return fail
			}
			return said(slices.Contains(q.resource.SearchAttributes, text))
		}
	}
	return nil
}

// quickOneOf compiles ["a", "b"].contains(TEXT).
func quickOneOf(list ast.NodeTypeSet, right ast.IsNode) test {
	get := textOf(right)
	if get == nil {
		return nil
	}
	var texts []string
	for _, element := range list.Elements {
		text, ok := literalText(element)
		if !ok {
			return nil
		}
		texts = append(texts, text)
	}
	return func(q *question) truth {
		value, ok := get(q)
		if !ok {
			return fail
		}
		return said(slices.Contains(texts, value))
	}
}

func quickHas(n ast.NodeTypeHas) test {
	switch {
	case isVariable(n.Arg, "context"):
		switch n.Value {
		case "now", "weekday", "client_id", "scopes", "agent", "amr", "granted", "break_glass":
			return always
		case "wanted":
			return func(q *question) truth { return said(len(q.context.Wanted) > 0) }
		case "minutes":
			return func(q *question) truth { return said(q.context.Minutes > 0) }
		case "auth_age":
			return func(q *question) truth { _, ok := q.authAge(); return said(ok) }
		case "source_ip":
			return func(q *question) truth { return said(q.context.SourceIP.IsValid()) }
		}
		if get := contextText(n.Value); get != nil {
			return func(q *question) truth { _, ok := get(q); return said(ok) }
		}
	case isVariable(n.Arg, "resource"):
		switch n.Value {
		case "namespace":
			return always
		case "search_attributes":
			return func(q *question) truth { return said(q.hasRunAttributes()) }
		case "queue":
			return func(q *question) truth { return said(q.hasRunAttributes() && q.resource.TaskQueue != "") }
		}
		if get := resourceText(n.Value); get != nil {
			return func(q *question) truth { _, ok := get(q); return said(ok) }
		}
	}
	return nil
}
