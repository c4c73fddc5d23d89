package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// seal makes a real log of entries.
func seal(t *testing.T, dir string, entries []audit.Entry) {
	t.Helper()
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: filepath.Join(dir, "journal"), QueueEntries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := j.Enqueue(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	signer, _, err := tiles.LoadOrCreateKey(filepath.Join(dir, "key"), "bailiwick.test/sealed")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: []string{filepath.Join(dir, "journal")}, Log: filepath.Join(dir, "log"), Signer: signer, Interval: 200 * time.Millisecond})
	}()
	want := uint64(len(entries))
	until(t, "the sealed log", func() bool { n, err := tiles.SealedSize(filepath.Join(dir, "log")); return err == nil && n >= want })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The real log, to a file, as it is: what arrives hashes to the log's leaves.
func TestSealedLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := SealedLog(filepath.Join(dir, "log"))
	out := filepath.Join(dir, "out.jsonl")
	cfg := config(t, SinkConfig{Type: "file", Format: FormatNative, File: &FileConfig{Path: out}})
	r := start(t, cfg, Options{Log: log}) // before there is a log
	seal(t, dir, decisions(300))
	until(t, "300", func() bool { return r.status(t).Next == 300 })
	all := decisions(700)
	seal(t, dir, all[300:]) // beyond what was there, across bundles
	until(t, "700", func() bool { return r.status(t).Next == 700 })
	var got counted
	indexesIn(t, out, &got)
	if got.len() != 700 || got.most() != 1 {
		t.Errorf("%d entries", got.len())
	}
	for line := range strings.Lines(readFile(t, out)) {
		var v struct {
			V     int             `json:"v"`
			Log   string          `json:"log"`
			Index uint64          `json:"index"`
			Leaf  string          `json:"leaf"`
			Entry json.RawMessage `json:"entry"`
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		want, ok := log.Leaf(v.Index)
		if h := tlog.RecordHash(v.Entry); v.V != 1 || v.Log != "bailiwick.test/sealed" || !ok || h != want || h.String() != v.Leaf {
			t.Fatalf("entry %d is not the log's: %s", v.Index, line)
		}
		if v.Index > 3 {
			break // hashing is alike for all
		}
	}
	r.stop(t)

	// Another log under the same cursor, and one that was cut back, are noticed; nothing is exported from them.
	for name, entries := range map[string][]audit.Entry{"another history": decisions(800)[50:800], "cut back": decisions(10)} {
		other := t.TempDir()
		seal(t, other, entries)
		x, err := New(cfg, Options{Log: SealedLog(filepath.Join(other, "log"))})
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Run(t.Context()); !errors.Is(err, ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		s, err := ReadStatus(cfg, SealedLog(filepath.Join(other, "log")), time.Now())
		if err != nil || s[0].State != "diverged" {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
}

// meter keeps what a callback observes.
type meter struct {
	noop.Meter
	noop.Observer
	seen    map[string]string
	collect metric.Callback
}

type (
	intGauge struct {
		noop.Int64ObservableGauge
		name string
	}
	intCounter struct {
		noop.Int64ObservableCounter
		name string
	}
	floatGauge struct {
		noop.Float64ObservableGauge
		name string
	}
)

func (m *meter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return intGauge{name: name}, nil
}

func (m *meter) Int64ObservableCounter(name string, _ ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return intCounter{name: name}, nil
}

func (m *meter) Float64ObservableGauge(name string, _ ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return floatGauge{name: name}, nil
}

func (m *meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.collect = f
	return noop.Registration{}, nil
}

func (m *meter) ObserveInt64(o metric.Int64Observable, v int64, _ ...metric.ObserveOption) {
	switch o := o.(type) {
	case intGauge:
		m.seen[o.name] = fmt.Sprint(v)
	case intCounter:
		m.seen[o.name] = fmt.Sprint(v > 0)
	}
}

func (m *meter) ObserveFloat64(o metric.Float64Observable, v float64, _ ...metric.ObserveOption) {
	m.seen[o.(floatGauge).name] = fmt.Sprint(v > 0)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer ts.Close()
	m := &meter{seen: map[string]string{}}
	cfg := config(t, SinkConfig{Type: "http", HTTP: &HTTPConfig{URL: ts.URL}})
	r := start(t, cfg, Options{Log: newMemoryLog(t, decisions(12)...), Meter: m})
	until(t, "a failure", func() bool { return r.status(t).Failures > 0 })
	if err := m.collect(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	seen := m.seen
	for name, want := range map[string]string{"bailiwick.export.behind.entries": "12", "bailiwick.export.behind.seconds": "true", "bailiwick.export.failures": "true",
		"bailiwick.export.delivered": "false", "bailiwick.export.dead_letters": "0"} {
		if seen[name] != want {
			t.Errorf("%s is %q, want %q", name, seen[name], want)
		}
	}
}

// One sink that is down does not hold up another, and a sink that begins at the end gets only what comes.
func TestSinksAreApart(t *testing.T) {
	t.Parallel()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer ts.Close()
	dir := t.TempDir()
	cfg := config(t, SinkConfig{Name: "down", Type: "http", HTTP: &HTTPConfig{URL: ts.URL}})
	cfg.Sinks = append(cfg.Sinks, SinkConfig{Name: "up", Type: "file", Start: "end", Personal: "open", File: &FileConfig{Path: filepath.Join(dir, "up.jsonl")}, Batch: BatchConfig{Wait: time.Millisecond}})
	cfg.defaults()
	log := newMemoryLog(t, decisions(10)...)
	r := start(t, cfg, Options{Log: log, Open: func(e audit.Entry) audit.Entry { e.Reason = "opened"; return e }})
	until(t, "a cursor", func() bool { c, known, _ := state(cfg.State).load("up"); return known && c.Next == 10 })
	log.add(t, decision(10, true))
	until(t, "the new one", func() bool { all, _ := r.Exporter.Status(); return all[1].Next == 11 })
	var got counted
	indexesIn(t, filepath.Join(dir, "up.jsonl"), &got)
	if got.len() != 1 || got.times[10] != 1 || !strings.Contains(readFile(t, filepath.Join(dir, "up.jsonl")), "opened") {
		t.Errorf("%v", got.times)
	}
}

// A test event says that it is one, and moves no cursor.
func TestTestEvent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.jsonl")
	for _, f := range []Format{FormatNative, FormatOCSF} {
		cfg := config(t, SinkConfig{Type: "file", Format: f, File: &FileConfig{Path: path}})
		id, err := TestEvent(t.Context(), cfg, "sink", "bailiwick.test/log", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(readFile(t, path)), "\n")
		last := lines[len(lines)-1]
		if !strings.Contains(last, `"test":true`) || !strings.Contains(last, id) {
			t.Errorf("%s", last)
		}
		if f == FormatOCSF {
			if p := checkOCSF([]byte(last)); len(p) > 0 {
				t.Error(p)
			}
		}
		if _, known, _ := state(cfg.State).load("sink"); known {
			t.Error("it moved the cursor")
		}
		if _, err := TestEvent(t.Context(), cfg, "other", "", time.Now()); err == nil {
			t.Error("sent to a sink that is not there")
		}
	}
}
