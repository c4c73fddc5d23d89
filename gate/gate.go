// Package gate is the one path to "allowed": authenticate → decide → record → stamp.
//
// It owns that order, what a Temporal API request acts on (its resource), and what a caller is told when refused. The server plugin and the
// proxy are two mountings of it and add no judgement of their own. It refuses to know how calls arrive (gRPC server, proxy, HTTP) and how
// tokens, policies, attestations and the journal work inside.
//
// Follow a call: Admit (this file) → asks (ask.go) and resourceOf (resource.go) → Stamp (stamp.go).
package gate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Authenticator turns a token into an identity; identity.Verifier does. Its errors are *identity.Error.
type Authenticator interface {
	Verify(context.Context, identity.Unverified) (identity.Identity, error)
}

// Decider decides; policy.Engine does.
type Decider interface {
	Decide(policy.Request) policy.Decision
	NamespacesFor(*identity.Claims) (visible []string, all bool)
}

// Recorder keeps the record; audit.Journal does. Append returns when the entry is durable; Enqueue does not wait.
type Recorder interface {
	Append(context.Context, audit.Entry) (seq uint64, err error)
	Enqueue(audit.Entry) error
}

// Config says what a gate is made of. All fields but Clock and Logger are required.
type Config struct {
	Name     string // this gate, as audit entries and attestations name it
	Audience string // the environment that attestations are for, such as "bailiwick:dev"
	Verifier Authenticator
	Policy   Decider
	Log      Recorder
	Signer   *attest.Signer
	Clock    func() time.Time // default time.Now
	Logger   *slog.Logger     // default discards
}

// Gate decides calls. It is safe for concurrent use.
type Gate struct {
	cfg  Config
	keys attest.KeySet // to recognise attestations that workers carry forward
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
	return &Gate{cfg: cfg, keys: cfg.Signer.PublicKeySet()}, nil
}

// Admission is a call that may go on: who, under which decision, about what. Only Admit and AdmitSystem make one.
type Admission struct {
	id       string
	identity identity.Identity // zero for Temporal's own calls
	asks     []ask
	decision policy.Decision
	reason   string
	grant    string
	digest   string
	at       time.Time
}

// Admit authenticates the caller, decides every act that the request contains, and records the decision: durably before it returns when
// the call changes anything ("no audit, no access"). Any error is a *Denial, and the call must not go on.
func (g *Gate) Admit(ctx context.Context, c Call) (*Admission, error) {
	now := g.cfg.Clock()
	a := &Admission{id: newID(), at: now}
	entry := audit.Entry{
		Version: audit.EntryVersion, ID: a.id, Time: now.UTC(), Kind: audit.KindDecision, Gate: g.cfg.Name,
		Action: c.actionName(), Source: c.source(),
	}

	// Authenticate.
	token, err := identity.FromAuthorization(c.Authorization)
	if err == nil {
		a.identity, err = g.cfg.Verifier.Verify(ctx, token)
	}
	if err == nil && !a.identity.Valid() {
		err = errors.New("verifier returned nobody")
	}
	if err != nil {
		return nil, g.refuse(ctx, entry, denyToken(a.id, err))
	}
	claims := a.identity.Claims()
	entry.Actor = partyOf(claims)

	// Parse once: what the caller says, and what the request would do.
	if a.reason, a.grant, err = c.statedReason(); err != nil {
		return nil, g.refuse(ctx, entry, denyRequest(a.id, err))
	}
	entry.Reason, entry.Grant = a.reason, a.grant
	action, known := policy.LookupAction(entry.Action)
	if !known {
		return nil, g.refuse(ctx, entry, denyUnknown(a.id, c.Method))
	}
	entry.Access = string(action.Access)
	if a.asks, err = c.asks(); err != nil {
		return nil, g.refuse(ctx, entry, denyRequest(a.id, err))
	}
	entry.Resource = a.asks[0].resource

	// Decide each act; the first refusal refuses the call.
	mutating := false
	for _, ask := range a.asks {
		act, known := policy.LookupAction(ask.action)
		mutating = mutating || !known || act.Mutating
		d := g.cfg.Policy.Decide(policy.Request{
			Principal: claims, Action: ask.action, Resource: ask.resource,
			Context: policy.Context{Now: now, SourceIP: c.Source, Reason: a.reason, Grant: a.grant},
		})
		if !d.Allow {
			entry.Decision, entry.Resource = &d, ask.resource
			return nil, g.refuse(ctx, entry, denyPolicy(a.id, claims, ask, d))
		}
		a.decision = merge(a.decision, d)
	}
	entry.Decision = &a.decision

	// Record. A crash after this line leaves an entry for a call that never ran; the reverse cannot happen.
	if mutating {
		if action.Access != policy.Work {
			if a.digest, err = c.digest(); err != nil {
				return nil, g.refuse(ctx, entry, denyRequest(a.id, err))
			}
		}
		entry.RequestDigest = a.digest
		if _, err := g.cfg.Log.Append(ctx, entry); err != nil {
			g.cfg.Logger.ErrorContext(ctx, "denying a call that could not be recorded", "action", entry.Action, "decision", a.id, "error", err)
			return nil, denyAudit(a.id)
		}
	} else if err := g.cfg.Log.Enqueue(entry); err != nil {
		g.cfg.Logger.WarnContext(ctx, "a read was let through without a record", "action", entry.Action, "decision", a.id, "error", err)
	}
	return a, nil
}

