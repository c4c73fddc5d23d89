package identity

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestThreat10OtherKindsOfToken(t *testing.T) {
	r := newRig(t)
	for _, typ := range []string{"logout+jwt", "oauth-id-jag+jwt", "secevent+jwt", "txntoken+jwt", "bailiwick-attestation+jwt", "client-authentication+jwt",
		"global-token-revocation+jwt", "dpop+jwt", "id_token", "JOSE", "at+jwtx", "ＪＷＴ"} {
		r.refuses(CodeTokenType, typ, sign(with(rs256, "typ", typ), r.userClaims(epoch), rsaKeys[0]()))
	}
	r.refuses(CodeTokenType, "typ empty", sign(with(rs256, "typ", ""), r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenType, "typ number", sign(with(rs256, "typ", 1), r.userClaims(epoch), rsaKeys[0]()))
	for _, typ := range []string{"JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"} {
		r.accepts(sign(with(rs256, "typ", typ), r.userClaims(epoch), rsaKeys[0]()))
	}
	// Without a typ, the claims give it away.
	idToken := object{"ver": 1, "jti": "ID.x", "iss": r.issuer, "aud": "0oacli", "sub": "00ualice", "iat": epoch.Unix(), "exp": epoch.Unix() + 3600,
		"amr": []string{"pwd"}, "idp": "00o1", "auth_time": epoch.Unix(), "nonce": "n", "at_hash": "h", "email": "alice@acme.example"}
	r.refuses(CodeTokenType, "ID token", sign(rs256, idToken, rsaKeys[0]()))
	r.refuses(CodeTokenType, "ID token without nonce and at_hash", sign(rs256, with(idToken, "nonce", nil, "at_hash", nil), rsaKeys[0]()))
	r.refuses(CodeTokenType, "ID token whose client is our audience", sign(rs256, with(idToken, "aud", "api://temporal", "cid", "0oacli", "uid", "00ualice"), rsaKeys[0]()))
	r.refuses(CodeTokenType, "logout token", r.user("events", object{"http://schemas.openid.net/event/backchannel-logout": object{}}))
	r.refuses(CodeTokenType, "transaction token", r.user("tctx", object{}, "req_wl", "w"))
	r.refuses(CodeIssuer, "client assertion", sign(rs256, object{"iss": "0oacli", "sub": "0oacli", "aud": r.issuer + "/v1/token", "jti": "x",
		"iat": epoch.Unix(), "exp": epoch.Unix() + 300}, rsaKeys[0]()))
	// An issuer that always sets typ can be held to it.
	r = newRig(t, func(c *Config) { c.Issuers[0].TokenTypes = []string{"at+jwt"} })
	r.refuses(CodeTokenType, "typ missing where required", r.user())
	r.accepts(sign(with(rs256, "typ", "at+jwt"), r.userClaims(epoch), rsaKeys[0]()))
}

func TestThreat11WrongIssuer(t *testing.T) {
	r := newRig(t)
	for _, iss := range []string{r.issuer + "/", r.issuer + "2", r.issuer[:len(r.issuer)-1], strings.ToUpper(r.issuer), r.URL + "/oauth2/Default",
		r.URL + "/oauth2/aus2other", "https://evil.example/oauth2/default", r.issuer + "#", r.issuer + " ", strings.Replace(r.issuer, "127.0.0.1", "localhost", 1)} {
		r.refuses(CodeIssuer, iss, r.user("iss", iss))
	}
	r.refuses(CodeIssuer, "missing", r.user("iss", nil))
	r.refuses(CodeIssuer, "empty", r.user("iss", ""))
	r.refuses(CodeTokenMalformed, "array", r.user("iss", []string{r.issuer}))
	r.refuses(CodeTokenMalformed, "null", r.user("iss", json.RawMessage("null")))
	if r.fetches.Load() != 0 {
		t.Error("strange issuers caused a fetch")
	}
	// Two trusted issuers do not vouch for each other: the second's key signs for the first.
	other := newOrg(t)
	other.publish(jwk("k0", rsaKeys[1]().Public()))
	two := newRig(t, func(c *Config) { c.Issuers = append(c.Issuers, other.settings()) })
	two.refuses(CodeSignature, "signed by another trusted issuer", sign(rs256, two.userClaims(epoch), rsaKeys[1]()))
	two.accepts(sign(rs256, other.userClaims(epoch), rsaKeys[1]()))
}

func TestThreat12OrgServerToken(t *testing.T) {
	r := newRig(t)
	tellsWhatToDo := func(e *Error) {
		t.Helper()
		if !strings.Contains(e.Detail, "custom authorization server") {
			t.Errorf("does not say to use a custom authorization server: %q", e.Detail)
		}
	}
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "opaque", "00Nsomeopaquetokenofokta_-"))
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "words", "hello"))
	orgClaims := with(r.userClaims(epoch), "iss", r.URL, "aud", r.URL)
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "org server's JWT", sign(rs256, orgClaims, rsaKeys[0]())))
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "org server's JWT without kid", sign(object{"alg": "RS256"}, orgClaims, rsaKeys[0]())))
}

