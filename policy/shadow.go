package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// shadowed finds policies to which another leaves nothing to do.
func (l *linter) shadowed(rules []*rule) {
	byPrincipal := map[types.EntityUID][]*rule{}
	for _, r := range rules {
		uid, _ := scopeEntity(r.tree().Principal)
		byPrincipal[uid] = append(byPrincipal[uid], r)
	}
	for _, r := range rules {
		uid, _ := scopeEntity(r.tree().Principal)
		others := byPrincipal[types.EntityUID{}]
		if uid != (types.EntityUID{}) {
			others = append(slices.Clip(others), byPrincipal[uid]...)
		}
		for _, o := range others {
			if o == r || !l.covers(o, r) {
				continue
			}
			mutual := l.covers(r, o)
			switch {
			case o.forbids && !r.forbids:
				l.report(r, "remove one of the two, or narrow the forbid", "never matters: forbid %s (%s) covers all of it", o.id, o.located())
			case o.forbids == r.forbids && r.obligation == "" && o.obligation == "" && (!mutual || later(r, o)):
				l.report(r, "remove it", "adds nothing: %s %s (%s) covers all of it", o.effect(), o.id, o.located())
			default:
				continue
			}
			break
		}
	}
}

func later(a, b *rule) bool {
	return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) > 0
}

// covers reports whether a applies whenever b does, as far as their texts show.
func (l *linter) covers(a, b *rule) bool {
	ta, tb := a.tree(), b.tree()
	if !scopeCovers(ta.Principal, tb.Principal) || !scopeCovers(ta.Resource, tb.Resource) {
		return false
	}
	for name := range l.methods[b] {
		if !l.methods[a][name] {
			return false
		}
	}
	if len(l.methods[b]) == 0 {
		return false
	}
	for _, c := range ta.Conditions {
		if !slices.ContainsFunc(tb.Conditions, func(o ast.ConditionType) bool {
			return o.Condition == c.Condition && cedarText(o.Body) == cedarText(c.Body)
		}) {
			return false
		}
	}
	return true
}

func scopeCovers(a, b ast.IsScopeNode) bool {
	if a == b {
		return true
	}
	uid, named := scopeEntity(b)
	within := func(parent types.EntityUID) bool {
		if !named {
			return false
		}
		namespace, _, inside := strings.Cut(string(uid.ID), "/")
		return uid == parent || parent == clusterUID ||
			parent.Type == typeNamespace && inside && namespace == string(parent.ID)
	}
	switch a := a.(type) {
	case ast.ScopeTypeAll:
		return true
	case ast.ScopeTypeIn:
		return within(a.Entity)
	case ast.ScopeTypeIs:
		switch b := b.(type) {
		case ast.ScopeTypeIsIn:
			return b.Type == a.Type
		case ast.ScopeTypeEq:
			return b.Entity.Type == a.Type
		}
	case ast.ScopeTypeIsIn:
		b, ok := b.(ast.ScopeTypeIsIn)
		return ok && b.Type == a.Type && within(a.Entity)
	}
	return false
}
