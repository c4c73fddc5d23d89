package oktakeys_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/internal/rotation/oktakeys"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// kit is a development org, Okta's adapter as a service app of it, a verifier with its real key set, and rotations in Temporal's test environment.
type kit struct {
	*testing.T
	base, issuer string
	admin        *okta.Client // with the API token, which faults spare
	verifier     *identity.Verifier
	registry     *rotation.Registry
	service      *rotation.Service
	dir          string
	times        rotation.Times
	between      func(step string)        // called before each step; may be nil
	again        func(step string, n int) // called before each attempt of a step, from the first on; may be nil
	lost         string                   // the activity whose first answers are lost

	mu      sync.Mutex    // covers the rest
	ahead   time.Duration // by which the workflow's clock, which skips pauses, is ahead of ours
	entries []audit.Entry
	alerts  []rotation.Rotation
	runs    map[string]int
	order   []string
}

const server = "default"

func newKit(t *testing.T) *kit { // RSA keys take their time: tests share one org where they can
	t.Helper()
	k := &kit{T: t, dir: t.TempDir()}
	k.times = rotation.Times{Verifiers: 20 * time.Second, Watch: 300 * time.Millisecond, TokenLifetime: time.Hour, Overlap: time.Minute, Retry: 20 * time.Second, Silent: time.Minute, Heartbeat: 30 * time.Second}
	var o *devorg.Org
	k.base, o = orgtest.Start(t, devorg.Config{Seed: devorg.Acme()})
	k.issuer = k.base + "/oauth2/" + server
	var err error
	k.admin, err = okta.New(okta.Config{URL: k.base, Credentials: okta.APIToken(devorg.APIToken)})
	k.must(err)

	control, worker := k.file("control.pem"), k.file("worker.pem")
	for app, file := range map[string]string{devorg.ManagementClient: control, devorg.DeployWorker: worker} {
		_, err := o.EnsureClientKey(t.Context(), app, file)
		k.must(err)
	}
	k.must(os.WriteFile(k.file("agent.secret"), []byte(devorg.AgentSecret+"\n"), 0o600))
	k.verifier, err = identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: k.issuer, Audiences: []string{"api://temporal"}}}, Cooldown: 50 * time.Millisecond})
	k.must(err)
	t.Cleanup(func() { _ = k.verifier.Close() })
	k.fresh()
	return k
}

// fresh begins again with the same org: without faults, hooks, records and what was heard of limits.
func (k *kit) fresh() {
	k.Helper()
	k.dev(http.MethodDelete, "")
	k.between, k.again, k.lost, k.entries, k.alerts, k.runs, k.order = nil, nil, "", nil, nil, map[string]int{}, nil
	control, worker := k.file("control.pem"), k.file("worker.pem")
	app, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: devorg.ManagementClient, Scopes: []string{"okta.authorizationServers.manage", "okta.apps.manage"},
		Key: func() (*rsa.PrivateKey, string, error) { return rotation.ReadKey(control) }})
	k.must(err)
	client, err := okta.New(okta.Config{URL: k.base, Credentials: app, MaxWait: 5 * time.Second, Attempts: 1})
	k.must(err)
	if k.registry == nil {
		k.registry, err = rotation.OpenRegistry(k.Context(), rotation.RegistryConfig{DSN: k.file("verifiers.db"), Clock: k.now})
		k.must(err)
		k.Cleanup(func() { _ = k.registry.Close() })
	}
	k.registry.Local("gate-1", k.verifier)
	k.service, err = rotation.New(rotation.Config{
		Servers: oktakeys.Servers{Client: client}, Apps: oktakeys.Apps{Client: client}, Prove: k.prove, Verifiers: k.registry, Decider: nobody{}, Recorder: k, Clock: k.now,
		Issuers: []rotation.IssuerTarget{{ID: server, URL: k.issuer}},
		Clients: []rotation.ClientTarget{{ID: devorg.DeployWorker, File: worker}, {ID: devorg.ReleaseAgent, File: k.file("agent.secret"), Secret: true}},
		Alert: func(_ context.Context, r rotation.Rotation) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.alerts = append(k.alerts, r)
		},
	})
	k.must(err)
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// now is the clock of steps: that of the workflow, or later.
func (k *kit) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Add(k.ahead)
}

func (k *kit) file(name string) string { return filepath.Join(k.dir, name) }

// Record is the audit log.
func (k *kit) Record(_ context.Context, e audit.Entry) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entries = append(k.entries, e)
	return "id", nil
}

