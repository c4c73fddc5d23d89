package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// truth is what a condition came to. fail means that Cedar would report an error.
type truth uint8

const (
	no truth = iota
	yes
	fail
)

// test is one condition, compiled to run on the question itself: no Cedar entities, records or sets are built. Most policies are
// made of a few kinds of condition, which have this form; a policy with any other is left to Cedar whole. That both come to the
// same is a property test.
type test func(*question) truth

func said(b bool) truth {
	if b {
		return yes
	}
	return no
}

// quickForm compiles the policy without its action scope, or returns nil if some part of it has no quick form.
func quickForm(tree *ast.Policy) test {
	var all test
	add := func(t test) { all = both(all, t) }
	if t := quickScope("principal", tree.Principal); t != nil {
		add(t)
	} else if _, any := tree.Principal.(ast.ScopeTypeAll); !any {
		return nil
	}
	if t := quickScope("resource", tree.Resource); t != nil {
		add(t)
	} else if _, any := tree.Resource.(ast.ScopeTypeAll); !any {
		return nil
	}
	for _, c := range tree.Conditions {
		t := quickTest(c.Body)
		if t == nil {
			return nil
		}
		if c.Condition == ast.ConditionUnless {
			t = not(t)
		}
		add(t)
	}
	if all == nil {
		return always
	}
	return all
}

func always(*question) truth { return yes }

func quickScope(variable string, scope ast.IsScopeNode) test {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return isEntity(variable, s.Entity)
	case ast.ScopeTypeIn:
		return isIn(variable, s.Entity)
	case ast.ScopeTypeIs:
		return isType(variable, s.Type)
	case ast.ScopeTypeIsIn:
		return both(isType(variable, s.Type), isIn(variable, s.Entity))
	}
	return nil
}

func both(a, b test) test {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(q *question) truth {
		if t := a(q); t != yes {
			return t
		}
		return b(q)
	}
}

func either(a, b test) test {
	return func(q *question) truth {
		if t := a(q); t != no {
			return t
		}
		return b(q)
	}
}

func not(a test) test {
	return func(q *question) truth {
		switch a(q) {
		case yes:
			return no
		case no:
			return yes
		}
		return fail
	}
}

// quickTest compiles one expression of type Bool, or returns nil.
func quickTest(n ast.IsNode) test {
	switch n := n.(type) {
	case ast.NodeValue:
		if b, ok := n.Value.(types.Boolean); ok {
			value := said(bool(b))
			return func(*question) truth { return value }
		}
	case ast.NodeTypeAnd:
		a, b := quickTest(n.Left), quickTest(n.Right)
		if a != nil && b != nil {
			return both(a, b)
		}
	case ast.NodeTypeOr:
		a, b := quickTest(n.Left), quickTest(n.Right)
		if a != nil && b != nil {
			return either(a, b)
		}
	case ast.NodeTypeNot:
		if a := quickTest(n.Arg); a != nil {
			return not(a)
		}
	case ast.NodeTypeIfThenElse:
		c, a, b := quickTest(n.If), quickTest(n.Then), quickTest(n.Else)
		if a != nil && b != nil && c != nil {
			return func(q *question) truth {
				switch c(q) {
				case yes:
					return a(q)
				case no:
					return b(q)
				}
				return fail
			}
		}
	case ast.NodeTypeAccess:
		if isVariable(n.Arg, "context") {
			switch n.Value {
			case "agent":
				return func(q *question) truth { return said(q.p.agent) }
			case "granted":
				return func(q *question) truth { return said(q.context.Granted) }
			case "break_glass":
				return func(q *question) truth { return said(q.context.BreakGlass) }
			}
		}
	case ast.NodeTypeHas:
		return quickHas(n)
	case ast.NodeTypeContains:
		return quickContains(n)
	case ast.NodeTypeContainsAll:
		return quickContainsAll(n)
	case ast.NodeTypeIsEmpty:
		return quickIsEmpty(n)
	case ast.NodeTypeEquals:
		return quickEquals(n.Left, n.Right)
	case ast.NodeTypeNotEquals:
		if t := quickEquals(n.Left, n.Right); t != nil {
			return not(t)
		}
	case ast.NodeTypeLessThan:
		return quickNumber(n.Left, n.Right, func(n, limit int64) bool { return n < limit })
	case ast.NodeTypeLessThanOrEqual:
		return quickNumber(n.Left, n.Right, func(n, limit int64) bool { return n <= limit })
	case ast.NodeTypeGreaterThan:
		return quickNumber(n.Left, n.Right, func(n, limit int64) bool { return n > limit })
	case ast.NodeTypeGreaterThanOrEqual:
		return quickNumber(n.Left, n.Right, func(n, limit int64) bool { return n >= limit })
	case ast.NodeTypeLike:
		if get := textOf(n.Arg); get != nil {
			pattern := n.Value
			return func(q *question) truth {
				value, ok := get(q)
				if !ok {
					return fail
				}
				return said(pattern.Match(types.String(value)))
			}
		}
	case ast.NodeTypeIs:
		if v, ok := n.Left.(ast.NodeTypeVariable); ok {
			return isType(string(v.Name), n.EntityType)
		}
	case ast.NodeTypeIsIn:
		v, isVar := n.Left.(ast.NodeTypeVariable)
		uid, isUID := literalEntity(n.Entity)
		if isVar && isUID {
			a, b := isType(string(v.Name), n.EntityType), isIn(string(v.Name), uid)
			if a != nil && b != nil {
				return both(a, b)
			}
		}
	case ast.NodeTypeIn:
		return quickIn(n)
	}
	return nil
}

func isVariable(n ast.IsNode, name types.String) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == name
}

// isAttribute matches VARIABLE.NAME and returns the name.
func isAttribute(n ast.IsNode, variable types.String) (types.String, bool) {
	a, ok := n.(ast.NodeTypeAccess)
	if !ok || !isVariable(a.Arg, variable) {
		return "", false
	}
	return a.Value, true
}

func literalEntity(n ast.IsNode) (types.EntityUID, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return types.EntityUID{}, false
	}
	uid, ok := v.Value.(types.EntityUID)
	return uid, ok
}

func literalText(n ast.IsNode) (string, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return "", false
	}
	s, ok := v.Value.(types.String)
	return string(s), ok
}
