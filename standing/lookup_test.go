package standing

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var personKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))

// A gate believes an answer about a person only if the control plane signed it, for this question.
func TestPersonIsAskedFor(t *testing.T) {
	asOf := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var told error
	answers := Persons(personKey, func(_ context.Context, principal string) (Person, error) {
		return Person{Principal: principal, Login: "erin@acme.example", Active: true, Groups: []string{"a", "b"}, AsOf: asOf, Profile: map[string]json.RawMessage{"costCenter": json.RawMessage(`"42"`)}}, told
	})
	change := func(raw string) string { return raw }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-of-the-feed-here" || r.URL.RawQuery != "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		rec := httptest.NewRecorder()
		answers.ServeHTTP(rec, r)
		w.WriteHeader(rec.Code)
		_, _ = w.Write([]byte(change(rec.Body.String())))
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	f, err := Follow(ctx, FollowConfig{
		URL: server.URL, Token: func() (string, error) { return "token-of-the-feed-here", nil }, Keys: []ed25519.PublicKey{personKey.Public().(ed25519.PublicKey)},
		Cache: filepath.Join(t.TempDir(), "cache"), Gate: "gate-1", State: &State{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-f.Done() })
	people := f.Persons()
	const who = "user:https://acme.example|00u1"
	p, err := people.Person(ctx, who)
	if err != nil || p.Principal != who || !p.AsOf.Equal(asOf) || len(p.Groups) != 2 || string(p.Profile["costCenter"]) != `"42"` {
		t.Fatalf("%+v, %v", p, err)
	}
	kept := ""
	change = func(raw string) string { kept = raw; return raw }
	if _, err := people.Person(ctx, who); err != nil {
		t.Fatal(err)
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	for name, forge := range map[string]struct {
		change func(string) string
		code   string
	}{
		"an answer from before": {func(string) string { return kept }, MessageReplayed},
		"another's signature":   {func(string) string { raw, _ := SignPerson(other, "n", p); return raw }, MessageKeyUnknown},
		"changed":               {func(raw string) string { return raw[:len(raw)-8] + strings.Repeat("A", 8) }, MessageSignature},
		"a message of the feed": {func(string) string {
			raw, _ := SignMessage(personKey, Message{Feed: "F", Nonce: "n", Reset: true})
			return raw
		}, MessageWrongType},
		"no answer": {func(string) string { return "<html>" }, MessageMalformed},
		"too much":  {func(string) string { return strings.Repeat("x", MaxPerson+10) }, MessageMalformed},
	} {
		change = forge.change
		_, err := people.Person(ctx, who)
		if e, ok := errors.AsType[*MessageError](err); !ok || e.Code != forge.code {
			t.Errorf("%s: %v, want %s", name, err, forge.code)
		}
	}
	// And the other way round: an answer about a person is no message of the feed.
	if _, err := OpenMessage([]byte(kept), []ed25519.PublicKey{personKey.Public().(ed25519.PublicKey)}); err == nil {
		t.Error("an answer about a person is taken for a message of the feed")
	}
	change = func(raw string) string { return raw }
	told = errors.New("the org at 10.0.0.1 is down")
	if _, err := people.Person(ctx, who); err == nil || strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("%v", err)
	}
	for name, body := range map[string]string{"no question": "", "unknown member": `{"v":1,"principal":"p","gate":"g","nonce":"0123456789abcdef","x":1}`, "short nonce": `{"v":1,"principal":"p","gate":"g","nonce":"n"}`, "nobody": `{"v":1,"principal":"","gate":"g","nonce":"0123456789abcdef"}`} {
		rec := httptest.NewRecorder()
		answers.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, rec.Code)
		}
	}
}
