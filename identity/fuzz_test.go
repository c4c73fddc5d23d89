package identity

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzObject holds the strict reader against encoding/json: what the reader accepts, encoding/json must accept and understand alike.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, ` { "a" : [ 1 , "x" , null , true , { } ] } `, `{"a":"\u00e9\ud83d\ude00\/\n"}`, `{"a":-0.5e+10,"b":false}`, `{"a":1,"a":2}`,
		`{"\u0061":1,"a":2}`, `{"a":"\u0000"}`, `{"a":"\ud800"}`, `{"a":1}x`, `[1]`, `{"a":[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]}`, "{\"\u017fub\":1}", `{"a":01}`, `{"a":1.}`,
		`{"keys":[{"kty":"RSA","n":"AQAB"}]}`, `{"act":{"sub":"a","act":{"sub":"b"}}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		members, err := parseObject(s, nil)
		if err != nil {
			return
		}
		if !utf8.ValidString(s) {
			t.Fatal("accepted invalid UTF-8")
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if len(want) != len(members) {
			t.Fatalf("%d members, encoding/json finds %d", len(members), len(want))
		}
		for _, m := range members {
			raw, there := want[m.name]
			if !there {
				t.Fatalf("encoding/json has no member %q", m.name)
			}
			same(t, m.value, raw)
		}
	})
}

// same compares a raw value with encoding/json's reading, through the accessors that the profile uses.
func same(t *testing.T, value string, raw json.RawMessage) {
	var a, b any
	if json.Unmarshal([]byte(value), &a) != nil || json.Unmarshal(raw, &b) != nil {
		return // a number too large for a float
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("value %q, encoding/json has %q", value, raw)
	}
	switch want := b.(type) {
	case string:
		if got, ok := stringValue(value); !ok || got != want || strings.ContainsRune(got, 0) {
			t.Fatalf("string %q, encoding/json reads %q", got, want)
		}
	case []any:
		n := 0
		for e := range elements(value) {
			var got any
			if err := json.Unmarshal([]byte(e), &got); err != nil || !reflect.DeepEqual(got, want[n]) {
				t.Fatalf("element %d is %q, encoding/json reads %v", n, e, want[n])
			}
			n++
		}
		if n != len(want) {
			t.Fatalf("%d elements, encoding/json finds %d", n, len(want))
		}
	}
	if _, isString := b.(string); !isString {
		if _, ok := stringValue(value); ok {
			t.Fatalf("%q is taken for a string", value)
		}
	}
}

// FuzzHeader checks that an accepted header can only say what the profile allows.
func FuzzHeader(f *testing.F) {
	for _, h := range []string{`{"alg":"RS256","kid":"k0"}`, `{"alg":"none"}`, `{"alg":"RS256","kid":"k0","typ":"JWT"}`, `{"alg":"HS256","kid":"k0"}`, `{"alg":"RS256","crit":["b64"],"b64":false}`,
		`{"alg":"RS256","jwk":{}}`, `{"ALG":"RS256","alg":"RS256"}`, `{"alg":"RS256","kid":"../x"}`} {
		f.Add(b64([]byte(h)))
	}
	f.Add("eyJhbGciOiJSUzI1NiJ9\n")
	f.Fuzz(func(t *testing.T, part string) {
		h, err := parseHeader(part)
		if err != nil {
			if err.Code == "" || err.Detail == "" {
				t.Fatal("refused without a reason")
			}
			return
		}
		text, ok := decode(part)
		if !ok || b64(text) != part {
			t.Fatal("accepted a header that is not canonical base64url")
		}
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if all["alg"] != h.alg || algorithms[h.alg].method == nil {
			t.Fatalf("alg %q, encoding/json reads %v", h.alg, all["alg"])
		}
		for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty"} {
			for got := range all {
				if strings.EqualFold(got, name) {
					t.Fatalf("accepted header member %q", got)
				}
			}
		}
	})
}

// FuzzClaims checks that claims which pass the profile agree with encoding/json's reading, by exact names, and keep every bound.
func FuzzClaims(f *testing.F) {
	o := &org{issuer: "https://acme.okta.com/oauth2/default"}
	is := must((Issuer{URL: o.issuer, Audiences: []string{"api://temporal"}}).withDefaults())
	for _, c := range []object{o.userClaims(epoch), o.clientClaims(epoch), with(o.userClaims(epoch), "act", object{"sub": "a", "act": object{"sub": "b"}}, "acr", "x"),
		with(o.userClaims(epoch), "aud", []string{"api://temporal"}, "exp", json.RawMessage("1795435300.5")), with(o.userClaims(epoch), "SUB", "x"), with(o.userClaims(epoch), "cnf", object{})} {
		f.Add(string(must(json.Marshal(c))))
	}
	f.Fuzz(func(t *testing.T, text string) {
		members, bad := parseObject(text, nil)
		if bad != nil {
			return
		}
		p, err := is.readPayload(members)
		if err == nil {
			err = is.judge(p, epoch, time.Minute)
		}
		if err != nil {
			if err.Code == "" || err.Detail == "" || !utf8.ValidString(err.Detail) {
				t.Fatalf("refused without a fit reason: %+v", err)
			}
			return
		}
		var all map[string]any
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		for name := range all {
			for _, known := range []string{"iss", "aud", "sub", "uid", "cid", "exp", "iat", "nbf", "act", "cnf", "groups"} {
				if name != known && strings.EqualFold(name, known) {
					t.Fatalf("accepted %q beside or in place of %q", name, known)
				}
			}
		}
		c := p.claims
		if all["sub"] != c.Login || c.ID == "" || c.ClientID == "" || c.Kind != User && c.Kind != Client {
			t.Fatalf("claims %+v of %v", c, all)
		}
		if c.Kind == Client && (c.ID != c.Login || c.ID != c.ClientID) {
			t.Fatalf("a client that is not itself: %+v", c)
		}
		if !epoch.Before(c.Expires) || c.Expires.Sub(c.IssuedAt) > is.MaxLifetime || c.IssuedAt.Sub(epoch) > time.Minute || len(c.Actors) > maxActors || len(c.Groups) > 2*maxGroups {
			t.Fatalf("out of bounds: %+v", c)
		}
		for _, s := range append(append([]string{c.Login, c.ID, c.ClientID}, c.Groups...), c.Scopes...) {
			if !printable(s) {
				t.Fatalf("unprintable %q", s)
			}
		}
	})
}

// FuzzKeySet checks that no accepted set holds a key that must not be used.
func FuzzKeySet(f *testing.F) {
	f.Add(jwks(jwk("k0", rsaKeys[0]().Public()), jwk("e0", ecKeyP256().Public()), jwk("d0", edKey().Public())))
	f.Add(`{"keys":[{"kty":"oct","kid":"a","k":"AA"}]}`)
	f.Add(`{"keys":[]}`)
	f.Fuzz(func(t *testing.T, body string) {
		set, err := parseKeySet([]byte(body))
		if err != nil {
			return
		}
		if len(set.byID) == 0 || len(set.byID) > maxKeys {
			t.Fatalf("%d keys", len(set.byID))
		}
		for id, k := range set.byID {
			if id != k.id || !validKeyID(id) || k.public == nil || k.print == "" {
				t.Fatalf("key %q: %+v", id, k)
			}
		}
	})
}