func TestThreat13Audience(t *testing.T) {
	r := newRig(t)
	for what, aud := range map[string]any{
		"missing": nil, "other": "api://other", "prefix": "api://temp", "longer": "api://temporal2", "slash": "api://temporal/", "case": "API://temporal",
		"ours among others": []string{"api://temporal", "api://other"}, "ours twice": []string{"api://temporal", "api://temporal"}, "none": []string{},
		"the issuer": r.issuer, "array of another": []string{"api://other"}, "array of the empty": []string{""},
	} {
		r.refuses(CodeAudience, what, r.user("aud", aud))
	}
	for what, aud := range map[string]any{"number": 1, "object": object{"aud": "api://temporal"}, "array of a number": []any{1}, "ours and a number": []any{"api://temporal", 1},
		"nested array": []any{[]string{"api://temporal"}}, "empty": "", "true": true} {
		r.refuses(CodeTokenMalformed, what, r.user("aud", aud))
	}
}

func TestThreat14Times(t *testing.T) {
	r := newRig(t)
	now := epoch.Unix()
	for _, c := range []struct {
		what string
		code Code
		kv   []any
	}{
		{"exp missing", CodeTokenMalformed, []any{"exp", nil}},
		{"exp past", CodeExpired, []any{"exp", now - 1}},
		{"exp now", CodeExpired, []any{"exp", now}},
		{"exp zero", CodeExpired, []any{"exp", 0}},
		{"exp string", CodeTokenMalformed, []any{"exp", fmt.Sprint(now + 60)}},
		{"exp exponent", CodeTokenMalformed, []any{"exp", json.RawMessage("2e9")}},
		{"exp fraction and exponent", CodeTokenMalformed, []any{"exp", json.RawMessage("1.7e9")}},
		{"exp negative", CodeTokenMalformed, []any{"exp", -1}},
		{"exp minus zero", CodeTokenMalformed, []any{"exp", json.RawMessage("-0")}},
		{"exp > 2^53", CodeTokenMalformed, []any{"exp", json.RawMessage("9007199254740993")}},
		{"exp overflow", CodeTokenMalformed, []any{"exp", json.RawMessage("99999999999999999999999999")}},
		{"exp true", CodeTokenMalformed, []any{"exp", true}},
		{"exp null", CodeTokenMalformed, []any{"exp", json.RawMessage("null")}},
		{"exp array", CodeTokenMalformed, []any{"exp", []int64{now + 60}}},
		{"iat missing", CodeTokenMalformed, []any{"iat", nil}},
		{"iat string", CodeTokenMalformed, []any{"iat", "now"}},
		{"iat ahead", CodeNotYetValid, []any{"iat", now + 61}},
		{"nbf ahead", CodeNotYetValid, []any{"nbf", now + 61}},
		{"nbf string", CodeTokenMalformed, []any{"nbf", "0"}},
		{"auth_time ahead", CodeNotYetValid, []any{"auth_time", now + 61}},
	} {
		r.refuses(c.code, c.what, r.user(c.kv...))
	}
	for _, bad := range []string{"NaN", "Infinity", "0x10", "+1", "01", "1.", ".5", "1_000", "1e", "--1"} {
		r.refuses(CodeTokenMalformed, "exp "+bad, r.userText(func(s string) string {
			return strings.Replace(s, fmt.Sprintf(`"exp":%d`, now+3600), `"exp":`+bad, 1)
		}))
	}
	e := r.refuses(CodeExpired, "exp past", r.user("exp", now-180))
	if !strings.Contains(e.Detail, "2026-11-23T11:57:00Z") || !strings.Contains(e.Detail, "bailiwick login") {
		t.Errorf("does not say when it expired and what to do: %q", e.Detail)
	}
	// Within skew, and to the last instant.
	r.accepts(r.user("iat", now+60, "nbf", now+60, "auth_time", now+60))
	r.accepts(r.user("exp", now+1))
}

