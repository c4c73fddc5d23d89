package gate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Directory tells what the org says of a person whose token leaves groups or attributes out. Whom the org does not have is not active. It may be
// slow, and is asked once at a time for each person.
type Directory interface {
	Person(ctx context.Context, principal string) (standing.Person, error)
}

// DirectoryConfig bounds what a gate goes by of a directory. The zero value of a field means its default.
type DirectoryConfig struct {
	Fresh   time.Duration // how old facts may be before they are asked for again; default 1 min
	MaxAge  time.Duration // how old facts may be at all, while the directory does not answer; default 15 min
	Wait    time.Duration // how long a call waits for them; default 3 s
	Entries int           // people remembered; default 10,000
}

const (
	// CodeDirectoryUnavailable: the caller's token leaves out what decides, and the directory does not tell it.
	CodeDirectoryUnavailable = "directory_unavailable"
	// CodeDirectoryStale: it told it too long ago.
	CodeDirectoryStale = "directory_stale"
)

// askAgain is how long nobody is asked about who could not be told of.
const askAgain = 5 * time.Second

// profiled is a Decider whose policies may look at what the directory says of people; policy.Engine is one.
type profiled interface {
	NeedsProfile(*identity.Claims) bool
}

// facts are what the directory said of one person, and how asking went. Never changed: the next answer has facts of its own.
type facts struct {
	person  standing.Person
	profile map[string]string
	told    bool      // the directory has ever told
	retry   time.Time // after an answer that did not come: when to ask again
}

// lookups is a gate's memory of a directory: bounded, and never older than it says.
type lookups struct {
	directory Directory
	policy    profiled // nil: policies never look at profiles
	cfg       DirectoryConfig
	clock     func() time.Time
	logger    *slog.Logger
	known     *otter.Cache[string, *facts]

	mu    sync.Mutex // covers under
	under map[string]chan struct{}
}

func newLookups(cfg *Config) (*lookups, error) {
	l := &lookups{directory: cfg.Directory, cfg: cfg.DirectoryLimits, clock: cfg.Clock, logger: cfg.Logger, under: map[string]chan struct{}{}}
	l.policy, _ = cfg.Policy.(profiled)
	c := &l.cfg
	if c.Fresh < 0 || c.MaxAge < 0 || c.Wait < 0 || c.Entries < 0 {
		return nil, fmt.Errorf("remembering people of the directory: limits can't be negative")
	}
	for d, fallback := range map[*time.Duration]time.Duration{&c.Fresh: time.Minute, &c.MaxAge: 15 * time.Minute, &c.Wait: 3 * time.Second} {
		if *d == 0 {
			*d = fallback
		}
	}
	c.MaxAge = max(c.MaxAge, c.Fresh)
	if c.Entries == 0 {
		c.Entries = 10_000
	}
	var err error
	if l.known, err = otter.New(&otter.Options[string, *facts]{MaximumSize: c.Entries, ExpiryCalculator: otter.ExpiryWriting[string, *facts](c.MaxAge + askAgain)}); err != nil {
		return nil, fmt.Errorf("remembering people of the directory: %w", err)
	}
	return l, nil
}

// needs reports whether the claims leave out what decides.
func (l *lookups) needs(c *identity.Claims) bool {
	return c.GroupsElsewhere || l.policy != nil && l.policy.NeedsProfile(c)
}

// find tells what is known of a person, asking where that is not fresh. old may be true only while the directory does not answer.
func (l *lookups) find(principal string) (f *facts, old bool) {
	for waited := false; ; waited = true {
		now := l.clock()
		f, _ = l.known.GetIfPresent(principal)
		fresh := f != nil && f.told && now.Sub(f.person.AsOf) < l.cfg.Fresh
		if fresh || waited || l.directory == nil || f != nil && now.Before(f.retry) {
			return f, !fresh
		}
		select {
		case <-l.ask(principal, f):
		case <-time.After(l.cfg.Wait):
		}
	}
}

// ask begins to ask about a person, or joins whoever does. The channel is closed when the answer, or that there is none, is known.
func (l *lookups) ask(principal string, before *facts) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if done, asked := l.under[principal]; asked {
		return done
	}
	done := make(chan struct{})
	if now, _ := l.known.GetIfPresent(principal); now != nil && now != before { // answered since before was read
		close(done)
		return done
	}
	l.under[principal] = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*l.cfg.Wait)
		defer cancel()
		p, err := l.directory.Person(ctx, principal)
		if err == nil && p.Principal != principal {
			err = fmt.Errorf("the directory told of somebody else")
		}
		now, next := l.clock(), &facts{told: true, person: p}
		if p.AsOf.After(now) {
			next.person.AsOf = now // its clock is ahead: facts are not younger than their arrival
		}
		if err != nil || before != nil && before.told && p.AsOf.Before(before.person.AsOf) {
			if next = (&facts{}); before != nil {
				*next = *before
			}
			next.retry = now.Add(askAgain)
		} else {
			next.profile = identity.ProfileOf(p.Profile)
			if now.Sub(next.person.AsOf) >= l.cfg.Fresh { // the control plane's own copy, because the org does not answer it
				next.retry = now.Add(askAgain)
			}
		}
		if err != nil {
			l.logger.WarnContext(ctx, "the directory does not tell of a caller whose token leaves something out", "error", err)
		}
		l.known.Set(principal, next)
		l.mu.Lock()
		delete(l.under, principal)
		l.mu.Unlock()
		close(done)
	}()
	return done
}

