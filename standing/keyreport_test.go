package standing_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// heldKeys is a verifier that remembers what it was told to expect.
type heldKeys struct {
	mu       sync.Mutex // covers expected
	expected map[string][]string
}

func (h *heldKeys) Status() []identity.IssuerStatus {
	return []identity.IssuerStatus{{URL: "https://acme.example", KeyIDs: []string{"a"}, Usable: true}}
}

func (h *heldKeys) Expect(issuer string, kids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expected[issuer] = kids
}

// A gate reports with the feed's token and does as it is answered; what is no good answer changes nothing, and it reports again.
func TestKeysAreReported(t *testing.T) {
	reports := make(chan standing.KeyReport, 100)
	answers := make(chan string, 3)
	answers <- `{"v":1,"seconds":1,"expect":{"https://acme.example":["a","b"]}}`
	answers <- `{"v":2,"seconds":1,"expect":{"https://acme.example":["of a version that is not known"]}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var report standing.KeyReport
		if r.URL.Path != "/v1/standing"+standing.KeyReportPath || r.Header.Get("Authorization") != "Bearer secret" || json.NewDecoder(r.Body).Decode(&report) != nil {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		reports <- report
		select {
		case a := <-answers:
			_, _ = w.Write([]byte(a))
		default:
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	keys := &heldKeys{expected: map[string][]string{}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		standing.ReportKeys(ctx, standing.KeyReportConfig{URL: server.URL + "/v1/standing", Token: func() (string, error) { return "secret", nil }, Verifier: "edge", Keys: keys})
	}()
	for range 2 {
		select {
		case r := <-reports:
			if r.Version != standing.KeyReportVersion || r.Verifier != "edge" || len(r.Issuers) != 1 || r.Issuers[0].KeyIDs[0] != "a" {
				t.Errorf("%+v", r)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no report came")
		}
	}
	stop()
	<-ended
	if got := keys.expected["https://acme.example"]; len(got) != 2 || got[1] != "b" {
		t.Errorf("expected: %v", got)
	}
}
