package export

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A receiver with every fault that passes: nothing is lost, repetitions are whole batches, and each batch is signed.
func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	var got counted
	var calls atomic.Int64
	var mu sync.Mutex
	var retried time.Time
	gap := time.Duration(0)
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if err := VerifySignature(testSecret, r.Header.Get(SignatureHeader), raw, time.Now(), time.Minute); err != nil {
			t.Errorf("signature: %v", err)
		}
		if VerifySignature(testSecret, r.Header.Get(SignatureHeader), append(raw, ' '), time.Now(), time.Minute) == nil || VerifySignature("another", r.Header.Get(SignatureHeader), raw, time.Now(), time.Minute) == nil ||
			VerifySignature(testSecret, r.Header.Get(SignatureHeader), raw, time.Now().Add(time.Hour), time.Minute) == nil {
			t.Error("a signature holds for what it is not of")
		}
		take := func() {
			z, err := gzip.NewReader(bytes.NewReader(raw))
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(z)
			if err != nil {
				t.Error(err)
			}
			lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
			if first, last, _ := strings.Cut(r.Header.Get(BatchHeader), "-"); first != strconv.FormatUint(indexOf(t, lines[0]), 10) || last != strconv.FormatUint(indexOf(t, lines[len(lines)-1]), 10) {
				t.Errorf("batch %s holds other entries", r.Header.Get(BatchHeader))
			}
			for _, line := range lines {
				got.add(indexOf(t, line))
			}
		}
		switch calls.Add(1) {
		case 1:
			mu.Lock()
			retried = time.Now()
			mu.Unlock()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			mu.Lock()
			gap = time.Since(retried)
			mu.Unlock()
			w.WriteHeader(http.StatusInternalServerError)
		case 3: // takes it, and is cut off before it can say so: a repetition
			take()
			panic(http.ErrAbortHandler)
		case 4:
			time.Sleep(400 * time.Millisecond) // slower than the timeout
		case 5:
			w.Header().Set("Location", "http://192.0.2.1/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case 6:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			take()
		}
	}))
	defer ts.Close()
	log := newMemoryLog(t, decisions(100)...)
	cfg := config(t, SinkConfig{Type: "http", Batch: BatchConfig{Entries: 30}, HTTP: &HTTPConfig{URL: ts.URL, SecretFile: secretFile(t, testSecret), Gzip: true, Timeout: 300 * time.Millisecond}})
	r := start(t, cfg, Options{Log: log})
	until(t, "all entries", func() bool { return r.status(t).Next == 100 })
	if got.len() != 100 || got.most() != 2 {
		t.Errorf("%d entries arrived, at most %d times", got.len(), got.most())
	}
	if gap < time.Second {
		t.Errorf("came again after %v, the receiver asked for a second", gap)
	}
	s := r.status(t)
	if s.Dead != 0 || s.Delivered != 100 || s.Behind != 0 || s.BehindSeconds != 0 || s.LastError != "" || s.Failures != 5 { // net/http itself sends again what was cut off: the Idempotency-Key allows it
		t.Errorf("status %+v", s)
	}
}

// A receiver that is away for long: the log grows, nobody waits, and the sink catches up from its cursor, across a restart.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	var got counted
	var up atomic.Bool
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for d := json.NewDecoder(r.Body); ; {
			var list []json.RawMessage
			if err := d.Decode(&list); err != nil {
				return
			}
			for _, one := range list {
				got.add(indexOf(t, one))
			}
		}
	}))
	defer ts.Close()
	log := newMemoryLog(t, decisions(10)...)
	cfg := config(t, SinkConfig{Type: "http", Format: FormatNative, Batch: BatchConfig{Entries: 64}, HTTP: &HTTPConfig{URL: ts.URL, Shape: "array"}})
	r := start(t, cfg, Options{Log: log})
	until(t, "a failure", func() bool { return r.status(t).Failures > 0 })
	s := r.status(t)
	if s.State != "retrying" || s.Behind != 10 || s.BehindSeconds <= 0 || !strings.Contains(s.LastError, "503") {
		t.Errorf("status %+v", s)
	}
	log.add(t, decisions(5000)...)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	up.Store(true)
	r = start(t, cfg, Options{Log: log})
	until(t, "all entries", func() bool { return r.status(t).Next == 5010 })
	if got.len() != 5010 || got.most() != 1 {
		t.Errorf("%d entries, at most %d times", got.len(), got.most())
	}
	r.stop(t)
	all, err := ReadStatus(cfg, log, time.Now())
	if err != nil || len(all) != 1 || all[0].State != "stopped" || all[0].Next != 5010 || all[0].Behind != 0 {
		t.Errorf("status %+v %v", all, err)
	}
}

