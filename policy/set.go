package policy

import (
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// set is one loaded policy directory. It never changes after newSet; a reload makes another and swaps the pointer, so that no
// request sees half of one.
type set struct {
	digest   string
	files    []string
	loaded   time.Time
	policies map[types.PolicyID]*rule
	roles    *rolemap
	index    *index
	actions  map[string]types.Entity

	// Derived values, kept because many calls share a token and a namespace. They die with the set.
	principals *slots[*identity.Claims, *principal]
	namespaces *slots[string, *namespace]
}

const (
	principalSlots = 1 << 14
	namespaceSlots = 1 << 10
)

func newSet(rules []*rule, roles *rolemap) (*set, error) {
	schema, err := loadSchema()
	if err != nil {
		return nil, err
	}
	s := &set{
		policies:   make(map[types.PolicyID]*rule, len(rules)),
		roles:      roles,
		index:      newIndex(rules),
		actions:    make(map[string]types.Entity, len(schema.Actions)),
		principals: newSlots[*identity.Claims, *principal](principalSlots),
		namespaces: newSlots[string, *namespace](namespaceSlots),
	}
	for _, r := range rules {
		s.policies[r.pid()] = r
	}
	for uid, action := range schema.Actions {
		s.actions[string(uid.ID)] = action.Entity
	}
	return s, nil
}

// principal returns what is known of the claims, from the cache if they were seen before. Claims are compared by address: a
// verifier hands the same ones out for the same token, and nobody may change them.
func (s *set) principal(c *identity.Claims) *principal {
	return s.principals.get(c, func(c *identity.Claims) *principal { return s.newPrincipal(c, s.roles.resolve(c)) })
}

// namespacesFor lists the namespaces in which the claims hold any role; all reports a role in every namespace.
func (s *set) namespacesFor(c *identity.Claims) (visible []string, all bool) {
	h := s.principal(c).holdings
	for _, names := range h.in {
		visible = append(visible, names...)
	}
	slices.Sort(visible)
	return slices.Compact(visible), len(h.everywhere) > 0
}
