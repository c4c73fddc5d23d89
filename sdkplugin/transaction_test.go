package sdkplugin_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
	"github.com/bailiwick-dev/bailiwick/txntoken"
)

func workerMinter(t testing.TB) *txntoken.Minter {
	t.Helper()
	seed := sha256.Sum256([]byte("bailiwick sdkplugin test worker"))
	m, err := txntoken.NewMinter(txntoken.MinterConfig{Key: ed25519.NewKeyFromSeed(seed[:]), Audience: "acme.example", Workload: "deploy-worker", Scopes: []string{"registry.push"}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// An activity calls a service that knows on whose behalf, in both activities the same transaction.
func TestTransactionTokenReachesTheService(t *testing.T) {
	m := workerMinter(t)
	guard, err := txntoken.Middleware(txntoken.MiddlewareConfig{Keys: m.PublicKeySet, Audience: "acme.example", Scope: []string{"registry.push"}})
	if err != nil {
		t.Fatal(err)
	}
	var logged []string
	service := httptest.NewServer(guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, _ := txntoken.FromContext(r.Context())
		c := v.Claims()
		logged = append(logged, fmt.Sprintf("%s %s by %s for %s in %s of %s, decision %s, lives %s", c.Transaction, c.Environment["activity"], c.Text("actor"), c.Subject, c.Text("workflow_id"), c.Text("namespace"), c.Text("decision"), c.ExpiresAt.Sub(c.IssuedAt)))
	})))
	defer service.Close()
	transport, err := txntoken.NewTransport(txntoken.TransportConfig{Hosts: []string{strings.TrimPrefix(service.URL, "http://")}, Token: sdkplugin.TransactionTokens("registry.push")})
	if err != nil {
		t.Fatal(err)
	}
	httpClient := &http.Client{Transport: transport}
	push := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, service.URL, nil)
		if err != nil {
			return err
		}
		res, err := httpClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK {
			return temporal.NewNonRetryableApplicationError(string(body), "service", err)
		}
		return err
	}
	var log journal
	env := environment(t, newPlugin(t, sdkplugin.Options{TransactionTokens: m}), &log)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
		return errors.Join(workflow.ExecuteActivity(ctx, "push").Get(ctx, nil), workflow.ExecuteActivity(ctx, "announce").Get(ctx, nil))
	}, workflow.RegisterOptions{Name: "family"})
	env.RegisterActivityWithOptions(push, activity.RegisterOptions{Name: "push"})
	env.RegisterActivityWithOptions(push, activity.RegisterOptions{Name: "announce"})
	env.SetHeader(header(sign(t, strong(func(s *attest.Statement) { s.Actor = agent }))))
	env.ExecuteWorkflow("family")
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	const rest = " by client:https://issuer.example|agent for user:https://issuer.example|alice in default-test-workflow-id of default-test-namespace, decision decision-alice, lives 2m0s"
	if want := []string{"default-test-run-id push" + rest, "default-test-run-id announce" + rest}; strings.Join(logged, "\n") != strings.Join(want, "\n") {
		t.Errorf("the service saw\n%s\nwant\n%s", strings.Join(logged, "\n"), strings.Join(want, "\n"))
	}
}

func TestTransactionTokenRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		o     sdkplugin.Options
		scope string
		s     attest.Statement
		says  string
	}{
		"no minter":       {sdkplugin.Options{}, "registry.push", strong(nil), "set Options.TransactionTokens"},
		"another scope":   {sdkplugin.Options{TransactionTokens: workerMinter(t)}, "registry.delete", strong(nil), "not among the minter's"},
		"nobody verified": {sdkplugin.Options{TransactionTokens: workerMinter(t), Mode: sdkplugin.Observe}, "registry.push", strong(func(s *attest.Statement) { s.Binding.WorkflowID = "x" }), "forbidden_unattested"},
	} {
		var log journal
		env := environment(t, newPlugin(t, c.o), &log)
		env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
			return workflow.ExecuteActivity(ctx, "push").Get(ctx, nil)
		}, workflow.RegisterOptions{Name: "family"})
		env.RegisterActivityWithOptions(func(ctx context.Context) error {
			token, err := sdkplugin.TransactionToken(ctx, c.scope)
			if token != "" {
				t.Errorf("%s: a token was minted", name)
			}
			return err
		}, activity.RegisterOptions{Name: "push"})
		env.SetHeader(header(sign(t, c.s)))
		env.ExecuteWorkflow("family")
		if err := env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sdkplugin.TransactionToken(context.Background(), "x"); err == nil {
		t.Error("a token was minted outside of an activity")
	}
}
