package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Standing is how principals stand beyond their tokens; *standing.State is one. What it returns is shared and read only.
type Standing interface {
	Grants(principal string, now time.Time) []*standing.Grant // the live ones
	Barred(c *identity.Claims, now time.Time) (standing.Bar, bool)
	GroupsLost(c *identity.Claims, now time.Time) []string // groups that the token names and the person has no more
	Person(principal string) (standing.Person, bool)
}

const (
	// CodeGrantInvalid: the caller names a grant that is unknown, somebody else's, not in force yet, or over.
	CodeGrantInvalid = "grant_invalid"
	// CodeRevoked: the caller's access was taken away before the token ran out.
	CodeRevoked = "revoked"
	// CodeStandingUnknown: this gate can't know yet whose access was taken away.
	CodeStandingUnknown = standing.ReasonUnknown
)

// reduced is a person without groups that the token still names. It is made once for each set of groups lost, because policy remembers
// principals by the address of their claims.
type reduced struct {
	lost   []string
	person *person
}

// without is the person without the groups; the claims that the verifier shares stay as they are.
func (p *person) without(lost []string) *person {
	if known := p.reduced.Load(); known != nil && slices.Equal(known.lost, lost) {
		return known.person
	}
	claims := *p.claims
	claims.Groups = slices.DeleteFunc(slices.Clone(claims.Groups), func(g string) bool { return slices.Contains(lost, g) })
	r := &reduced{slices.Clone(lost), newPerson(&claims)}
	p.reduced.Store(r)
	return r.person
}

// stand is who the caller is by now: what was taken away since the token was issued is taken out, and on record. A *Denial when nothing is left.
func (g *Gate) stand(id string, p *person, now time.Time, entry *audit.Entry) (*person, *Denial) {
	entry.Actor = p.party
	if g.cfg.Standing != nil {
		if b, barred := g.cfg.Standing.Barred(p.claims, now); barred {
			note(entry, "bar", b.ID)
			note(entry, "bar_reason", b.Reason)
			return p, denyBarred(id, &b)
		}
	}
	p, denial := g.complete(id, p, now, entry)
	if entry.Actor = p.party; denial != nil || g.cfg.Standing == nil {
		return p, denial
	}
	if lost := g.cfg.Standing.GroupsLost(p.asked(), now); len(lost) > 0 {
		p = p.without(lost)
		entry.Actor = p.party
		note(entry, "groups_lost", strings.Join(lost, ","))
	}
	return p, nil
}

func note(entry *audit.Entry, key, value string) {
	if value == "" {
		return
	}
	if entry.Detail == nil {
		entry.Detail = make(map[string]string, 2)
	} else {
		entry.Detail = maps.Clone(entry.Detail) // it may be the asker's
	}
	entry.Detail[key] = value
}

func denyBarred(id string, b *standing.Bar) *Denial {
	if b.Reason == standing.ReasonUnknown {
		return &Denial{
			Code: CodeStandingUnknown, Message: "this gate has not heard its control plane yet and can't know whose access was revoked, so it refuses everybody; try again, and tell your operator if it stays so",
			DecisionID: id, grpc: codes.Unavailable,
		}
	}
	d := &Denial{Code: CodeRevoked, DecisionID: id, grpc: codes.PermissionDenied}
	when := ""
	if !b.Since.IsZero() {
		when = " at " + b.Since.UTC().Format(time.RFC3339)
	}
	d.Message = fmt.Sprintf("your access was revoked%s (%s)", when, clip(b.Reason, 64))
	if b.Before.IsZero() {
		d.Hint = "ask your operator, with the decision's id"
	} else {
		d.Hint = "log in again: bailiwick login"
	}
	d.Message += "; " + d.Hint
	return d
}
