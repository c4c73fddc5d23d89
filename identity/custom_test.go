package identity

import (
	"encoding/json"
	"strings"
	"testing"
)

// read reads a token's claims as an issuer with these settings does.
func read(t *testing.T, is Issuer, claims string) (*payload, *Error) {
	t.Helper()
	is.URL, is.Audiences = "https://acme.okta.com/oauth2/default", []string{"a"}
	is, err := is.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	members, err := parseObject(claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	return is.readPayload(members)
}

func TestCustomClaims(t *testing.T) {
	p, bad := read(t, Issuer{}, `{"ver":1,"acme":{"team":{"lead":"eve","size":7},"on_call":true,"areas":["a","b"],"none":null},"https://acme.example/tier":"gold","acme.team.lead":"whole","n":1.5}`)
	if bad != nil {
		t.Fatal(bad)
	}
	c := &p.claims
	for path, want := range map[string]string{
		"acme.team.lead": `"whole"`, "acme.team.size": "7", "acme.on_call": "true", "acme.areas": `["a","b"]`, "https://acme.example/tier": `"gold"`, "n": "1.5",
		"acme.none": "", "acme.team.nobody": "", "acme.team.lead.more": "", "ver": "", "": "", ".": "", "acme.": "", "acme..team": "",
	} {
		if got, ok := c.CustomClaim(path); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", path, got, ok)
		}
	}
	if c.CustomLost {
		t.Error("something was lost")
	}
	if s, ok := Text(`"a\u0062"`); !ok || s != "ab" {
		t.Errorf("%q", s)
	}
	for _, no := range []string{`7`, `"a\nb"`, `""`, `null`, ``, `"` + strings.Repeat("x", maxName+1) + `"`} {
		if s, ok := Text(no); ok {
			t.Errorf("%s is taken for the text %q", no, s)
		}
	}
	for text, want := range map[string]int64{"7": 7, "-3": -3} {
		if n, ok := Whole(text); !ok || n != want {
			t.Errorf("%s: %d", text, n)
		}
	}
	for _, no := range []string{"1.0", "1e3", `"7"`, "99999999999999999999", ""} {
		if _, ok := Whole(no); ok {
			t.Errorf("%s is taken for a whole number", no)
		}
	}
}

// A token can't make this service keep much: what is left out is said to be.
func TestCustomClaimsAreBounded(t *testing.T) {
	p, bad := read(t, Issuer{}, `{"a":"x","big":"`+strings.Repeat("x", maxCustom)+`","b":1}`)
	if bad != nil {
		t.Fatal(bad)
	}
	if _, has := p.claims.CustomClaim("big"); has || !p.claims.CustomLost {
		t.Error("a claim of 4 KiB was kept, or is not missed")
	}
	for _, name := range []string{"a", "b"} {
		if _, has := p.claims.CustomClaim(name); !has {
			t.Errorf("%s was lost with it", name)
		}
	}
	many := map[string]int{}
	for i := range maxCustomNames + 1 {
		many["claim"+string(rune('A'+i))] = i
	}
	raw, _ := json.Marshal(many)
	if p, bad = read(t, Issuer{}, string(raw)); bad != nil || len(p.claims.Custom) != maxCustomNames || !p.claims.CustomLost {
		t.Errorf("%d kept, %v", len(p.claims.Custom), bad)
	}
}

func TestGroupsElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		is     Issuer
		claims string
		want   bool
		refuse bool
	}{
		"no word of it":        {Issuer{}, `{"groups":["a"]}`, false, false},
		"distributed claim":    {Issuer{}, `{"_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{}}}`, true, false},
		"another claim is":     {Issuer{}, `{"_claim_names":{"address":"src1"}}`, false, false},
		"not an object":        {Issuer{}, `{"_claim_names":"groups"}`, false, true},
		"case variant":         {Issuer{}, `{"_Claim_names":{"groups":"src1"}}`, false, true},
		"marker":               {Issuer{GroupsMarker: "more_groups"}, `{"more_groups":true,"groups":["a"]}`, true, false},
		"marker says no":       {Issuer{GroupsMarker: "more_groups"}, `{"more_groups":false}`, false, false},
		"marker of other type": {Issuer{GroupsMarker: "more_groups"}, `{"more_groups":"true"}`, false, true},
		"variant of marker":    {Issuer{GroupsMarker: "more_groups"}, `{"More_groups":true}`, false, true},
		"nobody's marker":      {Issuer{}, `{"more_groups":true}`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, bad := read(t, test.is, test.claims)
			if (bad != nil) != test.refuse {
				t.Fatalf("refused: %v", bad)
			}
			if bad == nil && p.claims.GroupsElsewhere != test.want {
				t.Errorf("groups elsewhere: %v", p.claims.GroupsElsewhere)
			}
		})
	}
	for _, is := range []Issuer{{Groups: "api"}, {GroupsMarker: "sub"}, {GroupsMarker: "groups"}} {
		is.URL, is.Audiences = "https://acme.okta.com/oauth2/default", []string{"a"}
		if _, err := is.withDefaults(); err == nil {
			t.Errorf("%+v is taken", is)
		}
	}
}

func TestProfileOf(t *testing.T) {
	c := &Claims{Profile: ProfileOf(map[string]json.RawMessage{
		"costCenter": json.RawMessage(` "42" `), "level": json.RawMessage("3"), "tags": json.RawMessage(`[ "a" , "b" ]`), "odd": json.RawMessage(`"\ud800"`), "broken": json.RawMessage(`{`), "gone": json.RawMessage("null"),
		"address": json.RawMessage(`{"city":"Bern"}`),
	})}
	for path, want := range map[string]string{"costCenter": `"42"`, "level": "3", "tags": `["a","b"]`, "address.city": `"Bern"`} {
		if got, ok := c.ProfileAttribute(path); !ok || got != want {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
	for _, no := range []string{"broken", "gone", "nobody"} {
		if got, ok := c.ProfileAttribute(no); ok {
			t.Errorf("%s: %q", no, got)
		}
	}
	if odd, ok := c.ProfileAttribute("odd"); ok {
		Text(odd) // must not panic
	}
	if tags, ok := Texts(`["a","b"]`, 2); !ok || len(tags) != 2 {
		t.Errorf("%v", tags)
	}
	for _, no := range []string{`"a"`, `["a","b","c"]`, `[1]`, `null`, `{}`} {
		if tags, ok := Texts(no, 2); ok {
			t.Errorf("%s is taken for %v", no, tags)
		}
	}
}
