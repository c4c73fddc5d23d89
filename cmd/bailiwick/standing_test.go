package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStandingStatus(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "temporal.toml"))
	url, _ := idp(t)
	status, body := http.StatusOK, ""
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/standing/status" || strings.Count(r.Header.Get("Authorization"), ".") != 2 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	if code, _, errs := bailiwick("login", "--issuer", url, "--client-id", "cli", "--address", "127.0.0.1:7233", "--context", "mine", "--control-url", control.URL); code != exitOK {
		t.Fatal(errs)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	feedAt := func(gates string) string {
		return `{"feed":"FEED","state":{"seq":7,"known":true,"stale":false,"grants":3,"bars":2,"persons":1},"gates":[` + gates + `]}`
	}
	good := `{"gate":"dev","seq":7,"at":"` + now + `","behind":0,"gone":false}`
	for _, tc := range []struct {
		name         string
		status, code int
		body         string
		out, errs    string
	}{
		{"all is well", 200, exitOK, feedAt(good), "up to date", ""},
		{"counts", 200, exitOK, feedAt(good), "3 grants, 2 bars", ""},
		{"nobody yet", 200, exitOK, feedAt(""), "none has asked yet", ""},
		{"behind", 200, exitUnproven, feedAt(good + `,{"gate":"b","seq":5,"at":"` + now + `","behind":2,"gone":false}`), "2 behind", "gate_behind"},
		{"gone", 200, exitUnproven, feedAt(`{"gate":"x\u001b[2J","seq":7,"at":"` + now + `","behind":0,"gone":true}`), `x\x1b[2J`, "gate_behind"},
		{"gone for long", 200, exitOK, feedAt(`{"gate":"old","seq":7,"at":"2020-01-01T00:00:00Z","behind":0,"gone":true}`), "gone", ""},
		{"revoked", 403, exitDenied, `{"code":"revoked","detail":"your access was revoked","next":"log in again"}`, "", "revoked"},
		{"a proxy's page", 502, exitError, "<html>", "", "502"},
		{"junk", 200, exitError, "junk", "", "control plane's answer"},
	} {
		status, body = tc.status, tc.body
		code, out, errs := bailiwick("standing", "status")
		if code != tc.code || !strings.Contains(out, tc.out) || !strings.Contains(errs, tc.errs) || strings.Contains(out+errs, "\x1b") {
			t.Errorf("%s: %d\n%s\n%s", tc.name, code, out, errs)
		}
	}
	status, body = 200, feedAt(good)
	if code, out, errs := bailiwick("standing", "status", "--json"); code != exitOK || !strings.Contains(out, `"behind":0`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	control.Close()
	if code, _, errs := bailiwick("standing", "status"); code != exitError || !strings.Contains(errs, "control_unreachable") {
		t.Errorf("%d %s", code, errs)
	}
}
