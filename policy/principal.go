package policy

import (
	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// principal is what the engine knows of one token's claims: built once per token and policy set.
type principal struct {
	claims   *identity.Claims
	holdings holdings
	entity   types.Entity
	keys     []int32   // index keys of the principal and its groups
	scopes   types.Set // OAuth scopes
	agent    types.Boolean
}

// invalidClaims says why no decision can be made for the claims, or "".
func invalidClaims(c *identity.Claims) string {
	switch {
	case c == nil:
		return "nobody is signed in"
	case c.Kind != identity.User && c.Kind != identity.Client:
		return "the principal is neither a user nor a client"
	case c.Issuer == "" || c.ID == "":
		return "the principal has no issuer or no id"
	}
	return ""
}

func (s *Set) newPrincipal(c *identity.Claims, h holdings) *principal {
	p := &principal{claims: c, holdings: h}
	uid := types.NewEntityUID(typeUser, types.String(c.Issuer+"|"+c.ID))
	if c.Kind == identity.Client {
		uid.Type = typeClient
	}
	groups := make([]types.EntityUID, len(c.Groups))
	for i, g := range c.Groups {
		groups[i] = types.NewEntityUID(typeGroup, types.String(g))
	}
	p.keys = keysOf(s.index.principals, append(groups, uid)...)

	attributes := types.RecordMap{
		"issuer": types.String(c.Issuer),
		"id":     types.String(c.ID),
	}
	for _, role := range leastFirst {
		names := make([]types.Value, len(h.in[role]))
		for i, name := range h.in[role] {
			names[i] = types.NewEntityUID(typeNamespace, types.String(name))
		}
		attributes[types.String(role)] = types.NewSet(names...)
	}
	confined, queues := make([]types.Value, 0, len(h.queues)), []types.Value{}
	for namespace, names := range h.queues {
		confined = append(confined, types.NewEntityUID(typeNamespace, types.String(namespace)))
		for _, name := range names {
			queues = append(queues, types.NewEntityUID(typeTaskQueue, types.String(namespace+"/"+name)))
		}
	}
	attributes["confined"], attributes["queues"] = types.NewSet(confined...), types.NewSet(queues...)
	everywhere := make([]types.Value, len(h.everywhere))
	for i, role := range h.everywhere {
		everywhere[i] = types.String(role)
	}
	attributes["everywhere"] = types.NewSet(everywhere...)
	p.entity = types.Entity{UID: uid, Parents: types.NewEntityUIDSet(groups...), Attributes: types.NewRecord(attributes)}

	scopes := make([]types.Value, len(c.Scopes))
	for i, scope := range c.Scopes {
		scopes[i] = types.String(scope)
	}
	p.scopes = types.NewSet(scopes...)
	// Only the outermost actor acts now; the nested ones are history (RFC 8693 section 4.1).
	p.agent = types.Boolean(h.agent || len(c.Actors) > 0 && c.Actors[0].Profile == "ai_agent")
	return p
}
