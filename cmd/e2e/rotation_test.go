package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/temporaltest"
	"google.golang.org/grpc"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	oktaapi "github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/internal/rotation/oktakeys"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// rotationKit is rotations with everything real: the development org over HTTP, a Temporal server, the control plane's gate, and a gate elsewhere that
// reports its keys, all in this process, so that a test can end a worker at any moment.
type rotationKit struct {
	org, issuer string
	plane       *control.Plane
	elsewhere   *identity.Verifier
	service     *rotation.Service
	server      *temporaltest.TestServer
	client      client.Client
	journal     string
}

func newRotationKit(t *testing.T) *rotationKit {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	web := httptest.NewUnstartedServer(nil)
	k := &rotationKit{org: "http://" + web.Listener.Addr().String(), journal: filepath.Join(dir, "journal")}
	org, err := devorg.Open(t.Context(), devorg.Config{DB: filepath.Join(dir, "org.db"), BaseURL: k.org, Seed: devorg.Acme()})
	must(err)
	web.Config.Handler = org.Handler()
	web.Start()
	t.Cleanup(func() { web.Close(); _ = org.Close() })
	k.issuer = k.org + "/oauth2/default"
	issuers := []identity.Issuer{{URL: k.issuer, Audiences: []string{"api://temporal"}}}
	must(policy.WriteStarter(filepath.Join(dir, "policy")))
	k.plane, err = control.Open(t.Context(), control.Config{
		Name: "control", Audience: "bailiwick:test", Issuers: issuers, PolicyDir: filepath.Join(dir, "policy"), JournalDir: k.journal, AttestationKey: filepath.Join(dir, "keys"),
	})
	must(err)
	t.Cleanup(func() { _ = k.plane.Close() })
	k.elsewhere, err = identity.NewVerifier(identity.Config{Issuers: issuers})
	must(err)
	t.Cleanup(func() { _ = k.elsewhere.Close() })
	registry, err := rotation.OpenRegistry(t.Context(), rotation.RegistryConfig{DSN: filepath.Join(dir, "verifiers.db")})
	must(err)
	t.Cleanup(func() { _ = registry.Close() })
	registry.Local("control", k.plane.Verifier())
	reports := httptest.NewServer(registry.Reports())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		standing.ReportKeys(ctx, standing.KeyReportConfig{URL: reports.URL, Token: func() (string, error) { return "a token", nil }, Verifier: "elsewhere", Keys: k.elsewhere})
	}()
	t.Cleanup(func() { stop(); <-ended; reports.Close() })
	api, err := oktaapi.New(oktaapi.Config{URL: k.org, Credentials: oktaapi.APIToken(devorg.APIToken)})
	must(err)
	k.service, err = rotation.New(rotation.Config{
		Servers: oktakeys.Servers{Client: api}, Issuers: []rotation.IssuerTarget{{ID: "default", URL: k.issuer}}, Verifiers: registry, Decider: k.plane, Recorder: k.plane,
		Times: rotation.Times{Watch: 2 * time.Second, Heartbeat: 3 * time.Second, Verifiers: 2 * time.Minute, Retry: 2 * time.Minute, TokenLifetime: time.Hour},
	})
	must(err)
	k.server = temporaltest.NewServer()
	t.Cleanup(k.server.Stop)
	k.client = k.dial(t)
	k.service.Connect(k.client)
	return k
}

func (k *rotationKit) dial(t *testing.T, more ...grpc.DialOption) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{
		HostPort: k.server.GetFrontendHostPort(), Namespace: k.server.GetDefaultNamespace(), Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{DialOptions: more},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// token mints a token at the org.
func (k *rotationKit) token(ctx context.Context) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"temporal"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.issuer+"/v1/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(devorg.ReleaseAgent, devorg.AgentSecret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err == nil && answer.Token == "" {
		err = errors.New("there is no token in it")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", res.Status, raw, err)
	}
	return answer.Token, nil
}

// pace keeps three lanes below half of what the org takes in a minute (devorg.DefaultRateLimit), however fast the machine is.
const pace = 20 * time.Millisecond

