package identity

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMustBeAccepted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Issuers[0].Algorithms = []string{"RS256", "ES256", "EdDSA"} })
	r.publish(jwk("k0", rsaKeys[0]().Public()), jwk("e0", ecKeyP256().Public()), jwk("d0", edKey().Public()))
	c := r.accepts(r.user()) // no typ: Okta's shape
	want := &Claims{Issuer: r.issuer, Kind: User, ID: "00ualice", Login: "alice@acme.example", ClientID: "0oacli", Audience: "api://temporal",
		Scopes: []string{"openid", "temporal"}, Groups: []string{"Everyone", "temporal:payments:write"}, AuthTime: epoch.Add(-100 * time.Second),
		TokenID: "AT.abc", KeyID: "k0", IssuedAt: epoch.Add(-10 * time.Second), Expires: epoch.Add(time.Hour)}
	if got, want := string(must(json.Marshal(c))), string(must(json.Marshal(want))); got != want {
		t.Errorf("claims\n%s, want\n%s", got, want)
	}
	for range 8 { // both halves of the signature space
		r.accepts(sign(object{"alg": "ES256", "kid": "e0"}, r.userClaims(epoch), ecKeyP256()))
	}
	r.accepts(sign(object{"alg": "EdDSA", "kid": "d0"}, r.userClaims(epoch), edKey()))
	if c := r.accepts(r.user("aud", []string{"api://temporal"})); c.Audience != "api://temporal" {
		t.Errorf("audience %q", c.Audience)
	}
	if c := r.accepts(r.user("exp", json.RawMessage(fmt.Sprint(epoch.Unix()+60, ".25")))); !c.Expires.Equal(epoch.Add(60*time.Second + 250*time.Millisecond)) {
		t.Errorf("fractional exp read as %v", c.Expires)
	}
	r.accepts(r.user("unknown", object{"deep": []any{1, "x", nil, object{"y": true}}}, "EMAIL", "x", "https://acme/roles", []string{"a"}))
	r.accepts(sign(with(rs256, "x5t", "abc", "custom", 1), r.userClaims(epoch), rsaKeys[0]()))
	if c := r.accepts(r.client("scp", nil, "scope", "temporal.worker openid")); !slices.Equal(c.Scopes, []string{"temporal.worker", "openid"}) {
		t.Errorf("scope string read as %q", c.Scopes)
	}
	r.accepts(r.user("scope", "openid temporal"))
	r.refuses(CodeTokenMalformed, "scp and scope disagree", r.user("scope", "openid admin"))
	if c := r.accepts(r.user("acr", "urn:okta:loa:2fa:any")); c.ACR != "urn:okta:loa:2fa:any" {
		t.Errorf("acr %q", c.ACR)
	}
	if c := r.accepts(r.user("amr", []string{"pwd", "mfa"})); !slices.Equal(c.AMR, []string{"pwd", "mfa"}) { // RFC 9068
		t.Errorf("amr %q", c.AMR)
	}
	for _, bad := range []any{"mfa", []any{1}, []string{""}, strings.Split(strings.Repeat("a ", maxAMR+1), " ")[:maxAMR+1]} {
		r.refuses(CodeTokenMalformed, fmt.Sprintf("amr %v", bad), r.user("amr", bad))
	}
	r.refuses(CodeTokenMalformed, "case variant of amr", r.user("AMR", []string{"mfa"}))
	if c := r.accepts(r.user("sid", "idx1")); c.SessionID != "idx1" {
		t.Errorf("session id %q", c.SessionID)
	}
	r.refuses(CodeTokenMalformed, "session id that is no text", r.user("sid", 7))
	r.refuses(CodeTokenMalformed, "case variant of sid", r.user("SID", "idx1"))
	if c := r.accepts(r.user("groups", json.RawMessage("null"))); len(c.Groups) != 0 {
		t.Errorf("null groups read as %q", c.Groups)
	}
	if c := r.accepts(r.user("temporal_groups", []string{"Everyone", "temporal:deploy:read"})); !slices.Equal(c.Groups, []string{"Everyone", "temporal:payments:write", "temporal:deploy:read"}) {
		t.Errorf("two groups claims read as %q", c.Groups)
	}
	if c := r.accepts(r.client("cid", nil, "client_id", "0oaworker")); c.ClientID != "0oaworker" { // RFC 9068
		t.Errorf("client_id %q", c.ClientID)
	}
	agent := with(r.userClaims(epoch), "uid", nil, "sub", "00ualice", "sub_profile", "user", "scp", nil, "scope", "temporal",
		"act", object{"sub": "wlp2", "sub_profile": "ai_agent", "act": object{"sub": "wlp1", "sub_profile": "ai_agent"}})
	if c := r.accepts(sign(rs256, agent, rsaKeys[0]())); c.Kind != User || c.ID != "00ualice" || len(c.Actors) != 2 {
		t.Errorf("Okta's agent token read as %+v", c)
	}
	r = newRig(t, func(c *Config) { c.Issuers[0].GroupsClaims = []string{"acmeGroups"} })
	if c := r.accepts(r.user("acmeGroups", []string{"a"})); !slices.Equal(c.Groups, []string{"a"}) {
		t.Errorf("configured groups claim read as %q", c.Groups)
	}
	r.refuses(CodeTokenMalformed, "case variant of a configured groups claim", r.user("acmegroups", []string{"a"}))
}

