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
	if get := contextSet(n.Left); get != nil {
		return func(q *question) truth {
			set, ok := get(q)
			if !ok {
				return fail
			}
			return said(slices.Contains(set, text))
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

// contextSet returns the reader of context.NAME where that is a set of texts, or nil. Reading gives false when it is absent.
func contextSet(n ast.IsNode) func(*question) ([]string, bool) {
	switch name, _ := isAttribute(n, "context"); name {
	case "scopes":
		return func(q *question) ([]string, bool) { return q.p.claims.Scopes, true }
	case "amr":
		return func(q *question) ([]string, bool) { return q.context.AMR, true }
	case "wanted":
		return func(q *question) ([]string, bool) { return q.context.Wanted, len(q.context.Wanted) > 0 }
	}
	return nil
}

// literalTexts returns the members of a set of literal texts.
func literalTexts(n ast.IsNode) ([]string, bool) {
	list, ok := n.(ast.NodeTypeSet)
	if !ok {
		return nil, false
	}
	texts := make([]string, len(list.Elements))
	for i, element := range list.Elements {
		if texts[i], ok = literalText(element); !ok {
			return nil, false
		}
	}
	return texts, true
}

// quickContainsAll compiles ["a", "b"].containsAll(context.SET) and context.SET.containsAll(["a", "b"]).
func quickContainsAll(n ast.NodeTypeContainsAll) test {
	set, turned := contextSet(n.Left), false
	texts, ok := literalTexts(n.Right)
	if set == nil {
		set, turned = contextSet(n.Right), true
		texts, ok = literalTexts(n.Left)
	}
	if set == nil || !ok {
		return nil
	}
	return func(q *question) truth {
		values, ok := set(q)
		if !ok {
			return fail
		}
		all, some := values, texts
		if turned {
			all, some = texts, values
		}
		for _, value := range some {
			if !slices.Contains(all, value) {
				return no
			}
		}
		return yes
	}
}

// quickIsEmpty compiles principal.ROLE.isEmpty(), principal.everywhere.isEmpty() and context.SET.isEmpty().
func quickIsEmpty(n ast.NodeTypeIsEmpty) test {
	if get := contextSet(n.Arg); get != nil {
		return func(q *question) truth {
			set, ok := get(q)
			if !ok {
				return fail
			}
			return said(len(set) == 0)
		}
	}
	name, _ := isAttribute(n.Arg, "principal")
	if name == "everywhere" {
		return func(q *question) truth { return said(q.always == 0) }
	}
	bit := roleBit(Role(name))
	if bit == 0 {
		return nil
	}
	return func(q *question) truth { return said((q.p.somewhere|q.here)&bit == 0) } // here has the role that is only supposed
}

// quickOneOf compiles ["a", "b"].contains(TEXT).
func quickOneOf(list ast.NodeTypeSet, right ast.IsNode) test {
	get := textOf(right)
	if get == nil {
		return nil
	}
	texts, ok := literalTexts(list)
	if !ok {
		return nil
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
