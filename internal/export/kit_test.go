package export

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// memoryLog is a log that tests grow.
type memoryLog struct {
	mu     sync.Mutex
	origin string
	raw    [][]byte
	times  []time.Time
}

func newMemoryLog(t testing.TB, entries ...audit.Entry) *memoryLog {
	l := &memoryLog{origin: "bailiwick.test/log"}
	l.add(t, entries...)
	return l
}

func (l *memoryLog) add(t testing.TB, entries ...audit.Entry) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.raw, l.times = append(l.raw, raw), append(l.times, e.Time)
	}
}

func (l *memoryLog) Origin() string { return l.origin }

func (l *memoryLog) Size() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.raw)), nil
}

func (l *memoryLog) Time(i uint64) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times[i]
}

func (l *memoryLog) Leaf(i uint64) (tlog.Hash, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tlog.RecordHash(l.raw[i]), true
}

func (l *memoryLog) Open(from uint64) (Source, error) { return &memorySource{l, from}, nil }

type memorySource struct {
	log *memoryLog
	at  uint64
}

func (s *memorySource) Next(ctx context.Context) (uint64, []byte, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if s.at >= uint64(len(s.log.raw)) {
		return 0, nil, io.EOF
	}
	s.at++
	return s.at - 1, s.log.raw[s.at-1], ctx.Err()
}

func (*memorySource) Close() error { return nil }

// decision is an entry as a gate writes it.
func decision(i int, allow bool) audit.Entry {
	d := &policy.Decision{Allow: allow, Code: policy.CodeAllowed, Policies: []string{"write-role"}, Reasons: []string{"writers may start"}, PolicyDigest: "abc"}
	if !allow {
		d.Code, d.Missing, d.Hint = policy.CodeNoPermission, "write in payments", "ask for it"
	}
	return audit.Entry{ID: fmt.Sprintf("01936f0e-0000-7000-8000-%012d", i), Time: time.Date(2026, 11, 23, 10, 0, i%60, 123456789, time.UTC), Kind: audit.KindDecision, Gate: "dev-temporal",
		Actor: audit.Party{Principal: "user:https://acme.example/oauth2/default|00u1", Login: "alice@acme.example", ClientID: "cli", Groups: []string{"dev", "ops"}, TokenID: "AT.1",
			Actors: []string{"client:https://acme.example/oauth2/default|agent"}, AuthTime: time.Unix(1790000000, 0), ACR: "phr", TokenKey: "k1", Scopes: []string{"temporal"}},
		Action: "StartWorkflowExecution", Access: "operate", Resource: policy.Resource{Namespace: "payments", WorkflowID: fmt.Sprint("pay-", i), WorkflowType: "pay"},
		Decision: d, Reason: `CHG-7 "urgent" ] \`, Source: "192.0.2.7", RequestDigest: "d1g"}
}

func decisions(n int) []audit.Entry {
	all := make([]audit.Entry, n)
	for i := range all {
		all[i] = decision(i, i%5 != 4)
	}
	return all
}

// running is an exporter at work.
type running struct {
	*Exporter
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, cfg Config, opts Options) *running {
	t.Helper()
	x, err := New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return startIt(t, x)
}

func startIt(t *testing.T, x *Exporter) *running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{Exporter: x, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- x.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop ends it; it may be called again.
func (r *running) stop(t *testing.T) error {
	t.Helper()
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.done:
		if cerr := r.Close(); cerr != nil {
			t.Error(cerr)
		}
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the exporter does not stop")
		return nil
	}
}

// until waits for what a test is about to see.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never came: %s", what)
}

func (r *running) status(t *testing.T) Status {
	t.Helper()
	all, err := r.Exporter.Status()
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// config makes a configuration of one sink, with defaults, whose state is in a directory of the test's.
func config(t *testing.T, s SinkConfig) Config {
	t.Helper()
	c := Config{Version: ConfigVersion, State: filepath.Join(t.TempDir(), "exports"), Sinks: []SinkConfig{s}}
	if c.Sinks[0].Name == "" {
		c.Sinks[0].Name = "sink"
	}
	if c.Sinks[0].Batch.Wait == 0 {
		c.Sinks[0].Batch.Wait = 20 * time.Millisecond
	}
	c.defaults()
	if p := c.check(); len(p) > 0 {
		t.Fatal(p)
	}
	return c
}

// counted collects indexes that a receiver took, and how often.
type counted struct {
	mu    sync.Mutex
	times map[uint64]int
}

func (c *counted) add(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == nil {
		c.times = map[uint64]int{}
	}
	c.times[index]++
}

func (c *counted) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times)
}

func (c *counted) most() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.times {
		n = max(n, t)
	}
	return n
}

// indexOf reads the index out of a native or OCSF body.
func indexOf(t testing.TB, body []byte) uint64 {
	var v struct {
		Index    *uint64 `json:"index"`
		Unmapped struct {
			Index *uint64 `json:"index"`
		} `json:"unmapped"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("not JSON: %v: %s", err, body)
		return 0
	}
	switch {
	case v.Index != nil:
		return *v.Index
	case v.Unmapped.Index != nil:
		return *v.Unmapped.Index
	}
	t.Errorf("no index in %s", body)
	return 0
}

// authority is a certificate authority with a server's certificate for names.
type authority struct {
	file   string // PEM of the authority
	server tls.Certificate
	pool   *x509.CertPool
	client [2]string // files of a client's certificate and key
}

func newAuthority(t *testing.T, names ...string) authority {
	t.Helper()
	dir := t.TempDir()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caRaw, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{file: filepath.Join(dir, "ca.pem"), pool: x509.NewCertPool(), client: [2]string{filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")}}
	write := func(path, kind string, raw []byte) {
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a.file, "CERTIFICATE", caRaw)
	parsed, err := x509.ParseCertificate(caRaw)
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(parsed)
	leaf := func(serial int64, usage x509.ExtKeyUsage) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage}}
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		raw, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		return raw, key
	}
	raw, key := leaf(2, x509.ExtKeyUsageServerAuth)
	a.server = tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
	raw, key = leaf(3, x509.ExtKeyUsageClientAuth)
	write(a.client[0], "CERTIFICATE", raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(a.client[1], "PRIVATE KEY", der)
	return a
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