func TestAuthorizationValues(t *testing.T) {
	for _, c := range []struct {
		code   Code
		values []string
	}{
		{CodeTokenMissing, nil}, {CodeTokenMissing, []string{""}},
		{CodeTokenMalformed, []string{"Bearer a.b.c", "Bearer a.b.c"}}, {CodeTokenMalformed, []string{"Bearer a.b.c", ""}},
		{CodeTokenMalformed, []string{"Bearer"}}, {CodeTokenMalformed, []string{"Bearer "}}, {CodeTokenMalformed, []string{"Basic YTpi"}},
		{CodeTokenMalformed, []string{"a.b.c"}}, {CodeTokenMalformed, []string{"Bearer a.b.c, Bearer d.e.f"}}, {CodeTokenMalformed, []string{"Bearer  a.b.c"}},
		{CodeTokenMalformed, []string{"Bearer a.b.c\n"}}, {CodeTokenMalformed, []string{"DPoP a.b.c"}},
	} {
		_, err := FromAuthorization(c.values)
		if e, ok := err.(*Error); !ok || e.Code != c.code {
			t.Errorf("%q: %v, want %s", c.values, err, c.code)
		}
	}
	for _, v := range []string{"Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"} {
		if u, err := FromAuthorization([]string{v}); err != nil || u.text() != "a.b.c" {
			t.Errorf("%q: %v", v, err)
		}
	}
	secret := ParseUnverified("s3cret.s3cret.s3cret")
	if s := fmt.Sprintf("%v %s %+v %#v %q", secret, secret, secret, secret, secret); strings.Contains(s, "s3cret") {
		t.Errorf("the token prints as %s", s)
	}
	r := newRig(t)
	r.refuses(CodeTokenMissing, "zero Unverified", "")
}

func TestErrorsHoldNoRawText(t *testing.T) {
	r := newRig(t)
	e := r.refuses(CodeAudience, "hostile audience", r.user("aud", "\u00e9"+strings.Repeat("A", 200)))
	if strings.ContainsFunc(e.Detail, func(c rune) bool { return c < 0x20 }) || len(e.Detail) > 300 {
		t.Errorf("detail is not fit for a log: %q", e.Detail)
	}
	e = r.refuses(CodeIssuer, "hostile issuer", r.user("iss", "https://x\x1b[2J"))
	if strings.Contains(e.Detail, "\x1b") {
		t.Errorf("terminal escape in %q", e.Detail)
	}
}
