package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

func entry(gate string, i int) audit.Entry {
	return audit.Entry{ID: fmt.Sprint(gate, "-", i), Time: time.Unix(1790000000+int64(i), 0), Kind: audit.KindDecision, Gate: gate, Reason: strings.Repeat("because ", 20)}
}

func write(t testing.TB, dir, gate string, from, to int) {
	t.Helper()
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: dir, SegmentBytes: 20_000, QueueEntries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := j.Enqueue(entry(gate, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir string) [][]byte {
	t.Helper()
	r, err := audit.OpenReader(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all [][]byte
	for {
		_, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
	}
}

func same(t testing.TB, journal, replica string, n int) {
	t.Helper()
	want, got := read(t, journal), read(t, replica)
	if len(want) != n || len(got) != n {
		t.Fatalf("journal has %d entries, replica %d, want %d", len(want), len(got), n)
	}
	for i := range want {
		if !bytes.Equal(want[i], got[i]) {
			t.Fatalf("entry %d: %s, want %s", i, got[i], want[i])
		}
	}
}

// plane is a control plane that takes journals in; it can be restarted under the same address.
type plane struct {
	t        testing.TB
	dir      string
	tokens   string
	token    string
	server   *httptest.Server
	receiver *Receiver
	mu       sync.Mutex // covers the following
	handler  http.Handler
	alarms   []string
}

func newPlane(t testing.TB, gate string, files audit.Files) *plane {
	t.Helper()
	dir := t.TempDir()
	p := &plane{t: t, dir: filepath.Join(dir, "replicas"), tokens: filepath.Join(dir, "gates")}
	var err error
	if p.token, err = AddToken(p.tokens, gate, false); err != nil {
		t.Fatal(err)
	}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		h := p.handler
		p.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	p.start(files)
	t.Cleanup(func() { p.server.Close(); _ = p.receiver.Close() })
	return p
}

func (p *plane) start(files audit.Files) {
	p.t.Helper()
	rc, err := NewReceiver(ReceiverConfig{Dir: p.dir, Authorize: TokensFile(p.tokens), Files: files, Alarm: func(_ context.Context, _, text string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.alarms = append(p.alarms, text)
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, pattern := range Routes() {
		mux.Handle(pattern, rc)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receiver, p.handler = rc, mux
}

func (p *plane) config(journal string) Config {
	return Config{Journal: journal, URL: p.server.URL, Token: func() (string, error) { return p.token, nil }, Interval: 5 * time.Millisecond, BatchBytes: 10_000}
}

// run ships until n entries are confirmed.
func run(t testing.TB, cfg Config, n uint64) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); s.Status().Shipped < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("shipped %+v, want %d", s.Status(), n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestShip(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	p := newPlane(t, "edge", nil)
	write(t, journal, "edge", 0, 500)
	run(t, p.config(journal), 500)
	write(t, journal, "edge", 500, 700)
	// The control plane restarts; the shipper is another process.
	if err := p.receiver.Close(); err != nil {
		t.Fatal(err)
	}
	p.start(nil)
	run(t, p.config(journal), 700)
	same(t, journal, filepath.Join(p.dir, "edge"), 700)
	if len(p.alarms) != 0 {
		t.Errorf("%v", p.alarms)
	}
}

// breaking loses requests on their way there, or answers on their way back.
type breaking struct {
	n       atomic.Int64
	answers bool
}

func (b *breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	broken := b.n.Add(1)%3 == 0
	if broken && !b.answers {
		return nil, errors.New("the request was lost")
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if broken && err == nil {
		_ = resp.Body.Close()
		return nil, errors.New("the answer was lost")
	}
	return resp, err
}

// Each write to the replica broken as well, lost and persisted-but-reported-failed, while every third request or answer is lost.
func TestShipThroughFaults(t *testing.T) {
	for name, c := range map[string]struct {
		answers bool
		files   audit.Files
	}{
		"requests lost":                           {false, nil},
		"answers lost":                            {true, nil},
		"replica's syncs fail":                    {false, &faults{}},
		"replica's syncs are reported failed":     {true, &faults{persisted: true}},
		"answers lost and the disk fails as well": {true, &faults{}},
	} {
		t.Run(name, func(t *testing.T) {
			journal := filepath.Join(t.TempDir(), "journal")
			p := newPlane(t, "edge", c.files)
			write(t, journal, "edge", 0, 150)
			cfg := p.config(journal)
			cfg.BatchBytes = 5000
			cfg.Client = &http.Client{Transport: &breaking{answers: c.answers}}
			run(t, cfg, 150)
			same(t, journal, filepath.Join(p.dir, "edge"), 150)
			if len(p.alarms) != 0 {
				t.Errorf("%v", p.alarms)
			}
		})
	}
}

// faults breaks every fifth sync of a segment.
type faults struct {
	persisted bool
	n         atomic.Int64
}

func (f *faults) Open(name string, flag int) (audit.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f}, nil
}
func (*faults) Rename(from, to string) error { return os.Rename(from, to) }
func (*faults) SyncDir(string) error         { return nil }

type faultFile struct {
	*os.File
	f *faults
}

func (f *faultFile) Sync() error {
	if strings.HasPrefix(filepath.Base(f.Name()), "segment-") && f.f.n.Add(1)%5 == 0 {
		if f.f.persisted {
			_ = f.File.Sync()
		}
		return errors.New("injected fault")
	}
	return f.File.Sync()
}

// A past that was rewritten or rolled back is refused by both ends, loudly, and the replica keeps what it has.
func TestRewrittenPast(t *testing.T) {
	p := newPlane(t, "edge", nil)
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal")
	write(t, journal, "edge", 0, 100)
	run(t, p.config(journal), 100)
	rolledBack, rewritten := filepath.Join(dir, "b"), filepath.Join(dir, "c")
	write(t, rolledBack, "edge", 0, 50)
	write(t, rewritten, "edge", 1, 121)
	for name, other := range map[string]string{"rolled back": rolledBack, "rewritten": rewritten} {
		s, err := New(p.config(other))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := s.Run(ctx); !errors.Is(err, ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	batch := func(from, to int) []byte {
		var b []byte
		for i := from; i < to; i++ {
			raw, _ := entry("edge", i+1).Marshal()
			b, _ = audit.AppendRecord(b, uint64(i), raw)
		}
		return b
	}
	status, body := p.post(t, "edge", p.token, "90", batch(90, 110))
	if status != http.StatusConflict || !strings.Contains(body, `"code":"journal_rewritten"`) || len(p.alarms) != 1 {
		t.Errorf("%d %s %v", status, body, p.alarms)
	}
	same(t, journal, filepath.Join(p.dir, "edge"), 100)
}

func (p *plane) post(t testing.TB, gate, token, from string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.server.URL+"/v1/journal/"+gate+"?from="+from, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer)
}

func TestReceiverRefuses(t *testing.T) {
	p := newPlane(t, "edge", nil)
	other, err := AddToken(p.tokens, "other", false)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(seq uint64, e audit.Entry) []byte {
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b, err := audit.AppendRecord(nil, seq, raw)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := frame(0, entry("edge", 0))
	noEntry, _ := audit.AppendRecord(nil, 0, []byte("{}"))
	for name, c := range map[string]struct {
		gate, token, from string
		body              []byte
		status            int
		code              string
	}{
		"no token":        {"edge", "", "0", good, 401, "gate_refused"},
		"another's token": {"edge", other, "0", good, 401, "gate_refused"},
		"unknown gate":    {"third", p.token, "0", good, 401, "gate_refused"},
		"a path":          {"..%2f..%2fx", p.token, "0", good, 400, "gate_name"},
		"a hidden file":   {".edge", p.token, "0", good, 400, "gate_name"},
		"no number":       {"edge", p.token, "x", good, 400, "batch_malformed"},
		"a gap":           {"edge", p.token, "1", frame(1, entry("edge", 1)), 409, "journal_gap"},
		"other numbers":   {"edge", p.token, "0", frame(3, entry("edge", 0)), 400, "batch_malformed"},
		"cut":             {"edge", p.token, "0", good[:len(good)-1], 400, "batch_malformed"},
		"altered":         {"edge", p.token, "0", append(bytes.Clone(good[:len(good)-1]), 'x'), 400, "batch_malformed"},
		"not an entry":    {"edge", p.token, "0", noEntry, 422, "batch_malformed"},
		"another's entry": {"edge", p.token, "0", frame(0, entry("other", 0)), 422, "entry_foreign"},
		"too large":       {"edge", p.token, "0", make([]byte, MaxBatch+1), 413, "batch_too_large"},
	} {
		status, body := p.post(t, c.gate, c.token, c.from, c.body)
		if status != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n := len(read(t, filepath.Join(p.dir, "edge"))); n != 0 {
		t.Errorf("%d entries were taken", n)
	}
	if status, body := p.post(t, "edge", p.token, "0", good); status != 200 || !strings.Contains(body, `"next":1`) {
		t.Errorf("a good one: %d %s", status, body)
	}
	if status, body := p.post(t, "edge", p.token, "0", good); status != 200 || !strings.Contains(body, `"next":1`) {
		t.Errorf("again: %d %s", status, body)
	}
	// A gate that is taken out is refused at once; its replaced token too.
	if _, err := AddToken(p.tokens, "edge", true); err != nil {
		t.Fatal(err)
	}
	if status, _ := p.post(t, "edge", p.token, "0", good); status != 401 {
		t.Errorf("the replaced token: %d", status)
	}
	if status, _ := p.post(t, "other", other, "0", frame(0, entry("other", 0))); status != 200 {
		t.Errorf("the other gate: %d", status)
	}
	if _, err := AddToken(p.tokens, "a b", false); err == nil {
		t.Error("a name with a space was taken")
	}
}

func TestShipperConfig(t *testing.T) {
	token := func() (string, error) { return "", nil }
	for name, cfg := range map[string]Config{
		"no URL":     {Journal: "j", Token: token},
		"plain HTTP": {Journal: "j", URL: "http://control.example", Token: token},
		"no journal": {URL: "https://control.example", Token: token},
		"no token":   {URL: "https://control.example", Journal: "j"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	for _, u := range []string{"https://control.example", "http://127.0.0.1:8080/", "http://localhost:1"} {
		if _, err := New(Config{Journal: "j", URL: u, Token: token}); err != nil {
			t.Error(err)
		}
	}
	if _, err := NewReceiver(ReceiverConfig{Dir: "x"}); err == nil {
		t.Error("a receiver for everybody was made")
	}
}
