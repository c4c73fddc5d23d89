package standing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const issuer = "https://acme.okta.com/oauth2/default"

func grant(id, who string, edit func(*standing.Grant)) standing.Event {
	g := &standing.Grant{ID: id, Principal: "user:" + issuer + "|" + who, Namespace: "payments", Role: "write", NotBefore: epoch, Expires: epoch.Add(time.Hour)}
	if edit != nil {
		edit(g)
	}
	return standing.Event{ID: "grant-" + id, Kind: standing.EventGrant, At: epoch, Grant: g}
}

func revoke(id string) standing.Event {
	return standing.Event{ID: "revoke-" + id, Kind: standing.EventRevoke, At: epoch, Grant: &standing.Grant{ID: id}}
}

func bar(b standing.Bar) standing.Event {
	b.Reason, b.Since = "user_deactivated", epoch
	return standing.Event{ID: "bar-" + b.ID, Kind: standing.EventBar, At: epoch, Bar: &b}
}

func unbar(id string) standing.Event {
	return standing.Event{ID: "unbar-" + id, Kind: standing.EventUnbar, At: epoch, Bar: &standing.Bar{ID: id}}
}

func ids(grants []*standing.Grant) string {
	var out []string
	for _, g := range grants {
		out = append(out, g.ID)
	}
	return strings.Join(out, " ")
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		grant  standing.Grant
		covers string // actions on the resource below
		not    string
	}{
		{standing.Grant{Role: "read"}, "DescribeWorkflowExecution ListWorkflowExecutions DescribeNamespace DescribeSchedule", "StartWorkflowExecution PollWorkflowTaskQueue UpdateNamespace GetSystemInfo Operator.ListNexusEndpoints Access.View"},
		{standing.Grant{Role: "write"}, "DescribeWorkflowExecution TerminateWorkflowExecution CreateSchedule", "PollWorkflowTaskQueue UpdateNamespace Access.Request"},
		{standing.Grant{Role: "worker"}, "PollWorkflowTaskQueue RespondWorkflowTaskCompleted DescribeNamespace GetWorkflowExecutionHistory Command.StartChildWorkflowExecution", "StartWorkflowExecution ListWorkflowExecutions"},
		{standing.Grant{Role: "admin"}, "TerminateWorkflowExecution PollWorkflowTaskQueue UpdateNamespace Operator.DeleteNamespace", "RegisterNamespace Admin Operator.CreateNexusEndpoint Access.Approve Access.Request"},
		{standing.Grant{Actions: []string{"TerminateWorkflowExecution"}}, "TerminateWorkflowExecution", "DescribeNamespace DescribeWorkflowExecution SignalWorkflowExecution"},
		{standing.Grant{Actions: []string{"RegisterNamespace", "Admin"}}, "", "RegisterNamespace Admin"}, // never the cluster
		{standing.Grant{Role: "root"}, "", "DescribeWorkflowExecution"},
		{standing.Grant{}, "", "DescribeWorkflowExecution"},
		{standing.Grant{Role: "write", WorkflowType: "deploy", WorkflowID: "w", RunID: "r", TaskQueue: "q"}, "TerminateWorkflowExecution DescribeNamespace", ""},
		{standing.Grant{Role: "write", WorkflowType: "other"}, "DescribeNamespace", "TerminateWorkflowExecution"},
		{standing.Grant{Role: "write", WorkflowID: "other"}, "", "TerminateWorkflowExecution"},
		{standing.Grant{Role: "write", RunID: "other"}, "", "TerminateWorkflowExecution"},
		{standing.Grant{Role: "write", TaskQueue: "other"}, "", "TerminateWorkflowExecution"},
		{standing.Grant{Role: "worker", TaskQueue: "q"}, "PollWorkflowTaskQueue RespondWorkflowTaskCompleted GetWorkflowExecutionHistory", ""},
		{standing.Grant{Role: "worker", TaskQueue: "other"}, "DescribeNamespace RecordWorkerHeartbeat Command.StartChildWorkflowExecution", "PollWorkflowTaskQueue RespondWorkflowTaskCompleted GetWorkflowExecutionHistory"},
	} {
		tc.grant.Namespace = "payments"
		r := &policy.Resource{Namespace: "payments", WorkflowType: "deploy", WorkflowID: "w", RunID: "r", TaskQueue: "q"}
		for want, names := range map[bool]string{true: tc.covers, false: tc.not} {
			for name := range strings.FieldsSeq(names) {
				a, known := policy.LookupAction(name)
				if !known {
					t.Fatalf("no action %q", name)
				}
				if got := tc.grant.Covers(a, r); got != want {
					t.Errorf("%+v covers %s: %v", tc.grant, name, got)
				}
				elsewhere := *r
				elsewhere.Namespace = "deploy"
				nowhere := *r
				nowhere.Namespace = ""
				if tc.grant.Covers(a, &elsewhere) || tc.grant.Covers(a, &nowhere) || tc.grant.Covers(a, nil) {
					t.Errorf("%+v covers %s outside its namespace", tc.grant, name)
				}
			}
		}
	}
	blank := standing.Grant{Role: "write"}
	if a, _ := policy.LookupAction("TerminateWorkflowExecution"); blank.Covers(a, &policy.Resource{}) {
		t.Error("a grant without a namespace covers what is in none")
	}
	everything := standing.Grant{Namespace: "payments", Role: "write", WorkflowType: "deploy"}
	if a, _ := policy.LookupAction("TerminateWorkflowExecution"); everything.Covers(a, &policy.Resource{Namespace: "payments", Unresolved: true}) {
		t.Error("a grant for one type covers whatever a query finds")
	}
}

