package policy

import (
	"slices"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// principal is what the engine knows of one token's claims: built once per token and policy set.
type principal struct {
	claims   *identity.Claims
	name     string // of the claims: "user:ISSUER|ID"
	holdings holdings
	uid      types.EntityUID

	in         map[string]roleBits // roles by namespace
	somewhere  roleBits            // in any namespace that is named
	everywhere roleBits
	agent      bool
	groups     map[string]struct{} // only when there are many
	keys       []int32             // index keys of the principal and its groups
	invalid    string              // why nothing can be decided about it: an attribute is not what roles.yaml declares
	lacks      bool                // attributes that the directory has
	attributed bool                // roles.yaml declares attributes:
	declared   types.Record        // those that the principal has

	cedar sync.Once // covers the two below, which only some policies need
	ent   types.Entity
	scps  types.Set // OAuth scopes
}

// roleBits is a set of roles.
type roleBits uint8

const (
	bitRead roleBits = 1 << iota
	bitWrite
	bitWorker
	bitApprover
	bitAdmin
)

func roleBit(r Role) roleBits {
	switch r {
	case RoleRead:
		return bitRead
	case RoleWrite:
		return bitWrite
	case RoleWorker:
		return bitWorker
	case RoleApprover:
		return bitApprover
	case RoleAdmin:
		return bitAdmin
	}
	return 0
}

// manyGroups is from how many groups on a map is faster than a search.
const manyGroups = 16

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
	p := &principal{claims: c, name: c.Principal(), holdings: h, uid: types.NewEntityUID(typeUser, types.String(c.Issuer+"|"+c.ID))}
	if c.Kind == identity.Client {
		p.uid.Type = typeClient
	}
	if len(s.index.principals) > 0 {
		find := func(uid types.EntityUID) {
			if n, ok := s.index.principals[uid]; ok && !slices.Contains(p.keys, n) {
				p.keys = append(p.keys, n)
			}
		}
		for _, g := range c.Groups {
			find(types.EntityUID{Type: typeGroup, ID: types.String(g)})
		}
		find(p.uid)
	}
	if len(c.Groups) >= manyGroups {
		p.groups = make(map[string]struct{}, len(c.Groups))
		for _, g := range c.Groups {
			p.groups[g] = struct{}{}
		}
	}
	for role, names := range h.in {
		for _, name := range names {
			if p.in == nil {
				p.in = make(map[string]roleBits, len(names))
			}
			p.in[name] |= roleBit(role)
			p.somewhere |= roleBit(role)
		}
	}
	for _, role := range h.everywhere {
		p.everywhere |= roleBit(role)
	}
	// Only the outermost actor acts now; the nested ones are history (RFC 8693 section 4.1).
	p.agent = h.agent || len(c.Actors) > 0 && c.Actors[0].Profile == "ai_agent"
	if len(s.roles.attributes) > 0 {
		p.declared, p.invalid = s.roles.declared(c)
		p.lacks = s.roles.profile && s.roles.lacks(c)
		p.attributed = true
	}
	return p
}

func (p *principal) inGroup(name string) bool {
	if p.groups != nil {
		_, ok := p.groups[name]
		return ok
	}
	return slices.Contains(p.claims.Groups, name)
}

// entity is the principal as Cedar sees it.
func (p *principal) entity() types.Entity {
	p.cedar.Do(p.build)
	return p.ent
}

func (p *principal) scopes() types.Set {
	p.cedar.Do(p.build)
	return p.scps
}

func (p *principal) build() {
	c, h := p.claims, p.holdings
	groups := make([]types.EntityUID, len(c.Groups))
	for i, g := range c.Groups {
		groups[i] = types.NewEntityUID(typeGroup, types.String(g))
	}
	attributes := types.RecordMap{
		"issuer": types.String(c.Issuer),
		"id":     types.String(c.ID),
		"name":   types.String(p.name),
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
	if p.attributed {
		attributes["attributes"] = p.declared
	}
	p.ent = types.Entity{UID: p.uid, Parents: types.NewEntityUIDSet(groups...), Attributes: types.NewRecord(attributes)}

	scopes := make([]types.Value, len(c.Scopes))
	for i, scope := range c.Scopes {
		scopes[i] = types.String(scope)
	}
	p.scps = types.NewSet(scopes...)
}

// weekday is 1 on Monday and 7 on Sunday, in UTC.
func weekday(now time.Time) int64 { return int64((now.UTC().Weekday()+6)%7) + 1 }

// authAge is how many seconds ago the person last proved who they are, if the token says.
func authAge(c *identity.Claims, now time.Time) (int64, bool) {
	if c.AuthTime.IsZero() {
		return 0, false
	}
	return max(0, int64(now.Sub(c.AuthTime).Seconds())), true
}