// AdmitSystem lets through a call of Temporal's own services, which the mounting has already proven to come from inside. Acts in users'
// namespaces are recorded like any other.
func (g *Gate) AdmitSystem(ctx context.Context, c Call) (*Admission, error) {
	now := g.cfg.Clock()
	a := &Admission{id: newID(), at: now}
	action, known := policy.LookupAction(c.actionName())
	if known && action.Mutating && action.Access != policy.Work && c.namespace() != systemNamespace {
		entry := audit.Entry{
			Version: audit.EntryVersion, ID: a.id, Time: now.UTC(), Kind: audit.KindDecision, Gate: g.cfg.Name,
			Actor: audit.Party{Principal: "temporal:internal"}, Action: action.Name, Access: string(action.Access), Resource: resourceOf(c),
			Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"temporal-internal"}},
		}
		if _, err := g.cfg.Log.Append(ctx, entry); err != nil {
			g.cfg.Logger.ErrorContext(ctx, "denying a system call that could not be recorded", "action", entry.Action, "decision", a.id, "error", err)
			return nil, denyAudit(a.id)
		}
	}
	return a, nil
}

// refuse records a denial and returns it. A denial stands whether or not it can be recorded, so it never waits for the disk.
func (g *Gate) refuse(ctx context.Context, e audit.Entry, d *Denial) error {
	if e.Decision == nil {
		e.Decision = &policy.Decision{Code: policy.Code(d.Code), Reasons: []string{d.Message}}
	}
	if err := g.cfg.Log.Enqueue(e); err != nil {
		g.cfg.Logger.WarnContext(ctx, "a denial could not be recorded", "code", d.Code, "decision", d.DecisionID, "error", err)
	}
	if d.Cause != nil {
		g.cfg.Logger.WarnContext(ctx, "denied", "code", d.Code, "decision", d.DecisionID, "action", e.Action, "error", d.Cause)
	}
	return d
}

// System reports whether the call is Temporal's own.
func (a *Admission) System() bool { return !a.identity.Valid() }

// ID is the decision id, shared by the audit entry and the attestation.
func (a *Admission) ID() string { return a.id }

// Principal is what Temporal should write on the events of this call (its native principal). Empty for Temporal's own calls, which name themselves.
func (a *Admission) Principal() (typ, name string) {
	c := a.identity.Claims()
	if c == nil {
		return "", ""
	}
	return string(c.Kind), c.Login
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// merge joins the decisions on several acts of one call, all of which were allowed.
func merge(a, b policy.Decision) policy.Decision {
	if !a.Allow {
		return b
	}
	for _, p := range b.Policies {
		if !slices.Contains(a.Policies, p) {
			a.Policies = append(a.Policies[:len(a.Policies):len(a.Policies)], p)
		}
	}
	for _, o := range b.Obligations {
		if !slices.Contains(a.Obligations, o) {
			a.Obligations = append(a.Obligations[:len(a.Obligations):len(a.Obligations)], o)
		}
	}
	return a
}

func partyOf(c *identity.Claims) audit.Party {
	p := audit.Party{Principal: c.Principal(), Login: c.Login, ClientID: c.ClientID, Groups: c.Groups, TokenID: c.TokenID}
	for _, actor := range c.Actors {
		p.Actors = append(p.Actors, actor.Subject)
	}
	return p
}
