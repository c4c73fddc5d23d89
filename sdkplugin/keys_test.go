package sdkplugin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// typeOfLoneActivity is the workflow type that the SDK's test environment reports to an activity that runs without a workflow.
const typeOfLoneActivity = "0"

// directClient calls a handler without a network, so that it works on synctest's clock.
func directClient(h http.HandlerFunc) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		rec := httptest.NewRecorder()
		h(rec, r)
		resp := rec.Result()
		resp.Request = r
		return resp, nil
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// runWorker calls the plugin as the SDK does when a worker starts and stops; during runs in between.
func runWorker(t testing.TB, p *sdkplugin.Plugin, during func()) error {
	t.Helper()
	err := p.StartWorker(t.Context(), worker.PluginStartWorkerOptions{}, func(context.Context, worker.PluginStartWorkerOptions) error {
		during()
		return nil
	})
	p.StopWorker(t.Context(), worker.PluginStopWorkerOptions{}, func(context.Context, worker.PluginStopWorkerOptions) {})
	return err
}

// verifies reports whether a run that the gate's key attested gets through.
func verifies(t testing.TB, p *sdkplugin.Plugin) bool {
	t.Helper()
	var log journal
	env := environment(t, p, &log)
	registerFamily(env)
	env.SetHeader(started(t, "family"))
	env.ExecuteWorkflow("family", 0)
	return env.GetWorkflowError() == nil
}

func TestKeysAreFetchedAtStartAndRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set atomic.Pointer[attest.KeySet]
		var fetches, down atomic.Int32
		old, current := signerOf("old gate").PublicKeySet(), signerOf("gate").PublicKeySet()
		set.Store(&old)
		down.Store(2)
		var log journal
		p := newPlugin(t, sdkplugin.Options{KeysURL: "https://control.example/keys", Logger: log.logger(), HTTPClient: directClient(func(w http.ResponseWriter, r *http.Request) {
			fetches.Add(1)
			if down.Add(-1) >= 0 {
				http.Error(w, "not yet", http.StatusServiceUnavailable)
				return
			}
			w.Write(set.Load().JSON())
		})})
		err := runWorker(t, p, func() {
			if fetches.Load() != 3 {
				t.Errorf("%d fetches at start, want two failures and a success", fetches.Load())
			}
			if verifies(t, p) {
				t.Error("a run was verified with keys that the worker cannot have")
			}
			set.Store(&current)
			// The unknown key asks for a fetch, but not sooner than the cool-down allows.
			time.Sleep(4 * time.Second)
			synctest.Wait()
			if n := fetches.Load(); n != 3 {
				t.Errorf("%d fetches within the cool-down", n)
			}
			time.Sleep(2 * time.Second)
			if verifies(t, p) {
				t.Error("the key is known without a fetch")
			}
			synctest.Wait()
			if n := fetches.Load(); n != 4 || !verifies(t, p) {
				t.Errorf("after the cool-down: %d fetches, still unknown", n)
			}

			down.Store(1000) // the control plane is gone for an hour: the last good set stays
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := fetches.Load(); n != 16 || !verifies(t, p) {
				t.Errorf("after an hour of failures: %d fetches", n)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		n := fetches.Load()
		time.Sleep(time.Hour)
		if fetches.Load() != n {
			t.Error("keys are fetched after the worker stopped")
		}
		if log.line("last good set stays") == "" {
			t.Error("the failures are not in the log")
		}
	})
}

func TestKeyFetchFailures(t *testing.T) {
	good := string(signerOf("gate").PublicKeySet().JSON())
	for name, h := range map[string]http.HandlerFunc{
		"500":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, good, 500) },
		"HTML":      func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"empty set": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) },
		"too large": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(good + strings.Repeat(" ", 2<<20))) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/keys", http.StatusFound)
		},
		"same place": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/keys2", http.StatusFound) },
	} {
		synctest.Test(t, func(t *testing.T) {
			o := sdkplugin.Options{KeysURL: "https://control.example/keys", HTTPClient: directClient(h)}
			began := time.Now()
			err := runWorker(t, newPlugin(t, o), func() { t.Errorf("%s: the worker started", name) })
			if err == nil || !strings.Contains(err.Error(), "KeysURL") {
				t.Errorf("%s: error %v", name, err)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
			o.Mode = sdkplugin.Observe
			ran := false
			if err := runWorker(t, newPlugin(t, o), func() { ran = true }); err != nil || !ran {
				t.Errorf("%s: observing: %v", name, err)
			}
		})
	}
}

