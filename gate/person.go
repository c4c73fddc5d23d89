package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
)

// person is what entries and attestations say of one verified token. It is made once per token, because a verifier gives the same claims to
// every call with it.
type person struct {
	claims       *identity.Claims
	party        audit.Party
	originator   attest.Party
	actor        attest.Party
	chain        []attest.Party
	groupsDigest string
	reduced      atomic.Pointer[reduced] // the same without groups that were taken away since

	completed atomic.Pointer[completed] // the same with what the directory says
	omitted   int                       // groups that entries do not name, because they are too many
	probe     *identity.Claims          // the claims as of when the directory said it, where that is before the token was issued
}

func newPerson(c *identity.Claims) *person {
	p := &person{
		claims: c,
		party: audit.Party{
			Principal: c.Principal(), Login: c.Login, ClientID: c.ClientID, Groups: c.Groups, TokenID: c.TokenID, TokenKey: c.KeyID,
			Scopes: c.Scopes, AuthTime: c.AuthTime, ACR: c.ACR,
		},
		originator:   attest.Party{Principal: c.Principal(), Login: c.Login, ClientID: c.ClientID, Profile: string(c.Kind)},
		groupsDigest: groupsDigest(c.Groups),
	}
	p.actor = p.originator
	for _, actor := range c.Actors {
		p.party.Actors = append(p.party.Actors, actor.Subject)
		p.chain = append(p.chain, attest.Party{Principal: actor.Subject, Profile: actor.Profile})
	}
	if len(c.Actors) > 0 {
		// RFC 8693: the token's subject is the human, the outermost actor is who acts now.
		p.party.ActorProfile = c.Actors[0].Profile
		p.actor = attest.Party{Principal: "client:" + c.Issuer + "|" + c.Actors[0].Subject, ClientID: c.ClientID, Profile: c.Actors[0].Profile}
	}
	return p
}

// splitPrincipal reads identity.Claims.Principal.
func splitPrincipal(principal string) (kind identity.Kind, issuer, id string, ok bool) {
	k, rest, ok1 := strings.Cut(principal, ":")
	i := strings.LastIndexByte(rest, '|')
	if !ok1 || i < 0 || k != string(identity.User) && k != string(identity.Client) {
		return "", "", "", false
	}
	return identity.Kind(k), rest[:i], rest[i+1:], true
}

// groupsDigest fixes the groups that the token carried without writing them into history.
func groupsDigest(groups []string) string {
	sorted := slices.Sorted(slices.Values(groups))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n")))
	return hex.EncodeToString(sum[:])
}

// people remembers persons by the address of their claims. Each has one place and a later one may take it: memory is bounded, reading takes
// no lock, and a lost place costs only making the person again.
type people struct {
	seed   maphash.Seed
	places [1024]atomic.Pointer[person]
}

func (p *people) of(c *identity.Claims) *person {
	place := &p.places[maphash.Comparable(p.seed, c)%uint64(len(p.places))]
	if known := place.Load(); known != nil && known.claims == c {
		return known
	}
	made := newPerson(c)
	place.Store(made)
	return made
}
