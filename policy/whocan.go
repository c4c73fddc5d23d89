package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Question asks who may do something. Fields of the resource that are empty are open: what policies make of them becomes a condition.
type Question struct {
	Action   string
	Resource Resource
	Now      time.Time // zero leaves conditions on the time among the conditions
}

// Grantee is someone who may do what was asked, and what else must hold.
type Grantee struct {
	Kind       string   `json:"kind"` // "everyone", "group", "client" or "user"
	Name       string   `json:"name,omitempty"`
	Issuer     string   `json:"issuer,omitempty"` // when only tokens of this issuer count
	Note       string   `json:"note,omitempty"`   // of a client in roles.yaml
	Policies   []string `json:"policies"`         // @id of the permits that open it
	Conditions []string `json:"conditions,omitempty"`
}

// Who names a grantee in words, such as "group temporal:payments:write".
func (g Grantee) Who() string {
	if g.Name == "" {
		return g.Kind
	}
	return g.Kind + " " + g.Name
}

// WhoCan lists who may do the action on the resource: the groups and clients that roles.yaml names (for patterns, the group's name in that
// namespace), and the groups, users and clients that policies name. It is empty for an action that does not exist.
func (s *Set) WhoCan(q Question) []Grantee {
	action := s.index.methods[q.Action]
	if action == nil {
		return nil
	}
	var found []Grantee
	everyone := s.grant(action, q, suspect{Grantee: Grantee{Kind: "everyone"}, claims: identity.Claims{Kind: identity.User}})
	for _, one := range s.suspects(action, q.Resource.Namespace) {
		g := s.grant(action, q, one)
		// Who may do it as everyone may is no news.
		if g != nil && (everyone == nil || !slices.Equal(g.Policies, everyone.Policies)) {
			found = append(found, *g)
		}
	}
	switch {
	case everyone == nil:
		return found
	case len(everyone.Conditions) == 0:
		return append([]Grantee{*everyone}, found...)
	}
	return append(found, *everyone) // such as whoever holds a grant
}

// ProfileAttributes names the attributes of people in the directory's profile that roles.yaml declares, so that no others need be asked for. Of a path
// every beginning is named: a name may have a dot in it.
func (s *Set) ProfileAttributes() []string {
	var names []string
	for i := range s.roles.attributes {
		path := s.roles.attributes[i].profile
		for cut := len(path); cut > 0; cut = strings.LastIndexByte(path[:cut], '.') {
			names = append(names, path[:cut])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// suspect is someone to ask about.
type suspect struct {
	Grantee
	claims identity.Claims
	agent  bool
}

// suspects lists everyone whom roles.yaml and the policies about an action name.
func (s *Set) suspects(a *actionInfo, namespace string) []suspect {
	all := map[[3]string]suspect{}
	add := func(one suspect) {
		key := [3]string{one.Kind, one.Name, one.Issuer}
		if _, there := all[key]; !there {
			all[key] = one
		}
	}
	group := func(name, issuer string) {
		add(suspect{Grantee: Grantee{Kind: "group", Name: name, Issuer: issuer}, claims: identity.Claims{Kind: identity.User, Issuer: issuer, Groups: []string{name}}})
	}
	for _, p := range s.roles.patterns {
		for _, role := range leastFirst {
			if isNamespaceName(namespace) && (p.role == "" || p.role == role) {
				group(p.group(roleGrant{namespace, role}), p.issuer)
			}
		}
	}
	for name, entries := range s.roles.groups {
		for _, e := range entries {
			group(name, e.issuer)
		}
	}
	for id, entries := range s.roles.clients {
		for _, e := range entries {
			add(suspect{Grantee: Grantee{Kind: "client", Name: id, Issuer: e.issuer, Note: e.note}, agent: e.agent,
				claims: identity.Claims{Kind: identity.Client, Issuer: e.issuer, ID: id, ClientID: id}})
		}
	}
	for _, uid := range principalsIn(a) {
		issuer, id, _ := strings.Cut(string(uid.ID), "|")
		switch uid.Type {
		case typeGroup:
			group(string(uid.ID), "")
		case typeUser:
			add(suspect{Grantee: Grantee{Kind: "user", Name: id, Issuer: issuer}, claims: identity.Claims{Kind: identity.User, Issuer: issuer, ID: id}})
		case typeClient:
			add(suspect{Grantee: Grantee{Kind: "client", Name: id, Issuer: issuer}, claims: identity.Claims{Kind: identity.Client, Issuer: issuer, ID: id, ClientID: id}})
		}
	}
	list := slices.Collect(maps.Values(all))
	slices.SortFunc(list, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)), strings.Compare(a.Name, b.Name), strings.Compare(a.Issuer, b.Issuer))
	})
	return list
}

