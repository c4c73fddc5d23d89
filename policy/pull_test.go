package policy

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf serves one bundle over HTTP, with an ETag, and a clock beside it.
type shelf struct {
	t      *testing.T
	server *httptest.Server
	public ed25519.PublicKey
	key    ed25519.PrivateKey

	mu     sync.Mutex // covers what follows
	raw    []byte
	status int
	now    time.Time
	served []string // what each request was answered with
	told   []Status
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{t: t, now: bundleNow}
	s.public, s.key = bundleKey(7)
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		etag := fmt.Sprintf("%q", fmt.Sprint(len(s.raw), string(s.raw[max(0, len(s.raw)-20):])))
		switch {
		case s.status != 0:
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(s.status)
			s.served = append(s.served, fmt.Sprint(s.status))
		case r.Header.Get("If-None-Match") == etag:
			w.WriteHeader(http.StatusNotModified)
			s.served = append(s.served, "304")
		default:
			w.Header().Set("ETag", etag)
			_, _ = w.Write(s.raw)
			s.served = append(s.served, "200")
		}
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *shelf) put(serial uint64, cedar string, lasts time.Duration) {
	raw := build(s.t, smallDir(s.t, cedar), s.key, serial, s.clock().Add(lasts))
	s.set(func() { s.raw = raw })
}

func (s *shelf) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func (s *shelf) clock() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }

func (s *shelf) options(cache string) BundleOptions {
	return BundleOptions{URL: s.server.URL + "/bundle", Keys: []ed25519.PublicKey{s.public}, CacheDir: cache, Poll: 5 * time.Millisecond, Clock: s.clock,
		OnChange: func(now Status) { s.set(func() { s.told = append(s.told, now) }) }}
}

