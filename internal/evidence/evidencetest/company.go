package evidencetest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const issuer = "https://acme.okta.example/oauth2/default"

// Company is a made-up company's quarter.
type Company struct {
	Log   *Log
	Texts map[string][]byte // policy sets by digest

	rng    *rand.Rand
	at     time.Time
	n      int
	digest string
	people []employee
}

type employee struct {
	login, uid string
	groups     []string
	gone       time.Time
}

func (e employee) principal() string { return "user:" + issuer + "|" + e.uid }

// Fill writes n entries of the fourth quarter of 2026 into the log: the traffic of sixty people and ten services, access requests, break-glass,
// leavers, key rotations and policy changes. The same n gives the same entries.
func Fill(log *Log, n int) *Company {
	c := &Company{Log: log, Texts: map[string][]byte{}, rng: rand.New(rand.NewPCG(2026, 10)), at: time.Date(2026, 10, 1, 5, 0, 0, 0, time.UTC)}
	namespaces := []string{"payments-prod", "payments-dev", "deploy", "ledger", "growth", "support"}
	names := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "lena", "mallory", "nina", "oscar", "peggy", "quinn", "rupert", "sybil", "trent"}
	for i := range 60 {
		ns := namespaces[i%len(namespaces)]
		p := employee{login: fmt.Sprintf("%s%d@acme.example", names[i%len(names)], i/len(names)+1), uid: fmt.Sprintf("00u%017d", i), groups: []string{"temporal:" + ns + ":write", "temporal:" + namespaces[(i+2)%len(namespaces)] + ":read"}}
		if i%9 == 0 {
			p.groups = append(p.groups, "temporal:"+namespaces[(i+3)%len(namespaces)]+":admin")
		}
		c.people = append(c.people, p)
	}
	policies := []string{"permit (principal, action, resource)\nwhen { principal in Role::\"write\" };\n", "@id(\"no-late-deploys\")\nforbid (principal, action, resource)\nwhen { context.weekday > 5 };\n"}
	c.policySet(policies[0])
	c.entry(audit.KindGate, "prod-gate", map[string]string{"event": "started", "policy_digest": c.digest, "attestation_key": "gGYgjLn0qPhzOLVNcY7mnBhKVvLLw4kZ8m6k3HGb1vQ"}, nil)
	step := 91 * 24 * time.Hour / time.Duration(max(n, 1))
	special := max(n/60, 1)
	for i := 1; i < n; i++ {
		c.at = c.at.Add(time.Duration(float64(step) * (0.4 + 1.2*c.rng.Float64())))
		if c.at.After(time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)) {
			c.at = time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)
		}
		if i%special == 0 && n-i > 8 {
			i += c.event(i/special, policies) - 1
			continue
		}
		c.call(namespaces)
	}
	return c
}

func (c *Company) policySet(extra string) {
	var b []byte
	for _, t := range [][2]string{{"schema", "entity User;\n"}, {"guardrails.cedar", "// guardrails\n" + extra}, {"roles.yaml", "groups:\n  - pattern: temporal:{namespace}:{role}\n"}} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(t[0])))
		b = binary.BigEndian.AppendUint64(b, uint64(len(t[1])))
		b = append(append(b, t[0]...), t[1]...)
	}
	sum := sha256.Sum256(b)
	c.digest = hex.EncodeToString(sum[:])
	c.Texts[c.digest] = b
}

func (c *Company) id() string {
	c.n++
	return fmt.Sprintf("0199%04x-%04x-7%03x-8%03x-%012x", c.n>>16, c.n&0xffff, c.rng.IntN(4096), c.rng.IntN(4096), c.n)
}

func (c *Company) entry(kind audit.Kind, gate string, detail map[string]string, change func(*audit.Entry)) uint64 {
	e := audit.Entry{Version: audit.EntryVersion, ID: c.id(), Time: c.at, Kind: kind, Gate: gate, Detail: detail}
	if change != nil {
		change(&e)
	}
	return c.Log.Add(e)
}