func TestGrantsInTheState(t *testing.T) {
	var s standing.State
	alice := "user:" + issuer + "|alice"
	live := func(at time.Time) string { return ids(s.Grants(alice, at)) }
	check := func(want string, at time.Time) {
		t.Helper()
		if got := live(at); got != want {
			t.Errorf("at %s: %q, want %q", at.Sub(epoch), got, want)
		}
	}
	check("", epoch)
	must(t, s.ApplyAll([]standing.Event{
		grant("b", "alice", nil), grant("a", "alice", func(g *standing.Grant) { g.NotBefore = epoch.Add(time.Minute) }), grant("c", "bob", nil),
		grant("d", "alice", func(g *standing.Grant) { g.Expires = epoch.Add(2 * time.Hour) }),
	}))
	check("b d", epoch)
	check("a b d", epoch.Add(time.Minute))
	check("a b d", epoch.Add(time.Hour-1))
	check("d", epoch.Add(time.Hour))
	check("", epoch.Add(-1))
	must(t, s.Apply(grant("b", "alice", func(g *standing.Grant) { g.Expires = epoch.Add(3 * time.Hour) }))) // an extension
	check("b d", epoch.Add(time.Hour))
	must(t, s.Apply(revoke("d")))
	must(t, s.Apply(revoke("never-seen")))
	check("b", epoch.Add(time.Hour))
	must(t, s.ApplyAll([]standing.Event{grant("d", "alice", nil), grant("never-seen", "alice", nil)})) // late news
	check("a b", epoch.Add(time.Minute))
	if got := s.Status(epoch); got.Grants != 3 || !got.Known || got.Stale {
		t.Errorf("status %+v", got)
	}
	s.Sweep(epoch.Add(90 * time.Minute))
	if got := s.Status(epoch); got.Grants != 1 {
		t.Errorf("after a sweep: %+v", got)
	}
	check("b", epoch.Add(90*time.Minute))
	must(t, s.Replace([]standing.Event{grant("z", "alice", nil)}, 9))
	check("z", epoch)
	if got := s.Status(epoch); got.Seq != 9 || got.Grants != 1 {
		t.Errorf("status %+v", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPositionsMakeEventsHarmlessTwice(t *testing.T) {
	var s standing.State
	at := func(seq uint64, e standing.Event) standing.Event { e.Seq = seq; return e }
	must(t, s.ApplyAll([]standing.Event{at(1, grant("a", "alice", nil)), at(2, bar(standing.Bar{ID: "b", ClientID: "c"})), at(3, unbar("b"))}))
	must(t, s.ApplyAll([]standing.Event{at(2, bar(standing.Bar{ID: "b", ClientID: "c"}))}))
	if _, barred := s.Barred(&identity.Claims{ClientID: "c"}, epoch); barred {
		t.Error("an event from before was applied again")
	}
	if err := s.ApplyAll([]standing.Event{at(4, grant("x", "alice", nil)), {Seq: 5, ID: "broken", Kind: "bar", At: epoch}}); err == nil {
		t.Error("a malformed event was applied")
	}
	if got := ids(s.Grants("user:"+issuer+"|alice", epoch)); got != "a" {
		t.Errorf("half of a batch was applied: %s", got)
	}
}

func TestBarsByIssueTime(t *testing.T) {
	var s standing.State
	before := epoch.Add(500 * time.Millisecond)
	must(t, s.Apply(bar(standing.Bar{ID: "b", SessionID: "s", Before: before})))
	for issued, want := range map[time.Time]bool{
		{}: true, epoch.Add(-time.Hour): true, epoch: true, epoch.Add(time.Second): false,
	} {
		if _, got := s.Barred(&identity.Claims{Kind: identity.User, Issuer: issuer, ID: "alice", SessionID: "s", IssuedAt: issued}, epoch); got != want {
			t.Errorf("issued %s: barred %v", issued, got)
		}
	}
	// To the second, the token and the bar are of one instant: closed.
	must(t, s.Apply(bar(standing.Bar{ID: "b", SessionID: "s", Before: epoch})))
	if _, got := s.Barred(&identity.Claims{SessionID: "s", IssuedAt: epoch}, epoch); !got {
		t.Error("a token of the very second is let in")
	}
	if _, got := s.Barred(&identity.Claims{IssuedAt: epoch}, epoch); got {
		t.Error("a token without a session is barred by a session's bar")
	}
}

func TestDirectoryFactsComeInAnyOrder(t *testing.T) {
	var s standing.State
	alice := &identity.Claims{Kind: identity.User, Issuer: issuer, ID: "alice"}
	facts := func(active bool, at time.Duration) standing.Event {
		return standing.Event{ID: "p", Kind: standing.EventPerson, At: epoch, Person: &standing.Person{Principal: alice.Principal(), Active: active, Groups: []string{"a"}, AsOf: epoch.Add(at)}}
	}
	barred := func() bool { _, b := s.Barred(alice, epoch); return b }
	must(t, s.ApplyAll([]standing.Event{facts(false, 2), facts(true, 1)}))
	if !barred() {
		t.Error("older facts won")
	}
	must(t, s.Apply(facts(true, 3)))
	if barred() {
		t.Error("back again, and still barred")
	}
	if p, ok := s.Person(alice.Principal()); !ok || !p.Active || p.Groups[0] != "a" {
		t.Errorf("person %+v", p)
	}
	if _, ok := s.Person("user:x|y"); ok {
		t.Error("a stranger is known")
	}
}

// Whatever the order of events, the state is what a plain list of facts says.
func TestStateAgreesWithAModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s standing.State
		type fact struct {
			who   string
			ended bool
			until time.Time
		}
		grants, bars := map[string]fact{}, map[string]string{}
		var batch []standing.Event
		for step := range 300 {
			id, who := fmt.Sprint("g", r.IntN(20)), fmt.Sprint("u", r.IntN(5))
			switch r.IntN(6) {
			case 0, 1, 2:
				if f, ok := grants[id]; ok {
					who = f.who
				}
				e := grant(id, who, func(g *standing.Grant) { g.Expires = epoch.Add(time.Duration(1+r.IntN(100)) * time.Minute) })
				if f := grants[id]; !f.ended {
					grants[id] = fact{who, false, e.Grant.Expires}
				}
				batch = append(batch, e)
			case 3:
				grants[id] = fact{grants[id].who, true, time.Time{}}
				batch = append(batch, revoke(id))
			case 4:
				bars[id] = who
				batch = append(batch, bar(standing.Bar{ID: id, Principal: "user:" + issuer + "|" + who}))
			case 5:
				delete(bars, id)
				batch = append(batch, unbar(id))
			}
			if r.IntN(4) == 0 || step == 299 {
				must(t, s.ApplyAll(batch))
				batch = nil
			}
		}
		for u := range 5 {
			who, at := fmt.Sprint("u", u), epoch.Add(time.Duration(r.IntN(100))*time.Minute)
			var want []string
			for id, f := range grants {
				if f.who == who && !f.ended && at.Before(f.until) {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			if got := ids(s.Grants("user:"+issuer+"|"+who, at)); got != strings.Join(want, " ") {
				t.Fatalf("seed %d, %s at %s: %q, want %q", seed, who, at, got, want)
			}
			barred := false
			for _, b := range bars {
				barred = barred || b == who
			}
			if _, got := s.Barred(&identity.Claims{Kind: identity.User, Issuer: issuer, ID: who}, at); got != barred {
				t.Fatalf("seed %d, %s barred: %v, want %v", seed, who, got, barred)
			}
		}
		if got := s.Status(epoch); got.Bars != int64(len(bars)) {
			t.Fatalf("seed %d: %d bars counted, want %d", seed, got.Bars, len(bars))
		}
	}
}

// One event among ten thousand grants copies little of them.
func TestApplyingOneEventIsCheap(t *testing.T) {
	var s standing.State
	var all []standing.Event
	for i := range 10_000 {
		all = append(all, grant(fmt.Sprint("g", i), fmt.Sprint("u", i), nil))
	}
	must(t, s.ApplyAll(all))
	n := 0
	allocated := testing.AllocsPerRun(100, func() {
		n++
		must(t, s.Apply(grant(fmt.Sprint("new", n), fmt.Sprint("u", n), nil)))
	})
	if allocated > 100 {
		t.Errorf("%v allocations for one event", allocated)
	}
	if got := testing.AllocsPerRun(100, func() {
		if len(s.Grants("user:"+issuer+"|u9999", epoch)) != 1 {
			t.Error("not found")
		}
	}); got > 1 { // the name is put together by the test
		t.Errorf("%v allocations for a look", got)
	}
}

func TestReadsDuringWrites(t *testing.T) {
	var s standing.State
	must(t, s.Apply(bar(standing.Bar{ID: "always", Principal: "user:" + issuer + "|mallory"})))
	mallory, alice := &identity.Claims{Kind: identity.User, Issuer: issuer, ID: "mallory"}, "user:"+issuer+"|alice"
	stop := make(chan struct{})
	var readers, writer sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, barred := s.Barred(mallory, epoch); !barred {
					t.Error("a bar was gone for a moment")
					return
				}
				for _, g := range s.Grants(alice, epoch) {
					if g.Principal != alice {
						t.Error("somebody else's grant")
					}
				}
			}
		})
	}
	writer.Go(func() {
		for i := range 300 {
			id := fmt.Sprint("g", i%7, i/50)
			must(t, s.ApplyAll([]standing.Event{grant(id, "alice", nil), bar(standing.Bar{ID: id, ClientID: id})}))
			must(t, s.ApplyAll([]standing.Event{revoke(id), unbar(id)}))
			s.Sweep(epoch)
			if i%50 == 0 {
				must(t, s.Replace([]standing.Event{bar(standing.Bar{ID: "always", Principal: "user:" + issuer + "|mallory"})}, 0))
			}
		}
	})
	writer.Wait()
	close(stop)
	readers.Wait()
}

