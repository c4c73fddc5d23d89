package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/internal/rotation/oktakeys"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// rotations rotates the development org's signing keys while tokens are minted and shown to two verifiers all the time, and counts those that are
// refused. The baseline is how many were shown.
func rotations(m meter) ([]row, error) {
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	web := httptest.NewUnstartedServer(nil)
	base := "http://" + web.Listener.Addr().String()
	org, err := devorg.Open(context.Background(), devorg.Config{DB: filepath.Join(dir, "org.db"), BaseURL: base, Seed: devorg.Acme()})
	if err != nil {
		return nil, err
	}
	web.Config.Handler = org.Handler()
	web.Start()
	defer func() { web.Close(); _ = org.Close() }()
	issuer := base + "/oauth2/default"
	registry, err := rotation.OpenRegistry(context.Background(), rotation.RegistryConfig{DSN: filepath.Join(dir, "verifiers.db")})
	if err != nil {
		return nil, err
	}
	defer registry.Close()
	verifiers := make([]*identity.Verifier, 2)
	for i := range verifiers {
		if verifiers[i], err = identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: issuer, Audiences: []string{"api://temporal"}}}}); err != nil {
			return nil, err
		}
		defer verifiers[i].Close()
		registry.Local(fmt.Sprint("gate-", i), verifiers[i])
	}
	api, err := okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken)})
	if err != nil {
		return nil, err
	}
	service, err := rotation.New(rotation.Config{Servers: oktakeys.Servers{Client: api}, Issuers: []rotation.IssuerTarget{{ID: "default", URL: issuer}}, Verifiers: registry, Decider: undecided{}, Recorder: unrecorded{}})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	shown, refused, wait := tokensShown(ctx, issuer+"/v1/token", verifiers)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	service.Register(env)
	env.ExecuteWorkflow(rotation.WorkflowName, rotation.Params{Version: rotation.Version, Use: rotation.Issuer, Target: "default",
		Times: rotation.Times{Watch: 10 * m.slice, Verifiers: time.Minute, Heartbeat: 30 * time.Second}})
	stop()
	if err := wait(); err != nil {
		return nil, err
	}
	var r rotation.Rotation
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&r)); err != nil || r.State != rotation.Rotated {
		return nil, fmt.Errorf("the rotation came to %s (%s: %s): %w", r.State, r.Code, r.Detail, err)
	}
	n, of := float64(refused.Load()), float64(shown.Load())
	return []row{{"valid tokens refused during a rotation under load (baseline: shown)", n, "tokens", of, n / of, "value = 0", n == 0 && of > 0}}, nil
}

// tokensShown mints tokens in three lanes and shows each, with one from the beginning, to every verifier until ctx ends.
func tokensShown(ctx context.Context, endpoint string, verifiers []*identity.Verifier) (shown, refused *atomic.Int64, wait func() error) {
	shown, refused = new(atomic.Int64), new(atomic.Int64)
	var running sync.WaitGroup
	failed := make(chan error, 3)
	for range cap(failed) {
		running.Go(func() {
			var tokens []string
			for ctx.Err() == nil {
				token, err := mint(ctx, endpoint)
				if err != nil {
					if ctx.Err() == nil {
						failed <- err
					}
					return
				}
				tokens = append(tokens[:min(len(tokens), 1)], token)
				for _, token := range tokens {
					for _, v := range verifiers {
						shown.Add(1)
						if _, err := v.Verify(context.Background(), identity.ParseUnverified(token)); err != nil {
							refused.Add(1)
						}
					}
				}
			}
		})
	}
	return shown, refused, func() error {
		running.Wait()
		select {
		case err := <-failed:
			return err
		default:
			return nil
		}
	}
}

func mint(ctx context.Context, endpoint string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"temporal"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
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
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal(raw, &answer) != nil || answer.Token == "" {
		return "", fmt.Errorf("the org minted no token: %s", res.Status)
	}
	return answer.Token, nil
}

// undecided and unrecorded stand where nobody asks.
type undecided struct{}

func (undecided) Decide(context.Context, identity.Identity, policy.Request) (policy.Decision, string) {
	return policy.Decision{}, ""
}

type unrecorded struct{}

func (unrecorded) Record(context.Context, audit.Entry) (string, error) { return "", nil }
