package standing_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// key is fixed, so that golden bytes are. It signs nothing but tests.
var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func public(k ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
}

func sample() standing.Message {
	g := grant("g-1", "alice", func(g *standing.Grant) {
		g.Reason, g.Approvers = "INC-7 <now> & \"here\" – für Kürşat", []string{"user:" + issuer + "|carol"}
	})
	g.Seq = 3
	b := bar(standing.Bar{ID: "b-1", SessionID: "s-1", Before: epoch})
	b.Seq = 5
	return standing.Message{Feed: "FEED", At: epoch, Nonce: "nonce-nonce-nonce", Reset: true, Seq: 6, Link: "aa", Head: 6, Events: []standing.Event{g, b}}
}

// The bytes that gates in the field read.
func TestMessageGolden(t *testing.T) {
	raw, err := standing.SignMessage(key, sample())
	must(t, err)
	const file = "testdata/message.golden"
	if os.Getenv("UPDATE") != "" {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(raw), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if raw != string(want) {
		t.Errorf("the format has changed:\n%s\nwant\n%s", raw, want)
	}
	m, err := standing.OpenMessage(want, public(key))
	must(t, err)
	again, _ := json.Marshal(m)
	first := sample()
	first.Version = standing.MessageVersion
	if expected, _ := json.Marshal(first); !bytes.Equal(again, expected) {
		t.Errorf("read as %s", again)
	}
}

func forge(t *testing.T, header, payload string) string {
	t.Helper()
	e := base64.RawURLEncoding.EncodeToString
	signed := e([]byte(header)) + "." + e([]byte(payload))
	return signed + "." + e(ed25519.Sign(key, []byte(signed)))
}

func TestMessagesThatAreRefused(t *testing.T) {
	good, err := standing.SignMessage(key, sample())
	must(t, err)
	parts := strings.Split(good, ".")
	decode := func(s string) string {
		b, err := base64.RawURLEncoding.DecodeString(s)
		must(t, err)
		return string(b)
	}
	header, payload := decode(parts[0]), decode(parts[1])
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	foreign, err := standing.SignMessage(other, sample())
	must(t, err)
	late := sample()
	late.Nonce = "another-nonce-here"
	swapped, err := standing.SignMessage(key, late)
	must(t, err)
	for name, tc := range map[string]struct{ code, raw string }{
		"empty":                 {standing.MessageMalformed, ""},
		"HTML":                  {standing.MessageMalformed, "<html>502 Bad Gateway</html>"},
		"truncated":             {standing.MessageSignature, good[:len(good)-8]},
		"no signature":          {standing.MessageMalformed, parts[0] + "." + parts[1]},
		"four parts":            {standing.MessageMalformed, good + ".x"},
		"another key":           {standing.MessageKeyUnknown, foreign},
		"swapped payload":       {standing.MessageSignature, parts[0] + "." + strings.Split(swapped, ".")[1] + "." + parts[2]},
		"newline":               {standing.MessageMalformed, parts[0] + "." + parts[1] + "." + parts[2][:4] + "\n" + parts[2][4:]},
		"padding":               {standing.MessageMalformed, good + "="},
		"alg none":              {standing.MessageWrongType, forge(t, strings.Replace(header, "EdDSA", "none", 1), payload)},
		"a policy bundle":       {standing.MessageWrongType, forge(t, strings.Replace(header, standing.MessageType, "bailiwick-policy-bundle+jwt", 1), payload)},
		"header with more":      {standing.MessageMalformed, forge(t, strings.Replace(header, "{", `{"jwk":{},`, 1), payload)},
		"another version":       {standing.MessageWrongFormat, forge(t, header, strings.Replace(payload, `"v":1`, `"v":2`, 1))},
		"unknown field":         {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `{"v":1,`, `{"v":1,"x":1,`, 1))},
		"field twice":           {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"seq":6,`, `"seq":6,"seq":6,`, 1))},
		"spaces":                {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `,"head"`, `, "head"`, 1))},
		"case variant":          {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"head"`, `"HEAD"`, 1))},
		"time in another zone":  {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"at":"2026-11-23T12:00:00Z"`, `"at":"2026-11-23T12:00:00+00:00"`, 1))},
		"events out of order":   {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"seq":3`, `"seq":5`, 1))},
		"event after the end":   {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"seq":5`, `"seq":7`, 1))},
		"end after the feed's":  {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"head":6`, `"head":5`, 1))},
		"more and none said":    {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"head":6`, `"head":7`, 1))},
		"event of unknown kind": {standing.MessageMalformed, forge(t, header, strings.Replace(payload, `"kind":"bar"`, `"kind":"ban"`, 1))},
		"trailing JSON":         {standing.MessageMalformed, forge(t, header, payload+"{}")},
		"null":                  {standing.MessageWrongFormat, forge(t, header, "null")},
		"an array":              {standing.MessageMalformed, forge(t, header, "[]")},
	} {
		_, err := standing.OpenMessage([]byte(tc.raw), public(key))
		bad, ok := errors.AsType[*standing.MessageError](err)
		if !ok || bad.Code != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	if _, err := standing.OpenMessage([]byte(good), nil); err == nil {
		t.Error("accepted without a key")
	}
	if _, err := standing.OpenMessage([]byte(good), append(public(other), public(key)...)); err != nil {
		t.Errorf("the second of two keys: %v", err)
	}
	huge := sample()
	huge.Nonce = strings.Repeat("x", standing.MaxMessage)
	if _, err := standing.SignMessage(key, huge); err == nil {
		t.Error("a message over the limit was signed")
	}
}

func FuzzOpenMessage(f *testing.F) {
	good, _ := standing.SignMessage(key, sample())
	f.Add([]byte(good), false)
	f.Add([]byte(strings.Split(good, ".")[1]), true)
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[1])
	f.Add(payload, true)
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[0])
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		raw := data
		if sign { // let the fuzzer behind the signature
			raw = []byte(forge(t, string(header), string(data)))
		}
		m, err := standing.OpenMessage(raw, public(key))
		if err != nil {
			if bad, ok := errors.AsType[*standing.MessageError](err); !ok || bad.Code == "" || bad.Detail == "" {
				t.Fatalf("refused without a reason: %v", err)
			}
			return
		}
		again, err := standing.SignMessage(key, m)
		if err != nil || again != string(raw) {
			t.Fatalf("another reading: %s of %s", again, raw)
		}
		var s standing.State
		if err := s.ApplyAll(m.Events); err != nil {
			t.Fatalf("read and not applied: %v", err)
		}
	})
}
