package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// quickNumber compares context.auth_age, context.weekday or context.minutes with a number.
func quickNumber(left, right ast.IsNode, holds func(n, limit int64) bool) test {
	name, ok := isAttribute(left, "context")
	if !ok || name != "auth_age" && name != "weekday" && name != "minutes" {
		return nil
	}
	v, ok := right.(ast.NodeValue)
	if !ok {
		return nil
	}
	limit, ok := v.Value.(types.Long)
	if !ok {
		return nil
	}
	switch name {
	case "weekday":
		return func(q *question) truth { return said(holds(weekday(q.context.Now), int64(limit))) }
	case "minutes":
		return func(q *question) truth {
			if q.context.Minutes <= 0 {
				return fail
			}
			return said(holds(int64(q.context.Minutes), int64(limit)))
		}
	}
	return func(q *question) truth {
		age, ok := q.authAge()
		if !ok {
			return fail
		}
		return said(holds(age, int64(limit)))
	}
}

func quickEquals(left, right ast.IsNode) test {
	if _, literal := left.(ast.NodeValue); literal {
		left, right = right, left
	}
	if uid, ok := literalEntity(right); ok {
		if v, ok := left.(ast.NodeTypeVariable); ok && v.Name != "context" {
			return isEntity(string(v.Name), uid)
		}
		if name, ok := isAttribute(left, "resource"); ok && name == "namespace" {
			// The namespace of what is in none is Namespace::"".
			return func(q *question) truth {
				return said(uid.Type == typeNamespace && string(uid.ID) == q.namespaceName())
			}
		}
		return nil
	}
	get := textOf(left)
	if get == nil {
		return nil
	}
	want, ok := literalText(right)
	if !ok {
		return sameText(get, textOf(right))
	}
	return func(q *question) truth {
		value, ok := get(q)
		if !ok {
			return fail
		}
		return said(value == want)
	}
}

// sameText compares two text attributes.
func sameText(a, b text) test {
	if b == nil {
		return nil
	}
	return func(q *question) truth {
		x, ok := a(q)
		if !ok {
			return fail
		}
		y, ok := b(q)
		if !ok {
			return fail
		}
		return said(x == y)
	}
}
