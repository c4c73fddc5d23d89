package evidence

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Bounds of what is kept in memory and shown. What is beyond a bound is counted, and the report says so.
const (
	maxPairs   = 100_000 // persons × namespaces × levels
	maxPersons = 50_000  // with refused calls
	maxCodes   = 64
	maxNames   = 8 // policies and grants told of one pair
)

// Ref is an entry that a figure rests on.
type Ref struct {
	Index uint64
	Time  time.Time
	ID    string
}

// person is a principal as people know it.
type person struct{ Principal, Login, Client string }

// Name is how the report calls somebody.
func (p person) Name() string {
	switch {
	case p.Login != "":
		return p.Login
	case p.Client != "" && strings.HasPrefix(p.Principal, "client:"):
		return p.Client
	case p.Principal != "":
		return p.Principal
	}
	return "nobody authenticated"
}

// facts is everything that the report says, as it is gathered.
type facts struct {
	settings Settings
	from, to time.Time
	groups   *regexp.Regexp
	buckets  buckets

	first, next uint64 // indexes of the entries in the pack
	size        uint64
	entries     uint64 // in the period
	kinds       map[audit.Kind]uint64
	lost        []Ref
	unreadable  []Ref
	gone        uint64    // entries of the pack's range that retention has removed
	logEnd      time.Time // of the last entry of the range
	daysSeen    map[int]bool

	people map[string]person // by principal, for names

	listingEntry Ref       // that the listing of people was handed out, if it is of the period
	listingSum   string    // of the listing, as that entry says
	provider     *provider // nil: the pack has no listing

	disclose  discloser  // nil: entries are as they are in the log
	disclosed *disclosed // nil until there is something to disclose

	// Decisions.
	allowed, denied uint64
	byBucket        [][2]uint64 // allowed, denied
	pairs           map[pairKey]*pair
	pairsBeyond     uint64
	held            map[heldKey]*span
	codes           map[string]*codeCount
	refused         map[string]*refusedPerson
	refusedBeyond   uint64
	unpermitted     []Ref // allowed without a policy named
	unpermittedN    uint64
	grantUse        map[string]*grantUse
	policySets      map[string]*span

	// Lifecycle.
	requests    map[string]*request
	requestList []*request
	steps       []step
	keys        []keyEvent
	gateKeys    map[string]string // by gate
	policies    []*policyChange
	inForce     map[string]string // policy set by gate
	moves       []*move
	moveByKey   map[string]*move
	movesBy     map[string][]*move // by principal
	rolesOf     map[string][2]string
	reports     []report
	admin       []step
	approvals   map[runKey][]approval
	conflicts   []conflict

	samples map[string]*sampler
	cited   map[uint64]bool
}

type runKey struct{ namespace, workflow string }

type approval struct {
	who person
	ref Ref
	by  string // name of the signal or update
}

// span is first, last and how often.
type span struct {
	First, Last Ref
	N           uint64
}

func (s *span) add(r Ref) {
	if s.N == 0 || r.Time.Before(s.First.Time) {
		s.First = r
	}
	if s.N == 0 || !r.Time.Before(s.Last.Time) {
		s.Last = r
	}
	s.N++
}

type pairKey struct{ principal, namespace, access string }

// pair is one person's use of one level of access in one namespace.
type pair struct {
	pairKey
	span
	weeks    []uint32
	policies []string
	grants   []string
	agents   bool // some of it through an agent
}

type heldKey struct{ principal, namespace, role string }

type codeCount struct {
	N       uint64
	buckets []uint64
}

type refusedPerson struct {
	who    person
	source string
	span
	codes map[string]uint64
}

type grantUse struct {
	span
	users map[string]bool
}

func newFacts(s Settings, from, to time.Time) *facts {
	f := &facts{
		settings: s, from: from, to: to, groups: regexp.MustCompile(s.Rules.GroupPattern), buckets: newBuckets(from, to), // the pattern is checked
		kinds: map[audit.Kind]uint64{}, people: map[string]person{}, daysSeen: map[int]bool{},
		pairs: map[pairKey]*pair{}, held: map[heldKey]*span{}, codes: map[string]*codeCount{}, refused: map[string]*refusedPerson{},
		grantUse: map[string]*grantUse{}, policySets: map[string]*span{},
		requests: map[string]*request{}, gateKeys: map[string]string{}, inForce: map[string]string{}, moveByKey: map[string]*move{}, movesBy: map[string][]*move{}, rolesOf: map[string][2]string{}, approvals: map[runKey][]approval{},
		samples: map[string]*sampler{}, cited: map[uint64]bool{},
	}
	f.byBucket = make([][2]uint64, f.buckets.n)
	return f
}

func (f *facts) within(t time.Time) bool { return !t.Before(f.from) && t.Before(f.to) }