func kindRank(kind string) int {
	return slices.Index([]string{"everyone", "group", "user", "client"}, kind)
}

// principalsIn lists the users, clients and groups that the policies about an action name.
func principalsIn(a *actionInfo) []types.EntityUID {
	var found []types.EntityUID
	for r := range a.rules() {
		tree := r.tree()
		if uid, ok := scopeEntity(tree.Principal); ok {
			found = append(found, uid)
		}
		for _, c := range tree.Conditions {
			ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
				if uid, ok := literalEntity(n); ok && (uid.Type == typeGroup || uid.Type == typeUser || uid.Type == typeClient) {
					found = append(found, uid)
				}
				return true
			})
		}
	}
	return found
}

// grant works out whether someone may do it, and what must hold besides; nil if they may not.
func (s *Set) grant(a *actionInfo, ask Question, who suspect) *Grantee {
	claims := who.claims
	claims.Issuer, claims.ID = cmp.Or(claims.Issuer, "any"), cmp.Or(claims.ID, "someone")
	h := s.roles.resolve(&claims)
	h.agent = h.agent || who.agent
	req := Request{Principal: &claims, Action: a.Name, Resource: ask.Resource, Context: Context{Now: ask.Now}}
	req.Resource.Unresolved = true
	var q question
	s.prepare(&q, a, s.newPrincipal(&claims, h), &req)
	q.unknown |= q.unsaid(ask.Now)

	g := who.Grantee
	var sure, maybe []*rule
	var must, either []string
	for r, unnamed := range q.candidates() {
		q.groupsOpen = r.forbids
		t, err := q.openRule(r, unnamed)
		switch {
		case err != nil || r.forbids && t == yes:
			return nil
		case r.forbids && t == open:
			must = append(must, q.lacking(r, unnamed, no))
		case t == yes:
			sure = append(sure, r)
		case t == open:
			maybe = append(maybe, r)
			either = append(either, q.lacking(r, unnamed, yes))
		}
	}
	if claims.Kind == identity.User {
		must = append(must, q.otherGroups()...)
	}
	opens := sure
	if len(sure) == 0 {
		if opens = maybe; len(maybe) == 0 {
			return nil
		}
		slices.Sort(either)
		must = append(must, strings.Join(slices.Compact(either), " or "))
	}
	for _, r := range opens {
		g.Policies = append(g.Policies, r.id)
		for _, o := range r.obligations {
			must = append(must, termWords(o))
		}
	}
	slices.Sort(g.Policies)
	slices.Sort(must)
	g.Conditions = slices.Compact(must)
	return &g
}

// unsaid are the circumstances that a question about someone leaves open.
func (q *question) unsaid(now time.Time) looks {
	open := looksReason | looksGranted | looksGrant | looksBreakGlass | looksSourceIP | looksACR | looksAMR | looksScopes |
		looksRole | looksWanted | looksMinutes | looksRequester | looksManager
	if now.IsZero() {
		open |= looksNow | looksWeekday
	}
	for _, field := range []struct {
		value string
		bit   looks
	}{{q.resource.Signal, looksSignal}, {q.resource.Update, looksUpdate}, {q.resource.Query, looksQuery}, {q.resource.Endpoint, looksEndpoint}} {
		if field.value == "" {
			open |= field.bit
		}
	}
	if q.p.claims.Kind == identity.User {
		return open | looksAuthAge | looksClientID | looksAgent
	}
	return open
}

// otherGroups tells of the forbids that would meet a person because of another group that they may be in.
func (q *question) otherGroups() []string {
	var must []string
	for r := range q.action.rules() {
		uid, ok := scopeEntity(r.tree().Principal)
		if !r.forbids || !ok || uid.Type != typeGroup || q.p.inGroup(string(uid.ID)) {
			continue
		}
		if test := quickScope("resource", r.tree().Resource); test != nil && test(q) != yes {
			continue
		}
		member := *q
		claims := *q.p.claims
		claims.Groups = append(slices.Clone(claims.Groups), string(uid.ID))
		member.p, member.groupsOpen = q.set.newPrincipal(&claims, q.p.holdings), true
		switch t, _ := member.openRule(r, false); t {
		case yes:
			must = append(must, "is not in the group "+string(uid.ID))
		case open:
			must = append(must, "is not in the group "+string(uid.ID)+", or "+member.lacking(r, false, no))
		}
	}
	return must
}