func (c *Company) call(namespaces []string) {
	e := audit.Entry{Version: audit.EntryVersion, ID: c.id(), Time: c.at, Kind: audit.KindDecision, Gate: "prod-gate", Source: fmt.Sprintf("10.2.%d.%d", c.rng.IntN(4), c.rng.IntN(250))}
	yes := &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"role-write"}, PolicyDigest: c.digest}
	roll := c.rng.IntN(1000)
	switch {
	case roll < 550: // a worker
		w := c.rng.IntN(10)
		ns := namespaces[w%len(namespaces)]
		e.Actor = audit.Party{Principal: fmt.Sprintf("client:%s|0oaworker%011d", issuer, w), ClientID: fmt.Sprintf("0oaworker%011d", w), Groups: []string{"temporal:" + ns + ":worker"}, TokenID: fmt.Sprintf("AT.%x", c.rng.Uint64())}
		e.Action, e.Access, e.Resource = "RespondWorkflowTaskCompleted", "work", policy.Resource{Namespace: ns, TaskQueue: ns}
		yes.Policies = []string{"role-worker"}
		e.Decision = yes
	case roll < 556: // a stranger
		e.Action, e.Resource = "ListNamespaces", policy.Resource{}
		e.Source = fmt.Sprintf("198.51.100.%d", c.rng.IntN(30))
		e.Decision = &policy.Decision{Code: []policy.Code{"token_missing", "token_expired", "issuer_untrusted"}[c.rng.IntN(3)]}
	default:
		p := c.people[c.rng.IntN(len(c.people))]
		if !p.gone.IsZero() && c.at.After(p.gone) {
			p = c.people[0]
		}
		e.Actor = audit.Party{Principal: p.principal(), Login: p.login, ClientID: "0oacli", Groups: p.groups, TokenID: fmt.Sprintf("AT.%x", c.rng.Uint64()), ACR: "phr", AuthTime: c.at.Add(-time.Hour).Truncate(time.Second)}
		ns := p.groups[0][len("temporal:") : len(p.groups[0])-len(":write")]
		e.Action, e.Access, e.Reason = "StartWorkflowExecution", "operate", fmt.Sprintf("CHG-%d: routine", c.rng.IntN(9000))
		e.Resource = policy.Resource{Namespace: ns, WorkflowType: "settle", WorkflowID: fmt.Sprintf("settle-%d", c.rng.IntN(100_000)), TaskQueue: ns}
		e.RequestDigest = hex.EncodeToString(sha256.New().Sum(nil))
		e.Decision = yes
		switch {
		case roll > 960:
			e.Resource.Namespace, e.Access = namespaces[c.rng.IntN(len(namespaces))], "operate"
			e.Decision = &policy.Decision{Code: policy.CodeNoPermission, Missing: "write in " + e.Resource.Namespace, PolicyDigest: c.digest}
		case roll > 700:
			e.Action, e.Access, yes.Policies = "ListWorkflowExecutions", "read", []string{"role-read"}
		case roll < 562 && len(p.groups) > 2:
			e.Action, e.Access, yes.Policies = "UpdateNamespace", "administer", []string{"role-admin"}
		}
	}
	c.Log.Add(e)
}

