package sdkplugin_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
	"github.com/bailiwick-dev/bailiwick/txntoken"
)

// A worker with an identity of its own that verifies for whom it runs.
func ExampleNew() {
	credentials, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{
		TokenURL: "https://acme.okta.com/oauth2/default/v1/token", ClientID: "0oadeployworker00001",
		Scopes: []string{"temporal.worker"}, PrivateKeyFile: "/etc/worker/key.pem", KeyID: "2026-11",
	})
	if err != nil {
		log.Fatal(err)
	}
	plugin, err := sdkplugin.New(sdkplugin.Options{
		Credentials: credentials, KeysURL: "https://bailiwick.acme.example/.well-known/bailiwick/keys", Audience: "bailiwick:prod",
	})
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(client.Options{HostPort: "temporal.acme.example:7233", Namespace: "deploy", Plugins: []client.Plugin{plugin}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, "deploy", worker.Options{}) // the client's plugin serves its workers too
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}

// A call that says why it is made.
func ExampleWithReason() {
	start := func(ctx context.Context, c client.Client) error {
		ctx = sdkplugin.WithReason(ctx, "CHG-7: release 1.4.2")
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "deploy"}, "deploy")
		return err
	}
	_ = start
}

// A workflow that waits for somebody else's approval.
func ExampleReceiveSignal() {
	deploy := func(ctx workflow.Context) error {
		starter, _ := sdkplugin.FromWorkflow(ctx)
		approver, err := sdkplugin.ReceiveSignal(ctx, "approve", nil)
		if err != nil {
			return err
		}
		if approver.Actor.Principal == starter.Actor.Principal {
			return fmt.Errorf("%s may not approve their own deployment", approver.Actor.Login)
		}
		return nil
	}
	_ = deploy
}

// A worker that asks for more than a valid attestation before it pushes.
func ExampleRule() {
	plugin, err := sdkplugin.New(sdkplugin.Options{
		KeysURL: "https://bailiwick.acme.example/.well-known/bailiwick/keys", Audience: "bailiwick:prod",
		Require: []sdkplugin.Rule{
			{Activity: "push*", Workflow: "deploy", Requirement: sdkplugin.Requirement{Human: true, MaxLoginAge: 8 * time.Hour, Reason: true}},
			{Activity: "delete-*", Requirement: sdkplugin.Requirement{NoAgents: true, Grant: true}, Hold: 15 * time.Minute},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = plugin
}

// An activity that judges for itself.
func ExampleRequire() {
	wipe := func(ctx context.Context) error {
		return sdkplugin.Require(ctx, sdkplugin.Requirement{Human: true, MaxLoginAge: 15 * time.Minute, ACR: []string{"phr"}})
	}
	_ = wipe
}

// An activity whose calls to the registry say on whose behalf they are made.
func ExampleTransactionTokens() {
	transport, err := txntoken.NewTransport(txntoken.TransportConfig{Hosts: []string{"registry.acme.example"}, Token: sdkplugin.TransactionTokens("registry.push")})
	if err != nil {
		log.Fatal(err)
	}
	registry := &http.Client{Transport: transport}
	push := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://registry.acme.example/push", nil)
		if err != nil {
			return err
		}
		res, err := registry.Do(req)
		if err != nil {
			return err
		}
		return res.Body.Close()
	}
	_ = push
}

// A person's program against a Temporal that no gate stands in front of: attestations come from the control plane, by the login of `bailiwick login`.
func ExampleExchange() {
	credentials, err := sdkplugin.DeviceLogin(sdkplugin.DeviceLoginConfig{})
	if err != nil {
		log.Fatal(err)
	}
	plugin, err := sdkplugin.New(sdkplugin.Options{Credentials: credentials, Exchange: &sdkplugin.Exchange{URL: "https://bailiwick.acme.example/v1/token"}})
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(client.Options{ // Temporal's own credentials are the program's affair
		HostPort: "deploy.acme.tmprl.cloud:7233", Namespace: "deploy", Credentials: client.NewAPIKeyStaticCredentials("…"), Plugins: []client.Plugin{plugin},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A worker that is put in front of runs which began before Bailiwick did: they go on, marked, and whatever starts from now on needs an attestation.
func ExampleAllowUnattestedBefore() {
	_, err := sdkplugin.New(sdkplugin.Options{
		KeysURL: "https://bailiwick.acme.example/.well-known/bailiwick/keys", Audience: "bailiwick:prod",
		Unattested: sdkplugin.AllowUnattestedBefore(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)),
		Require: []sdkplugin.Rule{
			{Activity: "push*", Requirement: sdkplugin.Requirement{Human: true, Authority: true}}, // not for those either
		},
	})
	if err != nil {
		log.Fatal(err)
	}
}
