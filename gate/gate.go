// Package gate is the one path to "allowed": authenticate → decide → record → stamp.
//
// It owns that order, what a Temporal API request acts on (its resource), and what a caller is told when refused. The server plugin and the
// proxy are two mountings of it and add no judgement of their own. It refuses to know how calls arrive (gRPC server, proxy, HTTP) and how
// tokens, policies, attestations and the journal work inside.
//
// Follow a call: Admit (this file) → asks (ask.go and, for what takes more room, schedule.go, command.go, batch.go) with describeRequest
// (resource.go) → decide (resolve.go) → record (record.go) → Stamp (stamp.go).
package gate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Authenticator turns a token into an identity; identity.Verifier does. Its errors are *identity.Error.
type Authenticator interface {
	Verify(context.Context, identity.Unverified) (identity.Identity, error)
	VerifyCompanion(context.Context, identity.Identity, identity.Unverified) (identity.Companion, error)
}

// Decider decides; policy.Engine does.
type Decider interface {
	Decide(policy.Request) policy.Decision
	Needs(action, namespace string) bool // whether its answer may depend on what an existing run is
	NamespacesFor(*identity.Claims) (visible []string, all bool)
}

// Recorder keeps the record; audit.Journal does. Append returns when the entry is durable; Enqueue does not wait.
type Recorder interface {
	Append(context.Context, audit.Entry) (seq uint64, err error)
	Enqueue(audit.Entry) error
}

// Config says what a gate is made of. The first six fields are required.
type Config struct {
	Name     string // this gate, as audit entries and attestations name it
	Audience string // the environment that attestations are for, such as "bailiwick:dev"
	Verifier Authenticator
	Policy   Decider
	Log      Recorder
	Signer   *attest.Signer
	Standing Standing         // grants and revocations; default none, and then a call that names a grant is denied
	Runs     Resolver         // default none: where policies look at the type of an existing run, the call is denied
	StateDir string           // what the gate must know across restarts: who created which schedule and who triggered it, one small file each; default: in memory only
	Seal     Sealer           // encrypts what those files say of people; default none, in the clear
	Meter    metric.Meter     // default none
	Clock    func() time.Time // default time.Now
	Logger   *slog.Logger     // default discards

	// AdoptSchedules lets schedules go on that were created before there was a gate. Nobody answers for what they start: those runs are
	// unattested. Default: they are refused until somebody saves them again.
	AdoptSchedules bool

	Directory       Directory       // what tokens leave out of people; default none, and then a caller whose token leaves out what decides is refused
	DirectoryLimits DirectoryConfig // how old what Directory says may be, and how long it is waited for
}

// Gate decides calls. It is safe for concurrent use.
type Gate struct {
	cfg        Config
	keys       *attest.Signer // to recognise attestations that workers carry forward
	ids        ids
	people     people
	runs       *runs // nil without a Resolver
	origins    origins
	tokens     *tokens
	lookups    *lookups
	attributes attributes
	errands    *errands
	triggers   *triggers
	handed     handed
	metrics    *metrics // nil without a Meter
}

