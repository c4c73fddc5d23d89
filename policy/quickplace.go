package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// isEntity tests VARIABLE == UID.
func isEntity(variable string, uid types.EntityUID) test {
	switch variable {
	case "principal":
		return func(q *question) truth { return said(q.p.uid == uid) }
	case "action":
		return func(q *question) truth { return said(q.action.uid == uid) }
	case "resource":
		namespace, id, slash := strings.Cut(string(uid.ID), "/")
		return func(q *question) truth {
			switch {
			case uid.Type != q.action.of:
				return no
			case uid.Type == typeCluster:
				return said(uid == clusterUID)
			case uid.Type == typeNamespace:
				return said(string(uid.ID) == q.resource.Namespace)
			}
			return said(slash && namespace == q.resource.Namespace && id == q.id)
		}
	}
	return nil
}

// isIn tests VARIABLE in UID: the entity itself, its groups, its namespace or the cluster.
func isIn(variable string, uid types.EntityUID) test {
	switch variable {
	case "principal":
		if uid.Type == typeGroup {
			group := string(uid.ID)
			return func(q *question) truth { return said(q.p.inGroup(group)) }
		}
		return isEntity(variable, uid)
	case "action":
		if uid.Type != typeAction {
			return func(*question) truth { return no }
		}
		name := string(uid.ID)
		return func(q *question) truth { return said(q.action.Name == name || string(q.action.Access) == name) }
	case "resource":
		switch uid.Type {
		case typeCluster:
			return func(*question) truth { return said(uid == clusterUID) }
		case typeNamespace:
			name := string(uid.ID)
			return func(q *question) truth { return said(q.action.Scope != ScopeCluster && q.resource.Namespace == name) }
		}
		return isEntity(variable, uid)
	}
	return nil
}

func isType(variable string, name types.EntityType) test {
	switch variable {
	case "principal":
		return func(q *question) truth { return said(q.p.uid.Type == name) }
	case "action":
		return func(*question) truth { return said(name == typeAction) }
	case "resource":
		return func(q *question) truth { return said(q.action.of == name) }
	}
	return nil
}

func quickIn(n ast.NodeTypeIn) test {
	v, ok := n.Left.(ast.NodeTypeVariable)
	if !ok || v.Name == "context" {
		return nil
	}
	if uid, ok := literalEntity(n.Right); ok {
		return isIn(string(v.Name), uid)
	}
	list, ok := n.Right.(ast.NodeTypeSet)
	if !ok || len(list.Elements) == 0 {
		return nil
	}
	var any test
	for _, element := range list.Elements {
		uid, ok := literalEntity(element)
		if !ok {
			return nil
		}
		one := isIn(string(v.Name), uid)
		if any == nil {
			any = one
		} else {
			any = either(any, one)
		}
	}
	return any
}
