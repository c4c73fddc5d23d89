package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
)

// Which pack was issued is on record, by whom may read the log.
func TestEvidenceOnRecord(t *testing.T) {
	e := newPrivateEnv(t)
	e.c.serveEvidence(slog.New(slog.DiscardHandler))
	carol, alice := e.issuer.User("carol@acme.example", "security"), e.issuer.User("alice@acme.example", "temporal:deploy:admin")
	digest := strings.Repeat("ab", 32)
	good := fmt.Sprintf(`{"manifest":%q,"from":"2026-10-01","to":"2026-12-31","framework":"soc2","size":7,"root":"AAAA"}`, digest)
	for _, c := range []struct {
		token, body, want string
		status            int
	}{
		{"", good, "", http.StatusUnauthorized}, {alice, good, "no_permission", http.StatusForbidden},
		{carol, `{"manifest":"x","from":"2026-10-01","to":"2026-12-31"}`, "SHA-256", http.StatusBadRequest},
		{carol, strings.Replace(good, "2026-12-31", "soon", 1), "not a day", http.StatusBadRequest},
		{carol, `{"color":1}`, "color", http.StatusBadRequest},
	} {
		if status, body := e.post(t, "/v1/audit/evidence", c.token, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", c.body, status, body)
		}
	}
	status, body := e.post(t, "/v1/audit/evidence", carol, good)
	var done evidenceRecorded
	if status != http.StatusOK || json.Unmarshal([]byte(body), &done) != nil || done.Entry == "" {
		t.Fatalf("%d %s", status, body)
	}
	var found []audit.Entry
	for _, entry := range bailiwicktest.Entries(t, e.c.journals[0]) {
		if entry.Kind == audit.KindAdmin {
			found = append(found, entry)
		}
	}
	if len(found) != 1 || found[0].ID != done.Entry || found[0].Detail["event"] != "evidence_issued" || found[0].Detail["manifest"] != digest || found[0].Detail["size"] != "7" {
		t.Errorf("%+v", found)
	}
}
