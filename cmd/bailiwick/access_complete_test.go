package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// Ids of requests that this program never saw complete too, where the control plane tells of them at once; where it does not, nothing is said.
func TestRequestsCompleteFromTheControlPlane(t *testing.T) {
	home := t.TempDir()
	t.Setenv("BAILIWICK_HOME", home)
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "temporal.toml"))
	var asked atomic.Int64
	var serve atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer the-token" || r.URL.Path != "/v1/access/requests" {
			t.Errorf("%s with %q", r.URL, r.Header.Get("Authorization"))
		}
		(*serve.Load())(w, r)
	}))
	defer server.Close()
	if err := (login.Context{Name: "test", Issuer: "https://idp.example", ClientID: "cli", Address: "127.0.0.1:1", ControlURL: server.URL, Profile: "test"}).Save(); err != nil {
		t.Fatal(err)
	}
	store, err := login.OpenStore(login.StoreConfig{Profile: "test"})
	if err != nil {
		t.Fatal(err)
	}
	until := func(expires time.Time) {
		t.Helper()
		// A renewal would go to the same server, and fail the test there.
		if err := store.Save(t.Context(), login.Profile{Address: "127.0.0.1:1", ClientID: "cli", TokenURL: server.URL + "/token", AccessToken: "the-token", RefreshToken: "r", TokenType: "Bearer", Expires: expires}); err != nil {
			t.Fatal(err)
		}
	}
	var knows []access.Request
	answers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"requests": knows})
	})
	request := func(id string, state access.State) access.Request {
		return access.Request{Asked: access.Asked{ID: id, Login: "bob@acme.example"}, State: state}
	}
	recents := filepath.Join(home, "requests", "test.json")
	complete := func(verb, prefix string) []string {
		t.Helper()
		var out, errs buffer
		if code := run(t.Context(), []string{"__complete", "--context", "test", "access", verb, prefix}, strings.NewReader(""), &out, &errs); code != exitOK {
			t.Fatalf("%d %s", code, errs.String())
		}
		if text := errs.String(); strings.Count(text, "\n") > 1 { // cobra's own word on how to complete is one line
			t.Errorf("a key press says %q", text)
		}
		var ids []string
		for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			if strings.HasPrefix(line, "ar-") {
				ids = append(ids, strings.ReplaceAll(line, "\t", " "))
			}
		}
		return ids
	}
	old := func() { // what was told is no news any more
		t.Helper()
		if err := os.Chtimes(recents, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}

	serve.Store(&answers)
	until(time.Now().Add(time.Hour))
	knows = []access.Request{request("ar-two", access.Pending), request("ar-one", access.Pending)}
	if got := complete("deny", ""); len(got) != 2 || !strings.HasPrefix(got[0], "ar-two pending, ") || !strings.HasSuffix(got[0], " for bob@acme.example") {
		t.Errorf("%q", got)
	}
	if got := complete("show", "ar-o"); len(got) != 1 || !strings.HasPrefix(got[0], "ar-one ") || asked.Load() != 1 {
		t.Errorf("%q, asked %d times for two key presses in a row", got, asked.Load())
	}
	old()
	knows = []access.Request{request("ar-three", access.Active), request("ar-two", access.Denied)}
	if got := complete("approve", ""); len(got) != 3 || !strings.HasPrefix(got[0], "ar-three active") || !strings.HasPrefix(got[1], "ar-two denied") || !strings.HasPrefix(got[2], "ar-one ") {
		t.Errorf("%q", got)
	}
	known := complete("show", "")
	refuses := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	nonsense := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	for what, f := range map[string]http.HandlerFunc{"refuses": refuses, "hangs": hangs, "talks nonsense": nonsense} {
		old()
		serve.Store(&f)
		before := asked.Load()
		if got := complete("show", ""); !slices.Equal(got, known) || asked.Load() != before+1 {
			t.Errorf("the control plane %s: %q, asked %d times", what, got, asked.Load()-before)
		}
	}
	for what, forget := range map[string]func(){"the token has run out": func() { until(time.Now().Add(-time.Minute)) }, "nobody is logged in": func() { _ = store.Clear(t.Context()) }, "nothing is there": server.Close} {
		old()
		until(time.Now().Add(time.Hour))
		forget()
		before := asked.Load()
		if got := complete("show", ""); !slices.Equal(got, known) || asked.Load() != before {
			t.Errorf("%s: %q, asked %d times", what, got, asked.Load()-before)
		}
	}
}
