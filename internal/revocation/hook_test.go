package revocation

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func delivery(at time.Time, kind, uid string) string {
	return fmt.Sprintf(`{"eventType":"com.okta.event_hook","eventTypeVersion":"1.0","cloudEventsVersion":"0.1","source":"https://acme.okta.com/api/v1/eventHooks/who1","eventId":"e1","data":{"events":[
{"uuid":"u-1","published":%q,"eventType":%q,"outcome":{"result":"SUCCESS"},"actor":{"id":"00uadmin","type":"User"},"target":[{"id":%q,"type":"User","alternateId":"alice@acme.example"}]}]}}`, at.UTC().Format("2006-01-02T15:04:05.000Z"), kind, uid)
}

func TestHook(t *testing.T) {
	w := newWorld()
	r := open(t, w.config(t))
	server := httptest.NewServer(r.Hook())
	defer server.Close()
	send := func(method, auth, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		if method == http.MethodGet {
			req.Header.Set("X-Okta-Verification-Challenge", body)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(answer)
	}

	var verified struct{ Verification string }
	if code, answer := send(http.MethodGet, "", `a"challenge`); code != 200 || json.Unmarshal([]byte(answer), &verified) != nil || verified.Verification != `a"challenge` {
		t.Errorf("verification: %d %s", code, answer)
	}
	if code, _ := send(http.MethodGet, "", ""); code != 400 {
		t.Errorf("verification without a challenge: %d", code)
	}
	at := time.Now()
	w.set(func() { w.people["00ualice"] = Person{Status: "DEPROVISIONED"} })
	for _, auth := range []string{"", "wrong", secret[:len(secret)-1], secret + "x", "Bearer " + secret} {
		if code, _ := send(http.MethodPost, auth, delivery(at, "user.lifecycle.deactivate", "00ualice")); code != 401 {
			t.Errorf("secret %q: %d", auth, code)
		}
	}
	for _, body := range []string{"", "{", "[]", `{"data":{"events":{}}}`, "\xff{}", `{"data":{"events":[{"published":"yesterday"}]}}`, strings.Repeat(" ", maxHook+1)} {
		if code, _ := send(http.MethodPost, secret, body); code != 400 {
			t.Errorf("%.20q: %d", body, code)
		}
	}
	for _, body := range []string{"{}", `{"data":{"events":[]}}`, delivery(at, "policy.evaluate_sign_on", "00ualice"), delivery(at, "user.lifecycle.deactivate", "")} {
		if code, _ := send(http.MethodPost, secret, body); code != 204 {
			t.Errorf("%.20q: %d", body, code)
		}
	}
	if code, _ := send(http.MethodDelete, secret, ""); code != 405 {
		t.Errorf("DELETE: %d", code)
	}
	if s, err := r.Status(t.Context()); err != nil || s.People != 0 || w.barred(token("00ualice", at)) != "" {
		t.Errorf("something was done: %+v, %v", s, err)
	}
	for range 3 { // at least once, says Okta
		if code, answer := send(http.MethodPost, secret, delivery(at, "user.lifecycle.deactivate", "00ualice")); code != 204 {
			t.Fatalf("%d %s", code, answer)
		}
	}
	eventually(t, "the bar", func() bool { return w.barred(token("00ualice", at)) == "user_deactivated" })
	idle(t, r)
	if w.asked != 1 {
		t.Errorf("the directory was asked %d times about one event", w.asked)
	}

	// What can't be kept is not acknowledged.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if code, _ := send(http.MethodPost, secret, strings.Replace(delivery(at, "user.lifecycle.deactivate", "00ubob"), "u-1", "u-2", 1)); code != 503 {
		t.Errorf("acknowledged though it was not kept: %d", code)
	}
}

func TestHookWithoutSecretTakesNothing(t *testing.T) {
	cfg := newWorld().config(t)
	cfg.Secret = ""
	r := open(t, cfg)
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, HookPath, strings.NewReader(delivery(time.Now(), "user.lifecycle.deactivate", "00ualice")))
	req.Header.Set("Authorization", "")
	if r.Hook().ServeHTTP(rec, req); rec.Code != 401 {
		t.Errorf("%d", rec.Code)
	}
	cfg.Secret = "short"
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("a short secret is taken")
	}
}

func FuzzParseHook(f *testing.F) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Add([]byte(delivery(now, "user.lifecycle.deactivate", "00u1")))
	f.Add([]byte(delivery(now.Add(time.Hour), "user.session.clear", "00u1")))
	f.Add([]byte(strings.Replace(delivery(now, "group.user_membership.remove", "00u1"), `"target":[`, `"target":[{"type":"UserGroup","displayName":"g\u0000"},`, 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		signals, err := parseHook(raw, now)
		if err != nil && signals != nil {
			t.Error("both an error and signals")
		}
		for _, s := range signals {
			if s.ID == "" || s.UID == "" || s.At.IsZero() || s.At.After(now.Add(allowedInFuture)) || s.Source != SourceHook || !plain(s.UID) || !plain(s.Login) || !plain(s.Group) || !plain(s.Session) {
				t.Errorf("%+v", s)
			}
			if _, err := json.Marshal(s); err != nil {
				t.Error(err)
			}
		}
	})
}