func (f *facts) cite(r Ref) Ref {
	if r.ID != "" && len(f.cited) < maxCited {
		f.cited[r.Index] = true
	}
	return r
}

// name remembers how a principal is called. The first name seen stays, whichever entry came first.
func (f *facts) name(p person) {
	if p.Principal == "" {
		return
	}
	if have, ok := f.people[p.Principal]; ok && (have.Login != "" || p.Login == "") || len(f.people) >= 2*maxPersons && !ok {
		return
	}
	f.people[p.Principal] = p
}

func (f *facts) called(principal, login string) person {
	if p, ok := f.people[principal]; ok && (p.Login != "" || login == "") {
		return p
	}
	return person{Principal: principal, Login: login}
}

// decision takes one decision into the figures.
func (f *facts) decision(r Ref, e *audit.Entry) {
	who := person{e.Actor.Principal, e.Actor.Login, e.Actor.ClientID}
	f.name(who)
	f.groupsHeld(r, e)
	bucket := f.buckets.of(r.Time)
	if d := e.Decision.PolicyDigest; d != "" && (f.policySets[d] != nil || len(f.policySets) < maxPairs) {
		addTo(f.policySets, d, r)
	}
	if !e.Decision.Allow {
		f.denied++
		f.byBucket[bucket][1]++
		f.refusal(r, e, who, bucket)
		f.sample("CC6.6").offer(r)
		return
	}
	f.allowed++
	f.byBucket[bucket][0]++
	if len(e.Decision.Policies) == 0 {
		f.unpermittedN++
		if len(f.unpermitted) < maxNames {
			f.unpermitted = append(f.unpermitted, r)
		}
	}
	k := pairKey{who.Principal, e.Resource.Namespace, e.Access}
	p := f.pairs[k]
	switch {
	case p == nil && len(f.pairs) >= maxPairs:
		f.pairsBeyond++
	case p == nil:
		p = &pair{pairKey: k, weeks: make([]uint32, f.buckets.n)}
		f.pairs[k] = p
		fallthrough
	default:
		p.add(r)
		p.weeks[bucket]++
		p.policies = addName(p.policies, e.Decision.Policies...)
		if e.Grant != "" {
			p.grants = addName(p.grants, e.Grant)
		}
		p.agents = p.agents || len(e.Actor.Actors) > 0
	}
	if e.Grant != "" {
		u := f.grantUse[e.Grant]
		if u == nil && len(f.grantUse) < maxPairs {
			u = &grantUse{users: map[string]bool{}}
			f.grantUse[e.Grant] = u
		}
		if u != nil {
			u.add(r)
			if len(u.users) < maxNames {
				u.users[who.Principal] = true
			}
		}
	}
	if e.Access == "administer" {
		f.sample("CC8.1").offer(r)
	}
}

func addTo[K comparable](m map[K]*span, k K, r Ref) {
	s := m[k]
	if s == nil {
		s = &span{}
		m[k] = s
	}
	s.add(r)
}

func addName(list []string, names ...string) []string {
	for _, n := range names {
		if len(list) < maxNames && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// groupsHeld notes the roles that the caller's groups gave, used or not.
func (f *facts) groupsHeld(r Ref, e *audit.Entry) {
	for _, g := range e.Actor.Groups {
		ns, role, ok := f.roleOf(g)
		if !ok {
			continue
		}
		k := heldKey{e.Actor.Principal, ns, role}
		if f.held[k] != nil || len(f.held) < maxPairs {
			addTo(f.held, k, r)
		}
	}
}

func (f *facts) roleOf(group string) (namespace, role string, ok bool) {
	got, seen := f.rolesOf[group]
	if !seen {
		if m := f.groups.FindStringSubmatch(group); m != nil {
			got = [2]string{m[1], m[2]}
		}
		if len(f.rolesOf) < maxPairs {
			f.rolesOf[group] = got
		}
	}
	return got[0], got[1], got[0] != ""
}

func (f *facts) refusal(r Ref, e *audit.Entry, who person, bucket int) {
	code := string(e.Decision.Code)
	if f.codes[code] == nil && len(f.codes) >= maxCodes {
		code = "(other)"
	}
	if f.codes[code] == nil {
		f.codes[code] = &codeCount{buckets: make([]uint64, f.buckets.n)}
	}
	f.codes[code].N++
	f.codes[code].buckets[bucket]++

	key := who.Principal
	if key == "" {
		key = "source:" + e.Source
	}
	p := f.refused[key]
	if p == nil {
		if len(f.refused) >= maxPersons {
			f.refusedBeyond++
			return
		}
		p = &refusedPerson{who: who, codes: map[string]uint64{}}
		if who.Principal == "" {
			p.source = e.Source
		}
		f.refused[key] = p
	}
	p.add(r)
	p.codes[code]++
}