// New makes a gate, or says which part is missing.
func New(cfg Config) (*Gate, error) {
	switch {
	case cfg.Name == "":
		return nil, errors.New("making a gate: Name is empty")
	case cfg.Audience == "":
		return nil, errors.New("making a gate: Audience is empty")
	case cfg.Verifier == nil, cfg.Policy == nil, cfg.Log == nil, cfg.Signer == nil:
		return nil, errors.New("making a gate: Verifier, Policy, Log and Signer are all required")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gate{cfg: cfg, keys: cfg.Signer, people: people{seed: maphash.MakeSeed()}, tokens: newTokens()}
	if cfg.Runs != nil {
		g.runs = &runs{resolver: cfg.Runs, clock: cfg.Clock, known: map[runKey]knownRun{}}
	}
	g.attributes = attributes{resolver: cfg.Runs, clock: cfg.Clock}
	var err error
	if g.lookups, err = newLookups(&cfg); err != nil {
		return nil, fmt.Errorf("making a gate: %w", err)
	}
	if g.errands, err = openErrands(cfg.StateDir, cfg.Seal, cfg.Clock); err != nil {
		return nil, fmt.Errorf("making a gate: %w", err)
	}
	if g.triggers, err = openTriggers(cfg.StateDir, cfg.Seal, cfg.Clock); err != nil {
		return nil, fmt.Errorf("making a gate: %w", err)
	}
	if cfg.Meter != nil {
		if g.metrics, err = newMetrics(cfg.Meter); err != nil {
			return nil, fmt.Errorf("making a gate: %w", err)
		}
	}
	return g, nil
}

// Admit authenticates the caller, decides every act that the request contains, and records the decision: durably before it returns when
// the call changes anything ("no audit, no access"). Any error is a *Denial, and the call must not go on.
func (g *Gate) Admit(ctx context.Context, c Call) (*Admission, error) {
	began := g.metrics.now()
	a, err := g.admit(ctx, &c)
	g.metrics.decided(ctx, began, c.actionName(), err)
	return a, err
}

func (g *Gate) admit(ctx context.Context, c *Call) (*Admission, error) {
	now := g.cfg.Clock()
	a := &Admission{id: g.ids.next(now), at: now}
	entry := audit.Entry{
		Version: audit.EntryVersion, ID: a.id, Time: now.UTC(), Kind: audit.KindDecision, Gate: g.cfg.Name,
		Action: c.actionName(), Source: c.source(),
	}
	refuse := func(d *Denial) (*Admission, error) { return nil, g.refuse(ctx, &entry, d) }

	// Authenticate.
	token, err := identity.FromAuthorization(c.Authorization)
	var who identity.Identity
	if err == nil {
		who, err = g.cfg.Verifier.Verify(ctx, token)
	}
	if err == nil && !who.Valid() {
		err = errors.New("verifier returned nobody")
	}
	if err != nil {
		return refuse(denyToken(a.id, err))
	}
	var denial *Denial
	if a.person, denial = g.stand(a.id, g.people.of(who.Claims()), now, &entry); denial != nil {
		return refuse(denial)
	}

	with, err := g.companion(ctx, who, c.IDToken)
	if err != nil {
		return refuse(denyToken(a.id, err))
	}
	who = who.With(with)
	entry.Actor.AMR = who.AMR()

	// Parse once: what the caller says, and what the request would do.
	if a.reason, a.grant, err = c.statedReason(); err != nil {
		return refuse(denyRequest(a.id, err))
	}
	entry.Reason, entry.Grant = a.reason, a.grant
	if denial := g.claim(a, now); denial != nil {
		return refuse(denial)
	}
	action, known := policy.LookupAction(entry.Action)
	if !known {
		return refuse(denyUnknown(a.id, c.Method))
	}
	entry.Access = string(action.Access)
	asks, err := c.asks(a.room[:0])
	if err != nil {
		return refuse(denyRequest(a.id, err))
	}

	a.namespace, a.access, a.request, a.task = asks[0].resource.Namespace, action.Access, c.Request, c.Task
	a.source = c.Source
	var task *ask // the one about a task that is answered
	if action.Access == policy.Work {
		task = g.answered(a, asks)
	}

	// Decide each act; the first refusal refuses the call.
	req := policy.Request{
		Principal: a.person.claims,
		Context:   policy.Context{Now: now, SourceIP: c.Source, Reason: a.reason},
	}
	req.Context.AMR = who.AMR()
	var undigested error // tells only a caller whom policy would let through
	if action.Mutating && action.Access != policy.Work {
		a.digest, undigested = c.digest()
		entry.RequestDigest, req.Context.RequestDigest = a.digest, a.digest
	}
	mutating := action.Mutating
	for i := range asks {
		k := &asks[i]
		if i > 0 {
			act, known := policy.LookupAction(k.action)
			mutating = mutating || !known || act.Mutating
		}
		d, err := g.judge(ctx, a, &req, k)
		entry.Resource = k.resource
		if denial, ok := errors.AsType[*Denial](err); ok {
			return refuse(denial)
		}
		if !d.Allow {
			if i > 0 {
				entry.Acts = []audit.Act{{Action: k.action, Resource: k.resource}}
			}
			a.decision = d
			entry.Decision = &a.decision
			return refuse(denyPolicy(a.id, a.person.claims, k, d))
		}
		a.decision = merge(a.decision, d)
	}
	entry.Decision = &a.decision
	if undigested != nil {
		return refuse(denyRequest(a.id, undigested))
	}
	if task != nil && mutating {
		if denial := g.answer(ctx, a, task, &entry); denial != nil {
			return refuse(denial)
		}
	}
	if adopts(c.Request) {
		var denial *Denial
		if asks, denial = g.adopt(ctx, a, &req, asks, &entry); denial != nil {
			return refuse(denial)
		}
	}
	if c.Operation == nil {
		g.caused(a, &entry)
	} else if len(c.Operation.Statements) > 0 {
		return refuse(denyRequest(a.id, errForeignStatement))
	}
	if err := recordActs(&entry, asks, action); err != nil {
		return refuse(denyRequest(a.id, err))
	}
	if denial := g.settle(a, &entry); denial != nil {
		return refuse(denial)
	}

	// Record. A crash after this line leaves an entry for a call that never ran; the reverse cannot happen.
	if mutating {
		if err := g.append(ctx, &entry); err != nil {
			return nil, denyAudit(a.id)
		}
	} else if err := g.cfg.Log.Enqueue(entry); err != nil {
		g.cfg.Logger.WarnContext(ctx, "a read was let through without a record", "action", entry.Action, "decision", a.id, "error", err)
	}
	if c.Operation != nil {
		g.handed.learn(a.namespace, c.Operation, cause{a.person.originator, a.id}, now)
	}
	return a, nil
}
