// Package orgtest runs a development org for one test, on a port of its own.
//
// It owns the org's listener and its file. It refuses to know what tests ask of the org; package devorgtest signs people in.
package orgtest

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// Start runs an org until the test ends, and returns its URL and the org itself. DB and BaseURL of the configuration are filled in. The wraps stand before the org's
// handler, the last one outermost, to count requests or to break answers.
func Start(t testing.TB, cfg devorg.Config, wraps ...func(http.Handler) http.Handler) (url string, org *devorg.Org) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	cfg.DB, cfg.BaseURL = filepath.Join(t.TempDir(), "org.db"), "http://"+server.Listener.Addr().String()
	org, err := devorg.Open(t.Context(), cfg)
	if err != nil {
		server.Listener.Close()
		t.Fatal(err)
	}
	server.Config.Handler = org.Handler()
	for _, wrap := range wraps {
		server.Config.Handler = wrap(server.Config.Handler)
	}
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := org.Close(); err != nil {
			t.Error(err)
		}
	})
	return cfg.BaseURL, org
}