// Between the receiver's yes and the cursor lies a crash: the batch comes again, nothing is missing.
func TestCrashBeforeCursor(t *testing.T) {
	t.Parallel()
	var got counted
	ts := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		for line := range bytes.Lines(raw) {
			got.add(indexOf(t, line))
		}
	}))
	defer ts.Close()
	log := newMemoryLog(t, decisions(50)...)
	cfg := config(t, SinkConfig{Type: "http", Batch: BatchConfig{Entries: 20}, HTTP: &HTTPConfig{URL: ts.URL}})
	r := start(t, cfg, Options{Log: log})
	until(t, "all entries", func() bool { return r.status(t).Next == 50 })
	r.stop(t)
	// What a crash after the last send leaves: the cursor of before it.
	st := state(cfg.State)
	leaf, _ := log.Leaf(39)
	if err := st.save("sink", cursor{Log: log.origin, Next: 40, Leaf: leaf.String()}); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg, Options{Log: log})
	until(t, "the rest", func() bool { return r.status(t).Next == 50 })
	if got.len() != 50 || got.most() != 2 || got.times[39] != 1 || got.times[40] != 2 {
		t.Errorf("%d entries, %v", got.len(), got.times)
	}
}

// A cursor that can't be written stops the sink where it is, and no entry is passed over when it can be again.
func TestCursorNotWritable(t *testing.T) {
	t.Parallel()
	var got counted
	ts := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		for line := range bytes.Lines(raw) {
			got.add(indexOf(t, line))
		}
	}))
	defer ts.Close()
	log := newMemoryLog(t)
	cfg := config(t, SinkConfig{Type: "http", HTTP: &HTTPConfig{URL: ts.URL}})
	r := start(t, cfg, Options{Log: log})
	until(t, "a start", func() bool { _, known, _ := state(cfg.State).load("sink"); return known })
	hidden := cfg.State + ".away"
	if err := os.Rename(cfg.State, hidden); err != nil {
		t.Fatal(err)
	}
	log.add(t, decisions(5)...)
	until(t, "a failure", func() bool { return r.status(t).Failures > 0 })
	if n := r.status(t).Next; n != 0 {
		t.Errorf("moved on to %d without a cursor", n)
	}
	if err := os.Rename(hidden, cfg.State); err != nil {
		t.Fatal(err)
	}
	until(t, "all entries", func() bool { return r.status(t).Next == 5 })
	if got.len() != 5 {
		t.Errorf("%d entries", got.len())
	}
}

// What a receiver refuses for good becomes a dead letter, alone; retry sends it when the receiver has been mended.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	var got counted
	var mended atomic.Bool
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if !mended.Load() && bytes.Contains(raw, []byte("pay-17\"")) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "field too odd\x1b[31m")
			return
		}
		for line := range bytes.Lines(raw) {
			got.add(indexOf(t, line))
		}
	}))
	defer ts.Close()
	log := newMemoryLog(t, decisions(40)...)
	cfg := config(t, SinkConfig{Type: "http", HTTP: &HTTPConfig{URL: ts.URL}})
	r := start(t, cfg, Options{Log: log})
	until(t, "all entries", func() bool { return r.status(t).Next == 40 })
	if got.len() != 39 || got.most() != 1 || r.status(t).Dead != 1 {
		t.Errorf("%d entries, at most %d times, %+v", got.len(), got.most(), r.status(t))
	}
	dead, err := state(cfg.State).buried("sink")
	if err != nil || len(dead) != 1 || dead[0].Index != 17 || dead[0].Code != "http_400" || dead[0].Text != "field too odd [31m" || dead[0].ID != decision(17, true).ID {
		t.Fatalf("dead letters %+v %v", dead, err)
	}
	raw, _ := os.ReadFile(state(cfg.State).path("sink", ".dead.jsonl"))
	if bytes.Contains(raw, []byte("alice")) {
		t.Error("a dead letter holds personal data")
	}

	report, err := Retry(t.Context(), cfg, "sink", Options{Log: log})
	if err != nil || report.Sent != 0 || report.Dead != 1 {
		t.Fatalf("refused again: %+v %v", report, err)
	}
	mended.Store(true)
	report, err = Retry(t.Context(), cfg, "sink", Options{Log: log})
	if err != nil || report.Sent != 1 || report.Dead != 0 || got.len() != 40 {
		t.Fatalf("mended: %+v %v, %d entries", report, err, got.len())
	}
	if r.status(t).Dead != 0 {
		t.Error("the status still counts a dead letter")
	}
	// With the receiver away nothing is lost, and a crash in the middle of a retry leaves its letters to the next one.
	if err := state(cfg.State).bury("sink", dead); err != nil {
		t.Fatal(err)
	}
	if _, _, err := state(cfg.State).exhume("sink"); err != nil { // and no done: a crash
		t.Fatal(err)
	}
	ts.Close()
	if report, err = Retry(t.Context(), cfg, "sink", Options{Log: log}); err != nil || report.Dead != 1 || report.Error == "" {
		t.Fatalf("away: %+v %v", report, err)
	}
	if dead, err := state(cfg.State).buried("sink"); err != nil || len(dead) != 1 {
		t.Fatalf("%+v %v", dead, err)
	}
}

