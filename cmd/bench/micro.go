package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const startMethod = "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution"

// must stops the run: a figure measured over failures would be worth nothing.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func verifier(i *issuer, cache int) *identity.Verifier {
	return must(identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: i.URL, Audiences: []string{audience}}}, CacheSize: cache}))
}

func tokens(m meter) ([]row, error) {
	i, err := newIssuer()
	if err != nil {
		return nil, err
	}
	defer i.Close()
	ctx := context.Background()

	// Each token is seen once, so each misses the cache: the ring is larger than the cache.
	small := verifier(i, 16)
	defer small.Close()
	ring := make([]string, 512)
	for n := range ring {
		ring[n] = i.token()
	}
	next := 0
	cold, limit := m.compare(func(n int) {
		for range n {
			next = (next + 1) % len(ring)
			must(small.Verify(ctx, identity.ParseUnverified(ring[next])))
		}
	}, func(n int) {
		for k := range n {
			check(i.signatureAndJSON(ring[k%len(ring)]))
		}
	})

	warm := verifier(i, 0)
	defer warm.Close()
	token := identity.ParseUnverified(ring[0])
	mapper := authorization.NewDefaultJWTClaimMapper(stockKeys{i}, &config.Authorization{}, log.NewNoopLogger())
	info := &authorization.AuthInfo{AuthToken: "Bearer " + ring[0]}
	hit, stock := m.compare(func(n int) {
		for range n {
			must(warm.Verify(ctx, token))
		}
	}, func(n int) {
		for range n {
			must(mapper.GetClaims(info))
		}
	})
	return []row{
		atMost("token, first sight (baseline: RS256 signature + JSON)", "us", cold, limit, 1.15),
		atMost("token, seen before (baseline: stock claim mapper)", "us", hit, stock, 0.05),
	}, nil
}

// stockKeys adds what the stock provider interface asks for and an issuer's server already has under another meaning.
type stockKeys struct{ *issuer }

func (stockKeys) Close() {}

// memoryLog takes entries as the journal's queue does, encoded, but has no disk: the decision is measured, not the fsync.
type memoryLog struct{}

func (l memoryLog) Append(_ context.Context, e audit.Entry) (uint64, error) { return 0, l.Enqueue(e) }

func (memoryLog) Enqueue(e audit.Entry) error {
	_, err := e.Marshal()
	return err
}

func policies(dir string, n int) error {
	if err := policy.WriteStarter(dir); err != nil {
		return err
	}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "@id(\"bench-%d\")\npermit(principal in Group::\"team-%d\", action in Action::\"operate\", resource in Namespace::\"ns-%d\");\n", i, i, i)
	}
	return os.WriteFile(filepath.Join(dir, "bench.cedar"), []byte(b.String()), 0o600)
}

func startRequest(id string) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "deploy", WorkflowId: id, RequestId: id, WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"},
	}
}

func decisions(m meter) ([]row, error) {
	i, err := newIssuer()
	if err != nil {
		return nil, err
	}
	defer i.Close()
	ctx := context.Background()
	raw := i.token()
	gates := map[int]*gate.Gate{}
	for _, n := range []int{10, 10_000} {
		dir, err := os.MkdirTemp("", "bailiwick-bench")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := policies(dir, n); err != nil {
			return nil, err
		}
		engine, err := policy.Open(dir, policy.Options{})
		if err != nil {
			return nil, err
		}
		v := verifier(i, 0)
		defer v.Close()
		signer := must(attest.LoadOrCreateSigner(filepath.Join(dir, "key.pem")))
		gates[n] = must(gate.New(gate.Config{Name: "bench", Audience: "bailiwick:bench", Verifier: v, Policy: engine, Log: memoryLog{}, Signer: signer}))
	}
	call := gate.Call{Method: startMethod, Request: startRequest("ship-1"), Authorization: []string{"Bearer " + raw}}
	admit := func(g *gate.Gate) func(int) {
		return func(n int) {
			for range n {
				must(g.Admit(ctx, call))
			}
		}
	}
	mapper := authorization.NewDefaultJWTClaimMapper(stockKeys{i}, &config.Authorization{}, log.NewNoopLogger())
	authorizer := authorization.NewDefaultAuthorizer()
	info := &authorization.AuthInfo{AuthToken: "Bearer " + raw}
	target := &authorization.CallTarget{APIName: startMethod, Namespace: "deploy", Request: call.Request}
	ours, stock := m.compare(admit(gates[10]), func(n int) {
		for range n {
			claims := must(mapper.GetClaims(info))
			if r := must(authorizer.Authorize(ctx, claims, target)); r.Decision != authorization.DecisionAllow {
				check(fmt.Errorf("the stock authorizer denied the call: %s", r.Reason))
			}
		}
	})
	many, few := m.compare(admit(gates[10_000]), admit(gates[10]))
	return []row{
		atMost("gate decision (baseline: stock mapper + authorizer)", "us", ours, stock, 0.1),
		atMost("gate decision (baseline: the goal, 3 us)", "us", ours, 3, 1),
		atMost("gate decision, 10,000 policies (baseline: 10)", "us", many, few, 1.3),
	}, nil
}

func attestations(m meter) ([]row, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer := attest.NewSigner(key)
	party := attest.Party{Principal: "user:http://127.0.0.1:9080/oauth2/default|00ualice000000000001", Login: "alice@acme.example", ClientID: "0oabailiwickcli00001", Profile: "user"}
	s := attest.Statement{
		Version: attest.Version, ID: "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", Issuer: "dev", Audience: "bailiwick:dev", Edge: attest.EdgeStart, Originator: party, Actor: party,
		Reason: "CHG-7: release 1.4.2", Policies: []string{"role-write"}, GroupsDigest: strings.Repeat("b", 64), AuthTime: time.Now(),
		Binding: attest.Binding{Namespace: "deploy", WorkflowID: "ship-142", WorkflowType: "deploy"}, RequestDigest: strings.Repeat("c", 64), IssuedAt: time.Now(),
	}
	raw, err := signer.Sign(s)
	if err != nil {
		return nil, err
	}
	keys := signer.PublicKeySet()
	message := []byte(raw)
	pub := key.Public().(ed25519.PublicKey)
	ours, bare := m.compare(func(n int) {
		for range n {
			must(keys.Verify(must(signer.Sign(s)), "bailiwick:dev"))
		}
	}, func(n int) {
		for range n {
			if !ed25519.Verify(pub, message, ed25519.Sign(key, message)) {
				check(fmt.Errorf("ed25519 does not verify its own signature"))
			}
		}
	})
	size := float64(len(raw))
	return []row{
		atMost("attestation, sign + verify (baseline: bare Ed25519)", "us", ours, bare, 1.5),
		{"attestation, header size (baseline: the limit, 1.5 KB)", size, "bytes", 1536, size / 1536, "ratio <= 1", size <= 1536},
	}, nil
}