func TestThreat15Lifetime(t *testing.T) {
	r := newRig(t)
	now := epoch.Unix()
	r.refuses(CodeLifetime, "24h and a second", r.user("iat", now-10, "exp", now-10+86401))
	r.refuses(CodeLifetime, "forever", r.user("exp", int64(1)<<53))
	r.refuses(CodeLifetime, "expires before it was issued", r.user("iat", now+30, "exp", now+20))
	r.refuses(CodeLifetime, "expires before it is valid", r.user("nbf", now+30, "exp", now+20))
	r.accepts(r.user("iat", now-10, "exp", now-10+86400))
	r = newRig(t, func(c *Config) { c.Issuers[0].MaxLifetime = time.Hour })
	r.refuses(CodeLifetime, "longer than this issuer allows", r.user("iat", now, "exp", now+3601))
}

func TestThreat18Subjects(t *testing.T) {
	other := newOrg(t)
	r := newRig(t, func(c *Config) { c.Issuers = append(c.Issuers, other.settings()) })
	a := r.accepts(r.user())
	b := r.accepts(sign(rs256, other.userClaims(epoch), rsaKeys[0]()))
	if a.Principal() == b.Principal() || a.ID != b.ID {
		t.Errorf("one uid at two issuers: %s and %s", a.Principal(), b.Principal())
	}
	// A user and a client with one sub are two principals.
	u, c := r.accepts(r.user("sub", "0oaworker", "uid", "00ux")), r.accepts(r.client())
	if u.Principal() == c.Principal() || u.Kind != User || c.Kind != Client || u.Login != c.Login {
		t.Errorf("one sub: %s and %s", u.Principal(), c.Principal())
	}
	for _, tc := range []struct {
		what string
		code Code
		kv   []any
	}{
		{"uid missing", CodeSubject, []any{"uid", nil}},
		{"uid empty", CodeTokenMalformed, []any{"uid", ""}},
		{"uid null", CodeTokenMalformed, []any{"uid", json.RawMessage("null")}},
		{"uid number", CodeTokenMalformed, []any{"uid", 7}},
		{"sub missing", CodeSubject, []any{"sub", nil}},
		{"sub empty", CodeTokenMalformed, []any{"sub", ""}},
		{"sub with a newline", CodeTokenMalformed, []any{"sub", "alice\nroot"}},
		{"sub array", CodeTokenMalformed, []any{"sub", []string{"alice"}}},
		{"cid missing", CodeSubject, []any{"cid", nil}},
		{"cid and client_id differ", CodeSubject, []any{"client_id", "0oaother"}},
		{"type temporal", CodeSubject, []any{"sub_profile", "temporal"}},
		{"type Temporal", CodeSubject, []any{"sub_profile", "Temporal"}},
		{"principal_type temporal", CodeSubject, []any{"principal_type", "temporal"}},
		{"uid temporal:", CodeSubject, []any{"uid", "temporal:internal-frontend"}},
		{"sub temporal:", CodeSubject, []any{"sub", "Temporal:system"}},
	} {
		r.refuses(tc.code, tc.what, r.user(tc.kv...))
	}
}

