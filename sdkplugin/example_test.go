package sdkplugin_test

import (
	"context"
	"fmt"
	"log"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
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