// event writes some lifecycle entries and returns how many.
func (c *Company) event(k int, policies []string) int {
	p, boss := &c.people[(k*7)%len(c.people)], &c.people[(k*11+5)%len(c.people)]
	as := func(who *employee) func(*audit.Entry) {
		return func(e *audit.Entry) {
			e.Actor = audit.Party{Principal: who.principal(), Login: who.login, ClientID: "0oacli"}
		}
	}
	switch k % 6 {
	case 0: // a request that is approved, used and ends
		id, grant := fmt.Sprintf("req-%04d", k), fmt.Sprintf("grant-%04d", k)
		if k%12 == 0 && k > 0 {
			boss = p // its own approver
		}
		detail := func(event string) map[string]string {
			return map[string]string{"event": event, "request": id, "requester": p.principal(), "requester_login": p.login, "role": "write", "seconds": "3600", "approvals": "1/1", "backend": "native"}
		}
		at := func(who *employee) func(*audit.Entry) {
			return func(e *audit.Entry) {
				as(who)(e)
				e.Resource, e.Grant, e.Reason = policy.Resource{Namespace: "payments-prod"}, grant, "CHG-4711: reissue a batch"
			}
		}
		c.entry(audit.KindAccess, "control", detail("requested"), at(p))
		c.at = c.at.Add(4 * time.Minute)
		c.entry(audit.KindAccess, "control", detail("approved"), at(boss))
		c.entry(audit.KindAccess, "control", detail("activated"), at(boss))
		c.entry(audit.KindDecision, "prod-gate", nil, func(e *audit.Entry) {
			at(p)(e)
			e.Action, e.Access, e.Decision = "TerminateWorkflowExecution", "operate", &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"grants"}, PolicyDigest: c.digest}
		})
		c.entry(audit.KindAccess, "control", detail("ended"), at(p))
		return 5
	case 1: // break-glass
		d := func(event string) map[string]string {
			return map[string]string{"event": event, "request": fmt.Sprintf("bg-%04d", k), "requester": p.principal(), "requester_login": p.login, "role": "admin", "seconds": "1800", "break_glass": "true"}
		}
		at := func(who *employee) func(*audit.Entry) {
			return func(e *audit.Entry) {
				as(who)(e)
				e.Resource, e.Reason, e.Grant = policy.Resource{Namespace: "ledger"}, "INC-77: ledger stuck", fmt.Sprintf("bg-grant-%04d", k)
			}
		}
		c.entry(audit.KindAccess, "control", d("requested"), at(p))
		c.entry(audit.KindAccess, "control", d("activated"), at(p))
		if k%4 == 1 {
			return 2
		}
		c.at = c.at.Add(2 * time.Hour)
		c.entry(audit.KindAccess, "control", d("reviewed"), at(boss))
		return 3
	case 2: // a leaver
		if !p.gone.IsZero() || k < 3 {
			c.entry(audit.KindGate, "prod-gate", map[string]string{"event": "stopped"}, nil)
			return 1
		}
		p.gone = c.at
		source := c.at
		c.at = c.at.Add(time.Duration(2+k%5*17) * time.Second)
		if k%5 == 0 {
			c.at = c.at.Add(2 * time.Hour)
		}
		d := map[string]string{"event": "left", "subject": p.principal(), "login": p.login, "source_event": fmt.Sprintf("ev-%d", k), "source_time": source.Format(time.RFC3339Nano)}
		c.entry(audit.KindDirectory, "control", d, nil)
		c.entry(audit.KindRevocation, "control", map[string]string{"event": "user_deactivated", "subject": p.principal(), "login": p.login, "source": "event_hook", "source_event": d["source_event"], "source_time": d["source_time"], "effect": "barred, 2 runs held"}, nil)
		c.at = c.at.Add(time.Minute)
		c.entry(audit.KindDecision, "prod-gate", nil, func(e *audit.Entry) {
			as(p)(e)
			e.Action, e.Decision = "StartWorkflowExecution", &policy.Decision{Code: "revoked", PolicyDigest: c.digest}
		})
		return 3
	case 3:
		c.entry(audit.KindKey, "control", map[string]string{"event": "rotated", "use": "attestation", "kid": fmt.Sprintf("key-%03d", k), "previous": fmt.Sprintf("key-%03d", k-6)}, nil)
		return 1
	case 4:
		c.policySet(policies[k/6%2] + fmt.Sprintf("// revision %d\n", k))
		c.entry(audit.KindPolicy, "prod-gate", map[string]string{"policy_digest": c.digest}, nil)
		return 1
	}
	c.entry(audit.KindReport, "control", map[string]string{"event": "reconciled", "from": c.at.Add(-24 * time.Hour).Format(time.RFC3339), "to": c.at.Format(time.RFC3339), "bypasses": map[bool]string{true: "1", false: "0"}[k == 29], "orphans": fmt.Sprint(k % 3)}, nil)
	return 1
}