// load mints tokens all the time and shows each to both gates, with one from before the rotation, until ctx ends.
func (k *rotationKit) load(ctx context.Context, t *testing.T, lanes int) (shown, refused *atomic.Int64, wait func()) {
	shown, refused = new(atomic.Int64), new(atomic.Int64)
	first, err := k.token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for range lanes {
		running.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(pace) {
				fresh, err := k.token(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("minting a token: %v", err)
					return
				}
				for _, token := range []string{fresh, first} {
					// Tokens are shown whole: that the test ends is no reason to refuse one.
					_, err1 := k.plane.Gate().Authenticate(context.WithoutCancel(ctx), []string{"Bearer " + token}, nil, netip.Addr{}, "test")
					_, err2 := k.elsewhere.Verify(context.WithoutCancel(ctx), identity.ParseUnverified(token))
					for _, err := range []error{err1, err2} {
						if shown.Add(1); err != nil {
							refused.Add(1)
							t.Errorf("a valid token of the key %s is refused: %v", keyID(t, token), err)
						}
					}
				}
			}
		})
	}
	return shown, refused, running.Wait
}

// TestRotationUnderLoadOutlivesItsWorkers rotates an issuer's keys while tokens are minted and shown to two gates all the time. Between any two
// activities the worker dies before it could report, and another takes over. No valid token is refused, and Okta rotates once.
func TestRotationUnderLoadOutlivesItsWorkers(t *testing.T) {
	k := newRotationKit(t)
	loading, unload := context.WithCancel(t.Context())
	shown, refused, wait := k.load(loading, t, 3)
	defer func() { unload(); wait() }()

	working, dismiss := context.WithCancel(t.Context())
	dead := make(chan int, 1)
	go func() { dead <- k.work(working, t) }()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	before := shown.Load()
	if _, err := k.service.Start(ctx, rotation.Params{Version: rotation.Version, Use: rotation.Issuer, Target: "default", Times: rotation.Times{
		Watch: 2 * time.Second, Heartbeat: 3 * time.Second, Verifiers: 2 * time.Minute, Retry: 2 * time.Minute, TokenLifetime: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	var r rotation.Rotation
	err := k.client.GetWorkflow(ctx, rotation.WorkflowID(rotation.Issuer, "default"), "").Get(ctx, &r)
	dismiss()
	deaths := <-dead
	unload()
	wait()
	if err != nil || r.State != rotation.Rotated || r.Refused != 0 || deaths < len(r.Steps) {
		t.Errorf("%+v, %v, %d deaths", r, err, deaths)
	}
	t.Logf("%d tokens shown, %d refused, %d workers died", shown.Load()-before, refused.Load(), deaths)
	if shown.Load() == before || refused.Load() != 0 {
		t.Errorf("%d tokens shown, %d refused", shown.Load()-before, refused.Load())
	}
	rotated := map[string]bool{}
	for _, e := range bailiwicktest.Entries(t, k.journal) {
		if e.Detail["event"] == "rotated" && e.Detail["use"] == "issuer" {
			rotated[e.Detail["kid"]] = true
		}
	}
	if len(rotated) != 1 || !rotated[r.Next] {
		t.Errorf("on record as rotated: %v; the rotation went to %s", rotated, r.Next)
	}
	fresh, err := k.token(t.Context())
	if err != nil || keyID(t, fresh) != r.Next {
		t.Errorf("the org does not sign with %s: %v", r.Next, err)
	}
}

// work runs one worker after another until ctx ends. The first dies before it reports an activity, each after it before its second report, so that
// every activity's report is lost once. It returns how many died.
func (k *rotationKit) work(ctx context.Context, t *testing.T) (deaths int) {
	var all []worker.Worker
	defer func() {
		for _, w := range all {
			w.Stop()
		}
	}()
	for ctx.Err() == nil {
		m := &mortal{at: min(int64(deaths)+1, 2), gone: make(chan struct{})}
		conn := k.dial(t, grpc.WithChainUnaryInterceptor(m.intercept))
		w := worker.New(conn, rotation.TaskQueue, worker.Options{StickyScheduleToStartTimeout: time.Second})
		k.service.Register(w)
		if err := w.Start(); err != nil {
			t.Errorf("starting a worker: %v", err)
			return deaths
		}
		all = append(all, w)
		select {
		case <-ctx.Done():
		case <-m.gone:
			conn.Close()
			deaths++
		}
	}
	return deaths
}