func TestEventsAreChecked(t *testing.T) {
	good := func() standing.Event { return grant("g", "alice", nil) }
	for name, edit := range map[string]func(*standing.Event){
		"no id": func(e *standing.Event) { e.ID = "" }, "no time": func(e *standing.Event) { e.At = time.Time{} }, "no grant": func(e *standing.Event) { e.Grant = nil },
		"two things": func(e *standing.Event) { e.Bar = &standing.Bar{ID: "b"} }, "another kind": func(e *standing.Event) { e.Kind = "pardon" }, "kind without its thing": func(e *standing.Event) { e.Kind = standing.EventBar },
		"no role": func(e *standing.Event) { e.Grant.Role = "" }, "role and actions": func(e *standing.Event) { e.Grant.Actions = []string{"TerminateWorkflowExecution"} },
		"unknown role": func(e *standing.Event) { e.Grant.Role = "root" }, "no namespace": func(e *standing.Event) { e.Grant.Namespace = "" }, "never ends": func(e *standing.Event) { e.Grant.Expires = time.Time{} },
		"ends as it begins": func(e *standing.Event) { e.Grant.Expires = e.Grant.NotBefore }, "run without workflow": func(e *standing.Event) { e.Grant.RunID = "r" },
		"worker on a workflow": func(e *standing.Event) { e.Grant.Role, e.Grant.WorkflowID = "worker", "w" }, "long reason": func(e *standing.Event) { e.Grant.Reason = strings.Repeat("x", 10<<20) },
		"control characters": func(e *standing.Event) { e.Grant.Reason = "a\x1b[2J" }, "invalid UTF-8": func(e *standing.Event) { e.Grant.Login = "\xff" },
		"unknown action": func(e *standing.Event) { e.Grant.Role, e.Grant.Actions = "", []string{"Teleport"} },
	} {
		e := good()
		edit(&e)
		if e.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, b := range map[string]standing.Bar{
		"nobody": {ID: "b", Reason: "r"}, "two": {ID: "b", Reason: "r", Principal: "p", ClientID: "c"}, "no reason": {ID: "b", Principal: "p"}, "group of a client": {ID: "b", Reason: "r", ClientID: "c", Group: "g"},
	} {
		if e := (standing.Event{ID: "e", Kind: standing.EventBar, At: epoch, Bar: &b}); e.Validate() == nil {
			t.Errorf("a bar of %s was accepted", name)
		}
	}
	e := good()
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}