// completed is a person with what the directory says. It is made once for each answer, because policy remembers principals by the address of their
// claims.
type completed struct {
	facts  *facts
	newer  time.Time // AsOf of the standing that took the place of facts; zero: none did
	person *person
}

// complete adds to a person what the token leaves out. A *Denial where that can't be known, or is too old.
func (g *Gate) complete(id string, p *person, now time.Time, entry *audit.Entry) (*person, *Denial) {
	l := g.lookups
	if !l.needs(p.claims) {
		return p, nil
	}
	if p.claims.Kind != identity.User {
		return p, g.denyDirectory(id, CodeDirectoryUnavailable, "your token says that it leaves groups out, and is no person's, so that the directory has none of it", "have the token's issuer put the groups of services into their tokens, or leave the mark out", nil)
	}
	f, old := l.find(p.claims.Principal())
	switch {
	case f == nil || !f.told:
		why := "this gate has no directory to look it up in"
		next := "tell your operator: a control plane with a directory is needed (docs/directory.md), or groups and attributes in the token"
		if l.directory != nil {
			why, next = "the directory can't be asked now", "try again; tell your operator if it stays so: bailiwick directory status"
		}
		return p, g.denyDirectory(id, CodeDirectoryUnavailable, "your token leaves out groups or attributes that policies decide by, and "+why, next, nil)
	case old && now.Sub(f.person.AsOf) > l.cfg.MaxAge:
		return p, g.denyDirectory(id, CodeDirectoryStale,
			fmt.Sprintf("what the directory says of you is %s old, and %s is the limit", now.Sub(f.person.AsOf).Round(time.Second), l.cfg.MaxAge),
			"try again; tell your operator if it stays so: bailiwick directory status", nil)
	case !f.person.Active:
		return p, denyBarred(id, &standing.Bar{Reason: standing.ReasonInactive, Since: f.person.AsOf})
	}
	// A standing that came by a signal is news of the same directory: where it is newer than the facts, its groups count.
	groups, asOf, newer := f.person.Groups, f.person.AsOf, time.Time{}
	if g.cfg.Standing != nil {
		if s, known := g.cfg.Standing.Person(p.claims.Principal()); known && s.AsOf.After(asOf) {
			groups, newer = s.Groups, s.AsOf
		}
	}
	note(entry, "directory_as_of", asOf.UTC().Format(time.RFC3339))
	if known := p.completed.Load(); known != nil && known.facts == f && known.newer.Equal(newer) {
		known.person.noteOmitted(entry)
		return known.person, nil
	}
	claims := *p.claims
	if claims.FactsAsOf = asOf; claims.GroupsElsewhere {
		claims.Groups = slices.Clone(claims.Groups)
		for _, group := range groups {
			if group != "" && !slices.Contains(claims.Groups, group) {
				claims.Groups = append(claims.Groups, group)
			}
		}
	}
	claims.Profile = f.profile
	made := newPerson(&claims)
	made.record(p.claims.Groups)
	if asOf.Before(claims.IssuedAt) {
		// What was taken away after the facts is taken away, though the token is newer.
		probe := claims
		probe.IssuedAt = asOf
		made.probe = &probe
	}
	p.completed.Store(&completed{f, newer, made})
	made.noteOmitted(entry)
	return made, nil
}

// maxRecorded bounds the groups that an entry names, in bytes: as many as a token can carry.
const maxRecorded = 16 << 10

// record keeps a person's entries within what the journal takes. Where the directory has more groups than that, they name those of the token, and
// the digest that attestations carry is of all.
func (p *person) record(own []string) {
	size := 0
	for _, g := range p.party.Groups {
		size += len(g) + 3
	}
	if size > maxRecorded {
		p.omitted = len(p.party.Groups) - len(own)
		p.party.Groups = own
	}
}

func (p *person) noteOmitted(entry *audit.Entry) {
	if p.omitted > 0 {
		note(entry, "groups_omitted", strconv.Itoa(p.omitted))
	}
}

// asked is whose groups are looked for among those that were taken away.
func (p *person) asked() *identity.Claims {
	if p.probe != nil {
		return p.probe
	}
	return p.claims
}

func (g *Gate) denyDirectory(id, code, why, next string, cause error) *Denial {
	return &Denial{Code: code, Message: strings.TrimSuffix(why, ".") + "; " + next, Hint: next, DecisionID: id, Cause: cause, grpc: codes.Unavailable}
}