func (s *shelf) open(cache string) *Engine {
	s.t.Helper()
	e, err := OpenURL(s.t.Context(), s.options(cache))
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func TestPull(t *testing.T) {
	s, cache := newShelf(t), filepath.Join(t.TempDir(), "cache")
	s.put(1, okCedar, time.Hour)
	e := s.open(cache)
	if st := e.Status(); st.Serial != 1 || !st.Expires.Equal(bundleNow.Add(time.Hour)) || st.LastError != "" || st.Stale || st.Policies != 1 || listing(e) != CodeAllowed {
		t.Fatalf("%+v", st)
	}
	if err := e.Reload(); err != nil || strings.Join(s.served, " ") != "200 304" {
		t.Errorf("%v %v", err, s.served)
	}
	first := e.Status().Digest
	s.put(2, okCedar+forbidStart, time.Hour)
	if err := e.Reload(); err != nil || e.Status().Serial != 2 || listing(e) != CodeForbidden || e.Status().Digest == first {
		t.Errorf("%v %+v", err, e.Status())
	}
	// Whatever comes next that is not newer and good leaves serial 2 in force and is told once.
	_, stranger := bundleKey(9)
	for name, spoil := range map[string]func(){
		BundleRollback:   func() { s.put(1, okCedar, time.Hour) },
		"other contents": func() { s.put(2, okCedar, time.Hour) },
		BundleExpired:    func() { s.put(3, okCedar, -time.Second) },
		BundleKeyUnknown: func() {
			raw := build(t, smallDir(t, okCedar), stranger, 3, bundleNow.Add(time.Hour))
			s.set(func() { s.raw = raw })
		},
		BundleMalformed:           func() { s.set(func() { s.raw = []byte(okCedar) }) },
		"503 Service Unavailable": func() { s.set(func() { s.status = 503 }) },
		"307 Temporary Redirect":  func() { s.set(func() { s.status = 307 }) },
		"304 Not Modified": func() {
			s.set(func() { s.status = 0; s.raw = nil })
			e.pull.etag = ""
			s.set(func() { s.status = 304 })
		},
	} {
		s.set(func() { s.told, s.status = nil, 0 })
		spoil()
		for range 2 {
			if err := e.Reload(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if st := e.Status(); st.Serial != 2 || !strings.Contains(st.LastError, name) || len(s.told) != 1 || listing(e) != CodeForbidden {
			t.Errorf("%s: %+v, told %d times", name, st, len(s.told))
		}
	}
	s.set(func() { s.told, s.status = nil, 0 })
	s.put(4, okCedar, time.Hour)
	if err := e.Reload(); err != nil || e.Status().LastError != "" || e.Status().Serial != 4 || len(s.told) != 1 {
		t.Errorf("%v %+v", err, e.Status())
	}
}

// A gate outlives its control plane up to the time that the bundle states, and not a moment longer.
func TestPullStale(t *testing.T) {
	s, cache := newShelf(t), t.TempDir()
	s.put(5, okCedar, time.Hour)
	e := s.open(cache)
	s.set(func() { s.status, s.now = 500, bundleNow.Add(time.Hour-time.Nanosecond) })
	if err := e.Reload(); err == nil || listing(e) != CodeAllowed {
		t.Errorf("%v %+v", err, e.Status())
	}
	s.set(func() { s.now = bundleNow.Add(time.Hour) })
	d := e.Decide(ask(erin, "ListWorkflowExecutions", "n", ""))
	if d.Allow || d.Code != CodeStale || d.PolicyDigest == "" || len(d.Reasons) == 0 || !e.Status().Stale {
		t.Errorf("%+v", d)
	}
	if x := e.Explain(ask(erin, "ListWorkflowExecutions", "n", "")); x.Decision.Code != CodeStale {
		t.Errorf("%+v", x)
	}
	if err := e.Reload(); err == nil || !strings.Contains(err.Error(), "everything is refused") {
		t.Errorf("%v", err)
	}
	// The same bundle again does not help, even though the server is back.
	s.set(func() { s.status = 0 })
	if err := e.Reload(); err == nil || listing(e) != CodeStale || strings.Count(e.Status().LastError, "expired at") != 1 {
		t.Errorf("%v %+v", err, e.Status())
	}
	s.put(6, okCedar, time.Hour)
	if err := e.Reload(); err != nil || listing(e) != CodeAllowed || e.Status().LastError != "" {
		t.Errorf("%v %+v", err, e.Status())
	}
}

// A restart begins with the kept bundle and its serial.
func TestPullRestart(t *testing.T) {
	s, cache := newShelf(t), t.TempDir()
	s.put(8, okCedar+forbidStart, time.Hour)
	s.open(cache)
	s.set(func() { s.status = 503 })
	e := s.open(cache)
	if listing(e) != CodeForbidden || e.Status().Serial != 8 || e.Status().LastError == "" {
		t.Errorf("%+v", e.Status())
	}
	s.set(func() { s.status = 0 })
	s.put(7, okCedar, time.Hour)
	e = s.open(cache)
	if listing(e) != CodeForbidden || e.Status().Serial != 8 || !strings.Contains(e.Status().LastError, BundleRollback) {
		t.Errorf("an older bundle was taken after a restart: %+v", e.Status())
	}
	// Expired meanwhile: it decides nothing, and older ones stay barred.
	s.set(func() { s.now = bundleNow.Add(2 * time.Hour) })
	s.put(7, okCedar, time.Hour)
	if e = s.open(cache); listing(e) != CodeStale {
		t.Errorf("%+v", e.Status())
	}
	// A kept file that someone altered is not used.
	path := filepath.Join(cache, cachedBundle)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	write(t, path, string(raw))
	s.set(func() { s.status = 503 })
	if _, err := OpenURL(t.Context(), s.options(cache)); err == nil || !strings.Contains(err.Error(), "holds none from before") {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		t.Error(err)
	}
}

func TestPullWatches(t *testing.T) {
	s := newShelf(t)
	s.put(1, okCedar, time.Hour)
	e := s.open(t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.Watch(ctx); close(done) }()
	s.put(2, okCedar+forbidStart, time.Hour)
	for deadline := time.Now().Add(10 * time.Second); listing(e) != CodeForbidden; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the newer bundle never came into force")
		}
	}
	stop()
	<-done
}

func TestPullSettings(t *testing.T) {
	public, _ := bundleKey(7)
	good := BundleOptions{URL: "https://control.example/bundle", Keys: []ed25519.PublicKey{public}, CacheDir: t.TempDir()}
	for name, spoil := range map[string]func(*BundleOptions){
		"must be https":      func(o *BundleOptions) { o.URL = "http://control.example/bundle" },
		"file:///etc":        func(o *BundleOptions) { o.URL = "file:///etc" },
		"at least one key":   func(o *BundleOptions) { o.Keys = nil },
		"Ed25519 public key": func(o *BundleOptions) { o.Keys = []ed25519.PublicKey{{1}} },
		"cache directory":    func(o *BundleOptions) { o.CacheDir = "" },
	} {
		o := good
		spoil(&o)
		if _, err := OpenURL(t.Context(), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