// An activity fetches an unknown key itself, and only then gives up, for a retry.
func TestActivityFetchesAnUnknownKey(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(signerOf("gate").PublicKeySet().JSON()) }))
	defer srv.Close()
	run := func(p *sdkplugin.Plugin, h *commonpb.Header) (seen, error) {
		var suite testsuite.WorkflowTestSuite
		suite.SetHeader(h)
		env := suite.NewTestActivityEnvironment()
		env.SetWorkerOptions(worker.Options{Interceptors: hooks(t, p)})
		env.RegisterActivity(seeActivity)
		v, err := env.ExecuteActivity(seeActivity)
		if err != nil {
			return seen{}, err
		}
		var got seen
		return got, v.Get(&got)
	}
	h := started(t, typeOfLoneActivity)
	var failure *temporal.ApplicationError

	if got, err := run(newPlugin(t, sdkplugin.Options{KeysURL: srv.URL}), h); err != nil || got.Login != "alice@acme.example" {
		t.Errorf("the key can be fetched: %+v, %v", got, err)
	}
	if _, err := run(newPlugin(t, sdkplugin.Options{KeysURL: "http://127.0.0.1:1/keys"}), h); !errors.As(err, &failure) || failure.Type() != sdkplugin.FailureKeyUnknown || failure.NonRetryable() {
		t.Errorf("the key cannot be fetched: %v", err)
	}
	if _, err := run(newPlugin(t, sdkplugin.Options{KeysURL: srv.URL}), started(t, "another")); !errors.As(err, &failure) || failure.Type() != sdkplugin.FailureUnattested || !failure.NonRetryable() {
		t.Errorf("of another workflow type: %v", err)
	}
}

// The lineage field is a worker's claim: it may add a family to the activity's own run, and change nothing of the run itself.
func TestLineageCannotNameAnotherRun(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	stolen := sign(t, statement("mallory", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: "victim", WorkflowType: "payout"}))
	claim := func(r attest.Run) *commonpb.Header {
		p, err := converter.GetDefaultDataConverter().ToPayload(r)
		if err != nil {
			t.Fatal(err)
		}
		h := header(stolen)
		h.Fields[attest.LineageKey] = p
		return h
	}
	for _, c := range []struct {
		name string
		run  attest.Run
		ok   bool
	}{
		{"the victim's run", attest.Run{Namespace: testNamespace, WorkflowID: "victim", WorkflowType: "payout"}, false},
		{"own run, no family", attest.Run{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: typeOfLoneActivity}, false},
		{"own run, victim as root only", attest.Run{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: typeOfLoneActivity, RootWorkflowID: "victim"}, false},
		{"another namespace", attest.Run{Namespace: "payments", WorkflowID: testWorkflow, WorkflowType: typeOfLoneActivity, ParentNamespace: testNamespace, ParentWorkflowID: "victim"}, false},
		{"another workflow", attest.Run{Namespace: testNamespace, WorkflowID: "w2", WorkflowType: typeOfLoneActivity, ParentWorkflowID: "victim"}, false},
		{"another type", attest.Run{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "payout", ParentWorkflowID: "victim"}, false},
		// The limit of what a claim can be held against: docs/attestation.md, "A worker lies".
		{"own run, victim as parent", attest.Run{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: typeOfLoneActivity, ParentWorkflowID: "victim"}, true},
	} {
		suite.SetHeader(claim(c.run))
		env := suite.NewTestActivityEnvironment()
		env.SetWorkerOptions(worker.Options{Interceptors: hooks(t, newPlugin(t, sdkplugin.Options{}))})
		env.RegisterActivity(seeActivity)
		if _, err := env.ExecuteActivity(seeActivity); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	keys := signerOf("gate").PublicKeySet()
	for name, o := range map[string]sdkplugin.Options{
		"plain http elsewhere": {KeysURL: "http://control.example/keys"},
		"no scheme":            {KeysURL: "control.example/keys"},
		"credentials in it":    {KeysURL: "https://a:b@control.example/keys"},
		"both":                 {KeysURL: "https://control.example/keys", Keys: keys},
		"mode":                 {Keys: keys, Mode: 7},
	} {
		if _, err := sdkplugin.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, o := range map[string]sdkplugin.Options{"no keys": {Audience: audience}, "no audience": {Keys: keys}} {
		p, err := sdkplugin.New(o)
		if err != nil {
			t.Fatalf("%s: a client may be without: %v", name, err)
		}
		if err := p.ConfigureWorker(t.Context(), worker.PluginConfigureWorkerOptions{WorkerOptions: &worker.Options{}}); err == nil {
			t.Errorf("%s: a worker took it", name)
		}
	}
	p := newPlugin(t, sdkplugin.Options{})
	var o worker.Options
	for range 2 { // given to the client and to the worker
		if err := p.ConfigureWorker(t.Context(), worker.PluginConfigureWorkerOptions{WorkerOptions: &o}); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.Interceptors) != 1 {
		t.Errorf("%d interceptors", len(o.Interceptors))
	}
}
