package serverplugin

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// TestPolicyBundle runs a plugin on signed policies over HTTP: the key as a file and as text, a bundle that changes, one that is refused.
func TestPolicyBundle(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := policy.WriteStarter(filepath.Join(dir, "draft")); err != nil {
		t.Fatal(err)
	}
	build := func(key ed25519.PrivateKey, serial uint64) []byte {
		t.Helper()
		raw, err := policy.BuildBundle(filepath.Join(dir, "draft"), key, serial, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	served := make(chan []byte, 1)
	served <- build(private, 7)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		raw := <-served
		served <- raw
		_, _ = w.Write(raw)
	}))
	defer web.Close()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bundle.pub")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}

	issuer := bailiwicktest.NewIssuer(t)
	reader := metric.NewManualReader()
	cfg := Config{
		Name: "test", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyBundle: &Bundle{URL: web.URL, Keys: []string{file}, CacheDir: filepath.Join(dir, "cache"), Poll: "20ms"},
		JournalDir:   filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "key.pem"),
		Meter: metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"),
	}
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if s := p.PolicyStatus(); s.Serial != 7 || s.LastError != "" {
		t.Fatalf("in force: %+v", s)
	}
	call := gate.Call{Method: "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo", Authorization: []string{"Bearer " + issuer.User("alice@acme.example")}}
	for range 3 {
		if _, err := p.house.Gate().Admit(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}

	_, stranger, _ := ed25519.GenerateKey(nil)
	<-served
	served <- build(stranger, 8)
	within := func(what string, ok func(policy.Status) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(p.PolicyStatus()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s did not happen: %+v", what, p.PolicyStatus())
			}
		}
	}
	within("the refusal of a stranger's bundle", func(s policy.Status) bool { return s.LastError != "" && s.Serial == 7 })
	<-served
	served <- build(private, 8)
	within("the next bundle", func(s policy.Status) bool { return s.LastError == "" && s.Serial == 8 })

	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	sums := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
				for _, point := range sum.DataPoints {
					result, _ := point.Attributes.Value("result")
					sums[strings.TrimSpace(m.Name+" "+result.AsString())] += point.Value
				}
			}
		}
	}
	if sums["bailiwick.gate.decisions"] != 3 || sums["bailiwick.token.cache.lookups hit"] != 2 || sums["bailiwick.token.cache.lookups miss"] != 1 || sums["bailiwick.policy.reload.failures"] < 1 {
		t.Errorf("metrics: %v", sums)
	}
}

func TestPolicySourceIsOne(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, ed25519.PublicKeySize))
	good := &Bundle{URL: "https://x.example/b", Keys: []string{key}, CacheDir: "/c"}
	if err := good.Check(); err != nil {
		t.Errorf("a key in base64: %v", err)
	}
	for want, b := range map[string]*Bundle{
		"url": {Keys: []string{key}, CacheDir: "/c"}, "cache_dir": {URL: "u", Keys: []string{key}}, "keys is empty": {URL: "u", CacheDir: "/c"},
		"keys[0]": {URL: "u", CacheDir: "/c", Keys: []string{"AAAA"}}, "poll": {URL: "u", CacheDir: "/c", Keys: []string{key}, Poll: "soon"},
	} {
		if err := b.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	for _, cfg := range []Config{{}, {PolicyDir: "/p", PolicyBundle: good}} {
		if _, err := openPolicy(t.Context(), cfg, nil, nil); err == nil || !strings.Contains(err.Error(), "either") {
			t.Errorf("got %v", err)
		}
	}
}