// A receiver that refuses everything is not refusing entries: nothing becomes a dead letter.
func TestRefusesEverything(t *testing.T) {
	t.Parallel()
	var got counted
	var mended atomic.Bool
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if !mended.Load() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for line := range bytes.Lines(raw) {
			got.add(indexOf(t, line))
		}
	}))
	defer ts.Close()
	cfg := config(t, SinkConfig{Type: "http", HTTP: &HTTPConfig{URL: ts.URL}})
	r := start(t, cfg, Options{Log: newMemoryLog(t, decisions(40)...)})
	until(t, "that it is held", func() bool { return r.status(t).State == "held" })
	if s := r.status(t); s.Dead != 0 || s.Next != 0 {
		t.Errorf("%+v", s)
	}
	mended.Store(true)
	until(t, "all entries", func() bool { return r.status(t).Next == 40 })
	if got.len() != 40 || r.status(t).Dead != 0 {
		t.Errorf("%d entries, %+v", got.len(), r.status(t))
	}
}

// Splunk and Elastic in their own words.
func TestShapes(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var bodies []string
	var auth string
	round := 0
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		auth = r.Header.Get("Authorization")
		bodies = append(bodies, string(raw))
		if round++; strings.HasSuffix(r.URL.Path, "_bulk") {
			switch round {
			case 1:
				fmt.Fprint(w, `{"errors":true,"items":[{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}},{"create":{"status":201}}]}`)
			default:
				fmt.Fprint(w, `{"errors":true,"items":[{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"no"}}},{"create":{"status":409}}]}`)
			}
		}
	}))
	defer ts.Close()
	cfg := config(t, SinkConfig{Type: "http", HTTP: &HTTPConfig{URL: ts.URL + "/_bulk", Shape: "elastic", Index: "logs-bailiwick", TokenFile: secretFile(t, "a-key")}})
	r := start(t, cfg, Options{Log: newMemoryLog(t, decisions(2)...)})
	until(t, "both", func() bool { return r.status(t).Next == 2 })
	r.stop(t)
	if s, _ := ReadStatus(cfg, newMemoryLog(t, decisions(2)...), time.Now()); s[0].Dead != 1 || auth != "ApiKey a-key" {
		t.Errorf("%+v, authorized by %q", s, auth)
	}
	lines := strings.Split(bodies[1], "\n")
	var doc map[string]any
	if lines[0] != `{"create":{"_index":"logs-bailiwick","_id":"0-01936f0e-0000-7000-8000-000000000000"}}` || json.Unmarshal([]byte(lines[1]), &doc) != nil ||
		doc["@timestamp"] != "2026-11-23T10:00:00.123456789Z" || doc["class_uid"] != float64(6003) || len(lines) != 5 {
		t.Errorf("bulk body %q", bodies[1])
	}

	bodies = nil
	cfg = config(t, SinkConfig{Type: "http", HTTP: &HTTPConfig{URL: ts.URL + "/services/collector/event", Shape: "splunk", Index: "main", TokenFile: secretFile(t, "hec")}})
	r = start(t, cfg, Options{Log: newMemoryLog(t, decisions(2)...)})
	until(t, "both", func() bool { return r.status(t).Next == 2 })
	r.stop(t)
	d := json.NewDecoder(strings.NewReader(bodies[0]))
	for i := range 2 {
		var e struct {
			Time  float64
			Index string
			Event json.RawMessage
		}
		if err := d.Decode(&e); err != nil || e.Time != 1795428000.123+float64(i) || e.Index != "main" || indexOf(t, e.Event) != uint64(i) {
			t.Errorf("event %d: %+v %v", i, e, err)
		}
	}
	if auth != "Splunk hec" {
		t.Errorf("authorized by %q", auth)
	}
}

// A secret that others can read is not used, and neither the secret nor the URL's query shows in what is reported.
func TestSecretsStaySecret(t *testing.T) {
	ts := httptest.NewServer(http.NotFoundHandler())
	ts.Close()
	open := secretFile(t, testSecret)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]HTTPConfig{
		"wide":  {URL: ts.URL, SecretFile: open, Timeout: time.Second},
		"down":  {URL: ts.URL + "/?key=hidden-in-query", SecretFile: secretFile(t, testSecret), Timeout: time.Second},
		"short": {URL: ts.URL, SecretFile: secretFile(t, "short"), Timeout: time.Second},
	} {
		s, err := newHTTPSink("x", h)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Send(t.Context(), []Message{{Body: []byte("{}")}})
		if err == nil || strings.Contains(err.Error(), "hidden-in-query") || strings.Contains(err.Error(), testSecret) {
			t.Errorf("%s: %v", name, err)
		}
		if held := errors.Is(err, errHold); held != (name != "down") {
			t.Errorf("%s: held %v: %v", name, held, err)
		}
	}
}