// nobody is asked: these tests go past the API.
type nobody struct{}

func (nobody) Decide(context.Context, identity.Identity, policy.Request) (policy.Decision, string) {
	return policy.Decision{}, ""
}

// token fetches one as a service does, with the credential in a file, and returns it.
func (k *kit) token(ctx context.Context, t rotation.ClientTarget, file string) (string, error) {
	cfg := sdkplugin.ClientCredentialsConfig{TokenURL: k.issuer + "/v1/token", ClientID: t.ID, Scopes: []string{"temporal"}, Logger: slog.New(slog.DiscardHandler)}
	if cfg.PrivateKeyFile = file; t.Secret {
		secret, err := rotation.ReadSecret(file)
		if err != nil {
			return "", err
		}
		cfg.PrivateKeyFile, cfg.Secret = "", secret
	}
	c, err := sdkplugin.ClientCredentials(cfg)
	if err != nil {
		return "", err
	}
	return c.Token(ctx)
}

func (k *kit) prove(ctx context.Context, t rotation.ClientTarget, file string) error {
	_, err := k.token(ctx, t, file)
	var refused *sdkplugin.RefusedError
	if errors.As(err, &refused) {
		return &rotation.Fault{Code: "credential_refused", Detail: "no token", Err: err}
	}
	return err
}

// Register lets what a service registers pass through the kit's hands.
type recorder struct {
	*kit
	env *testsuite.TestWorkflowEnvironment
}

func (r recorder) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) {
	r.env.RegisterWorkflowWithOptions(w, o)
}

var errLost = errors.New("the worker died before it could report")

func (r recorder) RegisterActivityWithOptions(a any, o activity.RegisterOptions) {
	step, is := a.(func(context.Context, rotation.Work) (rotation.Done, error))
	if !is {
		r.env.RegisterActivityWithOptions(a, o)
		return
	}
	r.env.RegisterActivityWithOptions(func(ctx context.Context, w rotation.Work) (rotation.Done, error) {
		r.mu.Lock()
		r.runs[o.Name]++
		r.ahead = max(r.ahead, time.Until(w.At))
		n, first := r.runs[o.Name], len(r.order) == 0 || r.order[len(r.order)-1] != o.Name
		if first {
			r.order = append(r.order, o.Name)
		}
		r.mu.Unlock()
		if r.again != nil {
			r.again(o.Name, n)
		}
		if r.between != nil && first {
			r.between(o.Name)
		}
		done, err := step(ctx, w)
		if o.Name == r.lost && err == nil && n <= 2 { // killed after the deed, twice
			return rotation.Done{}, errLost
		}
		return done, err
	}, o)
}

// rotate runs a rotation to its end.
func (k *kit) rotate(use rotation.Use, target string) rotation.Rotation {
	k.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(2 * time.Minute)
	k.service.Register(recorder{k, env})
	env.ExecuteWorkflow(rotation.WorkflowName, rotation.Params{Version: rotation.Version, Use: use, Target: target, By: rotation.By{Login: "carol@acme.example"}, Reason: "CHG-7", Times: k.times})
	k.must(env.GetWorkflowError())
	var r rotation.Rotation
	k.must(env.GetWorkflowResult(&r))
	return r
}

// keys are the issuer's by status.
func (k *kit) keys() map[string]string {
	k.Helper()
	all, err := k.admin.SigningKeys(k.Context(), server)
	k.must(err)
	out := map[string]string{}
	for _, key := range all {
		out[key.Status] = key.KeyID
	}
	return out
}

// story is what is on record, each event once in a row.
func (k *kit) story() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, e := range k.entries {
		if e.Kind != audit.KindKey || e.Reason != "CHG-7" || e.Actor.Login != "carol@acme.example" {
			k.Errorf("entry %+v", e)
		}
		out = append(out, e.Detail["event"])
	}
	return strings.Join(slices.Compact(out), " ")
}

// fault makes the org fail for a while; requests with the API token are spared.
func (k *kit) fault(body string) {
	k.Helper()
	k.dev(http.MethodPost, body)
}

func (k *kit) dev(method, body string) {
	k.Helper()
	req, err := http.NewRequestWithContext(k.Context(), method, k.base+"/dev/faults", strings.NewReader(body))
	k.must(err)
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	k.must(err)
	raw, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		k.Fatalf("%s: %s", res.Status, raw)
	}
}

// pemKey makes a key file of its own.
func pemKey(t *testing.T, file string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
