package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// manyPolicies writes the starter set and fills it up to n policies of the sorts that a large company writes: by namespace, by
// group, by both, by workflow, and forbids.
func manyPolicies(t testing.TB, n int) string {
	dir := t.TempDir()
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	have := len(openEngine(t, dir).current.Load().policies)
	for i := have; i < n; i++ {
		fmt.Fprintf(&b, "@id(\"extra-%d\")\n", i)
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "permit (principal in Group::\"team-%d\", action in Action::\"operate\", resource in Namespace::\"ns-%d\");\n", i, i)
		case 1:
			fmt.Fprintf(&b, "permit (principal in Group::\"team-%d\", action, resource) when { resource.namespace == Namespace::\"ns-%d\" };\n", i, i)
		case 2:
			fmt.Fprintf(&b, "forbid (principal, action == Action::\"TerminateWorkflowExecution\", resource in Namespace::\"ns-%d\") unless { context has reason };\n", i)
		case 3:
			fmt.Fprintf(&b, "permit (principal == User::\"https://acme/oauth2/default|00u%d\", action in [Action::\"read\", Action::\"SignalWorkflowExecution\"], resource);\n", i)
		case 4:
			fmt.Fprintf(&b, "permit (principal, action == Action::\"SignalWorkflowExecution\", resource == Workflow::\"ns-%d/order-%d\");\n", i, i)
		}
	}
	if b.Len() > 0 {
		write(t, filepath.Join(dir, "extra.cedar"), b.String())
	}
	return dir
}

func openEngine(t testing.TB, dir string) *Engine {
	t.Helper()
	e, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func benchRequest() Request {
	return Request{
		Principal: &identity.Claims{
			Issuer: "https://acme/oauth2/default", Kind: identity.User, ID: "00ualice", ClientID: "0oacli",
			Groups: []string{"Everyone", "temporal:deploy:write", "temporal:payments:read", "engineering", "team-5"},
			Scopes: []string{"openid", "temporal"},
		},
		Action:   "StartWorkflowExecution",
		Resource: Resource{Namespace: "deploy", WorkflowID: "deploy-web-17", WorkflowType: "Deploy", TaskQueue: "deploy"},
		Context:  Context{Now: time.Unix(1_800_000_000, 0), Reason: "release 17"},
	}
}

var policyCounts = []int{10, 1000, 10_000}

// BenchmarkDecide is one decision for a token seen before: the common case of a gate.
func BenchmarkDecide(b *testing.B) {
	for _, n := range policyCounts {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			e := openEngine(b, manyPolicies(b, n))
			req := benchRequest()
			b.ReportAllocs()
			for b.Loop() {
				if d := e.Decide(req); !d.Allow {
					b.Fatal(d)
				}
			}
		})
	}
}

// BenchmarkDecideUnindexed is the baseline: the same request with every policy handed to Cedar.
func BenchmarkDecideUnindexed(b *testing.B) {
	for _, n := range policyCounts {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			s := openEngine(b, manyPolicies(b, n)).current.Load()
			all := cedar.PolicyMap{}
			for id, r := range s.policies {
				all[id] = r.compiled
			}
			req := benchRequest()
			action := s.index.methods[req.Action]
			b.ReportAllocs()
			for b.Loop() {
				ok, _ := evaluateAll(s, all, action, &req)
				if !ok {
					b.Fatal("denied")
				}
			}
		})
	}
}

// evaluateAll hands Cedar every policy as it was written, with a request that has everything in it.
func evaluateAll(s *Set, all cedar.PolicyIterator, a *actionInfo, req *Request) (cedar.Decision, cedar.Diagnostic) {
	q := &question{}
	s.prepare(q, a, s.principal(req.Principal), req)
	return cedar.Authorize(all, q.entities(looksAll), q.cedarRequest(looksAll))
}

// BenchmarkDecideByCedar is a decision that meets one policy with conditions that only Cedar evaluates, such as those on the time of day.
func BenchmarkDecideByCedar(b *testing.B) {
	hours, err := os.ReadFile("cookbook/business-hours.cedar")
	if err != nil {
		b.Fatal(err)
	}
	e := starter(b, "business-hours.cedar", string(hours))
	req := benchRequest()
	req.Context.Now = caseTime
	b.ReportAllocs()
	for b.Loop() {
		if d := e.Decide(req); !d.Allow {
			b.Fatal(d)
		}
	}
}

// BenchmarkDecideDenied includes finding the role that is missing.
func BenchmarkDecideDenied(b *testing.B) {
	e := openEngine(b, manyPolicies(b, 1000))
	req := benchRequest()
	req.Resource.Namespace = "payments"
	b.ReportAllocs()
	for b.Loop() {
		if d := e.Decide(req); d.Missing != "write in payments" {
			b.Fatal(d)
		}
	}
}

// BenchmarkDecideNewToken includes working out what a token seen for the first time holds.
func BenchmarkDecideNewToken(b *testing.B) {
	e := openEngine(b, manyPolicies(b, 1000))
	req := benchRequest()
	claims := *req.Principal
	b.ReportAllocs()
	for b.Loop() {
		fresh := claims
		req.Principal = &fresh
		if d := e.Decide(req); !d.Allow {
			b.Fatal(d)
		}
	}
}

// BenchmarkLoad is one reload: read, parse, check types, index.
func BenchmarkLoad(b *testing.B) {
	for _, n := range policyCounts {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			dir := manyPolicies(b, n)
			for b.Loop() {
				if r, err := Check(dir); err != nil || !r.OK() {
					b.Fatal(err, r.Problems)
				}
			}
		})
	}
}
