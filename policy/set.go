package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Set is one loaded policy directory. It never changes after newSet; a reload makes another and swaps the pointer, so that no
// request sees half of one. Its methods may be called at the same time.
type Set struct {
	digest   string
	files    []string
	archive  []byte // what digest is the SHA-256 of
	loaded   time.Time
	serial   uint64    // of the bundle that it came in; 0 for a directory
	expires  time.Time // of that bundle; zero for a directory
	policies map[types.PolicyID]*rule
	roles    *rolemap
	index    *index
	actions  map[string]types.Entity
	nowhere  *namespace      // of what is in no namespace: the cluster
	confined map[string]bool // namespaces where roles.yaml confines a worker to task queues

	// Derived values, kept because many calls share a token and a namespace. They die with the set.
	principals *slots[*identity.Claims, *principal]
	namespaces *slots[string, *namespace]
}

const (
	principalSlots = 1 << 14
	namespaceSlots = 1 << 10
)

func newSet(rules []*rule, roles *rolemap) (*Set, error) {
	schema, err := loadSchema()
	if err != nil {
		return nil, err
	}
	s := &Set{
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
	s.confined = roles.confined()
	s.nowhere = s.newNamespace("")
	s.nowhere.inKeys = keysOf(s.index.resources, clusterUID)
	for uid, action := range schema.Actions {
		s.actions[string(uid.ID)] = action.Entity
	}
	return s, nil
}

// LoadSet reads a policy directory. What is wrong inside it is a *LoadError, which names every problem.
func LoadSet(dir string) (*Set, error) {
	src, err := readSource(dir)
	if err != nil {
		return nil, err
	}
	s, problems := compile(src)
	if s == nil {
		return nil, fmt.Errorf("loading policies from %s: %w", dir, &LoadError{problems})
	}
	return s, nil
}

// Decide answers one request, as Engine.Decide does.
func (s *Set) Decide(req Request) Decision { return s.decide(&req) }

// Digest is the SHA-256 (hex) that decisions carry.
func (s *Set) Digest() string { return s.digest }

// Files lists the names of the files that the set was read from.
func (s *Set) Files() []string { return slices.Clone(s.files) }

// principal returns what is known of the claims, from the cache if they were seen before. Claims are compared by address: a
// verifier hands the same ones out for the same token, and nobody may change them.
func (s *Set) principal(c *identity.Claims) *principal {
	return s.principals.get(c, func(c *identity.Claims) *principal { return s.newPrincipal(c, s.roles.resolve(c)) })
}

// namespacesFor lists the namespaces in which the claims hold any role; all reports a role in every namespace.
func (s *Set) namespacesFor(c *identity.Claims) (visible []string, all bool) {
	h := s.principal(c).holdings
	for _, names := range h.in {
		visible = append(visible, names...)
	}
	slices.Sort(visible)
	return slices.Compact(visible), len(h.everywhere) > 0
}