func TestThreat19Clients(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Issuers[0].ClientIDs = []string{"0oacli", "0oaworker"} })
	r.accepts(r.user())
	r.refuses(CodeClient, "client not allowed", r.user("cid", "0oaother"))
	r.refuses(CodeClient, "prefix of an allowed client", r.user("cid", "0oacl"))
	r.refuses(CodeSubject, "client as user: uid is the client", r.client("uid", "0oaworker"))
	r.refuses(CodeSubject, "client as user: sub is the client", r.client("uid", "00ualice"))
	r.refuses(CodeSubject, "client as user: sub is a person, no uid", r.client("sub", "alice@acme.example"))
	r.refuses(CodeSubject, "client as user: profile", r.client("sub_profile", "user"))
	r.refuses(CodeSubject, "agent with a uid", r.user("sub_profile", "ai_agent"))
	if c := r.accepts(r.client("groups", []string{"temporal:payments:write"})); c.Kind != Client || c.ID != "0oaworker" || c.Principal() != "client:"+r.issuer+"|0oaworker" {
		t.Errorf("client became %+v", c)
	}
}

func TestThreat20Delegation(t *testing.T) {
	r := newRig(t)
	chain := func(subs ...string) (act object) {
		for _, s := range slices.Backward(subs) {
			next := object{"sub": s, "sub_profile": "ai_agent"}
			if act != nil {
				next["act"] = act
			}
			act = next
		}
		return act
	}
	c := r.accepts(r.user("act", chain("agent2", "agent1")))
	if want := []Actor{{"agent2", "ai_agent"}, {"agent1", "ai_agent"}}; !slices.Equal(c.Actors, want) {
		t.Errorf("actors %v, want the outermost first: %v", c.Actors, want)
	}
	if c.ID != "00ualice" || c.Kind != User || slices.Contains(c.Groups, "agent1") {
		t.Errorf("an actor became the subject: %+v", c)
	}
	r.accepts(r.user("act", chain("a", "b", "c", "d", "e")))
	r.refuses(CodeTokenMalformed, "six deep", r.user("act", chain("a", "b", "c", "d", "e", "f")))
	r.refuses(CodeTokenMalformed, "thirty deep", r.user("act", chain(strings.Split(strings.Repeat("a,", 30), ",")...)))
	r.refuses(CodeSubject, "cycle", r.user("act", chain("a", "b", "a")))
	r.refuses(CodeSubject, "self by login", r.user("act", chain("alice@acme.example")))
	r.refuses(CodeSubject, "self by uid, nested", r.user("act", chain("a", "00ualice")))
	r.refuses(CodeSubject, "actor temporal", r.user("act", object{"sub": "x", "sub_profile": "temporal"}))
	r.refuses(CodeSubject, "actor without sub", r.user("act", object{"sub_profile": "ai_agent"}))
	for what, act := range map[string]any{"string": "agent", "array": []any{chain("a")}, "null": json.RawMessage("null"), "sub number": object{"sub": 1}, "Sub": object{"sub": "a", "Sub": "b"},
		"inner string": object{"sub": "a", "act": "b"}, "inner null": object{"sub": "a", "act": nil}, "sub twice": json.RawMessage(`{"sub":"a","sub":"b"}`)} {
		r.refuses(CodeTokenMalformed, "act "+what, r.user("act", act))
	}
}

func TestThreat21BoundTokens(t *testing.T) {
	r := newRig(t)
	for what, cnf := range map[string]any{"jkt": object{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, "x5t": object{"x5t#S256": "x"}, "empty": object{}, "null": json.RawMessage("null"), "string": "x"} {
		r.refuses(CodeBinding, "cnf "+what, r.user("cnf", cnf))
	}
}

func TestThreat22RevokedAccess(t *testing.T) {
	var out = map[string]bool{}
	asked := 0
	r := newRig(t, func(c *Config) { c.Revoked = func(c *Claims) bool { asked++; return out[c.Principal()] } })
	token := r.user()
	first := r.accepts(token)
	for range 50 { // each call asks again, whatever is remembered of the token
		if r.accepts(token) != first {
			t.Fatal("the token is not remembered: this test would test nothing")
		}
	}
	if asked != 51 {
		t.Errorf("asked %d times in 51 calls", asked)
	}
	alice := first.Principal()
	out[alice] = true
	r.refuses(CodeRevoked, "remembered token", token)
	r.refuses(CodeRevoked, "fresh token", r.user("jti", "AT.new"))
	r.accepts(r.client())
	delete(out, alice)
	r.accepts(token)
}
