package identity

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// idClaims is an Okta ID token of the same login as userClaims.
func (o *org) idClaims(now time.Time) object {
	return object{
		"ver": 1, "jti": "ID.abc", "iss": o.issuer, "aud": "0oacli", "sub": "00ualice", "iat": now.Unix() - 10, "exp": now.Unix() + 3600,
		"amr": []string{"pwd", "otp", "mfa"}, "acr": "urn:okta:loa:2fa:any", "idp": "00o1", "nonce": "n", "at_hash": "h", "auth_time": now.Unix() - 100,
		"name": "Alice", "email": "alice@acme.example", "preferred_username": "alice@acme.example", "groups": []string{"Everyone"},
	}
}

// idToken is a good ID token with claims changed pairwise; nil removes.
func (r *rig) idToken(kv ...any) string {
	return sign(rs256, with(r.idClaims(r.clock()), kv...), rsaKeys[0]())
}

func (r *rig) companion(access, id string) (Companion, *Error) {
	r.t.Helper()
	who, err := r.v.Verify(context.Background(), ParseUnverified(access))
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.v.VerifyCompanion(context.Background(), who, ParseUnverified(id))
	if err == nil {
		return c, nil
	}
	var e *Error
	if !errors.As(err, &e) || c.AMR != nil || c.ACR != "" || !c.AuthTime.IsZero() || id != "" && strings.Contains(e.Error(), id) {
		r.t.Fatalf("%T %v with %+v", err, err, c)
	}
	return c, e
}

func TestCompanion(t *testing.T) {
	r := newRig(t)
	access, id := r.user(), r.idToken()
	for range 3 { // the second time from the cache
		c, err := r.companion(access, id)
		if err != nil || !slices.Equal(c.AMR, []string{"pwd", "otp", "mfa"}) || c.ACR != "urn:okta:loa:2fa:any" || !c.AuthTime.Equal(epoch.Add(-100*time.Second)) {
			t.Fatalf("%+v %v", c, err)
		}
	}
	if n := r.v.companions.EstimatedSize(); n != 1 {
		t.Errorf("%d ID tokens are remembered", n)
	}
	for what, id := range map[string]string{
		"typ JWT": sign(with(rs256, "typ", "JWT"), r.idClaims(epoch), rsaKeys[0]()), "aud array of one": r.idToken("aud", []string{"0oacli"}), "azp": r.idToken("azp", "0oacli"),
		"no auth_time": r.idToken("auth_time", nil), "no jti": r.idToken("jti", nil), "uid too": r.idToken("uid", "00ualice"), "a session": r.idToken("sid", "s1"), "unknown claims": r.idToken("x", 1),
	} {
		if c, err := r.companion(access, id); err != nil || len(c.AMR) != 3 {
			t.Errorf("%s: %+v %v", what, c, err)
		}
	}
	if c, err := r.companion(access, r.idToken("amr", nil)); err != nil || len(c.AMR) != 0 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := r.v.VerifyCompanion(context.Background(), Identity{}, ParseUnverified(id)); err == nil {
		t.Error("a companion of nobody")
	}
}

// An ID token that is not of this login, or is no ID token, refuses the call.
func TestCompanionIsRefused(t *testing.T) {
	r := newRig(t)
	access := r.user("sid", "s1")
	now := epoch.Unix()
	for what, id := range map[string]string{
		"empty": "", "junk": "x.y.z", "opaque": "abc", "five parts": "a.b.c.d.e", "too long": strings.Repeat("a", maxToken) + ".b.c", "bearer": "Bearer " + r.idToken(),
		"altered":       r.idToken()[:len(r.idToken())-8] + "AAAAAAAA",
		"no signature":  strings.TrimRight(r.idToken(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
		"another key":   sign(rs256, r.idClaims(epoch), rsaKeys[1]()),
		"unknown key":   sign(object{"alg": "RS256", "kid": "k9"}, r.idClaims(epoch), rsaKeys[0]()),
		"no key":        sign(object{"alg": "RS256"}, r.idClaims(epoch), rsaKeys[0]()),
		"none":          sign(object{"alg": "none", "kid": "k0"}, r.idClaims(epoch), rsaKeys[0]()),
		"embedded key":  sign(with(rs256, "jwk", jwk("k0", rsaKeys[1]().Public())), r.idClaims(epoch), rsaKeys[1]()),
		"access token":  r.user(),
		"as typ at+jwt": sign(with(rs256, "typ", "at+jwt"), r.idClaims(epoch), rsaKeys[0]()),
		"logout token":  sign(with(rs256, "typ", "logout+jwt"), r.idClaims(epoch), rsaKeys[0]()),
		"issuer":        r.idToken("iss", r.issuer+"2"), "no issuer": r.idToken("iss", nil), "org server": r.idToken("iss", r.URL),
		"another client": r.idToken("aud", "0oaother"), "two audiences": r.idToken("aud", []string{"0oacli", "x"}), "our audience": r.idToken("aud", "api://temporal"), "no audience": r.idToken("aud", nil),
		"azp": r.idToken("azp", "0oaother"), "another person": r.idToken("sub", "00ubob"), "login as sub": r.idToken("sub", "alice@acme.example"), "no sub": r.idToken("sub", nil), "uid": r.idToken("uid", "00ubob"),
		"another session": r.idToken("sid", "s2"), "another login": r.idToken("auth_time", now-99),
		"no exp": r.idToken("exp", nil), "no iat": r.idToken("iat", nil), "exp text": r.idToken("exp", "1"), "from the future": r.idToken("iat", now+120), "nbf": r.idToken("nbf", now+120),
		"for a year": r.idToken("exp", now+365*24*3600), "amr text": r.idToken("amr", "mfa"), "amr number": r.idToken("amr", []any{1}), "amr empty": r.idToken("amr", []string{""}),
		"amr many": r.idToken("amr", strings.Split(strings.Repeat("a ", 33), " ")[:33]), "AMR": r.idToken("AMR", []string{"mfa"}), "Sub": r.idToken("Sub", "00ualice"),
		"twice":        sign(rs256, strings.Replace(string(must(json.Marshal(r.idClaims(epoch)))), `"amr"`, `"amr":["x"],"amr"`, 1), rsaKeys[0]()),
		"with a scope": r.idToken("scp", []string{"openid"}), "with a cid": r.idToken("cid", "0oacli"), "bound": r.idToken("cnf", object{}), "with an actor": r.idToken("act", object{"sub": "x"}),
		"a security event": r.idToken("events", object{}), "transaction token": r.idToken("tctx", object{}),
	} {
		for range 2 { // a refusal is not forgotten by the cache
			if c, err := r.companion(access, id); err == nil {
				t.Errorf("%s: accepted: %+v", what, c)
			} else if err.Code != CodeIDToken {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if n := r.v.companions.EstimatedSize(); n != 0 {
		t.Errorf("%d refused ID tokens are remembered", n)
	}
	service := must(r.v.Verify(context.Background(), ParseUnverified(r.client())))
	if _, err := r.v.VerifyCompanion(context.Background(), service, ParseUnverified(r.idToken("sub", "0oaworker", "aud", "0oaworker"))); err == nil {
		t.Error("a service has a companion")
	}
}

// One that has run out adds nothing and refuses nothing, whether it was seen before or not.
func TestCompanionExpires(t *testing.T) {
	r := newRig(t)
	access, id, late := r.user("exp", epoch.Unix()+7200), r.idToken(), r.idToken("jti", "ID.late")
	if c, err := r.companion(access, id); err != nil || len(c.AMR) != 3 {
		t.Fatal(c, err)
	}
	r.advance(time.Hour)
	for _, token := range []string{id, late} {
		if c, err := r.companion(access, token); err != nil || c.AMR != nil || c.ACR != "" || !c.AuthTime.IsZero() {
			t.Errorf("%+v %v", c, err)
		}
	}
	if _, err := r.companion(access, r.idToken("sub", "00ubob", "iat", epoch.Unix()-7200, "exp", epoch.Unix())); err == nil {
		t.Error("somebody else's is passed over because it has expired")
	}
	r.v.companions.CleanUp()
	if n := r.v.companions.EstimatedSize(); n != 0 {
		t.Errorf("%d expired ID tokens are remembered", n)
	}
}

// What was verified once is checked again for whom it is and by which key: it may come beside another's access token.
func TestCompanionFromTheCache(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		access, id := r.user(), r.idToken()
		if _, err := r.companion(access, id); err != nil {
			t.Fatal(err)
		}
		if _, err := r.companion(r.user("uid", "00ubob", "sub", "bob@acme.example"), id); err == nil || err.Code != CodeIDToken {
			t.Errorf("beside another's access token: %v", err)
		}
		if _, err := r.companion(r.user("cid", "0oaother"), id); err == nil || err.Code != CodeIDToken {
			t.Errorf("beside another client's access token: %v", err)
		}
		r.publish(jwk("k0", rsaKeys[1]().Public()), jwk("k1", rsaKeys[0]().Public()))
		time.Sleep(6 * time.Minute) // one refresh
		again := sign(object{"alg": "RS256", "kid": "k1"}, with(r.userClaims(r.clock()), "auth_time", nil), rsaKeys[0]())
		if _, err := r.companion(again, id); err == nil || err.Code != CodeIDToken {
			t.Errorf("its key was replaced: %v", err)
		}
	})
}

// The other way round: no ID token is an access token, remembered or not.
func TestThreat10CompanionIsNoAccessToken(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Issuers[0].Audiences = []string{"api://temporal", "0oacli"} }) // as careless as can be
	id := r.idToken("nonce", nil, "at_hash", nil, "jti", "x")
	if _, err := r.companion(r.user(), id); err != nil {
		t.Fatal(err)
	}
	r.refuses(CodeSubject, "a remembered ID token", id)
	r.refuses(CodeTokenType, "an ID token", r.idToken())
	access := r.user()
	r.accepts(access)
	if _, err := r.companion(access, access); err == nil {
		t.Error("a remembered access token is its own companion")
	}
}

// FuzzIDToken checks that claims which pass the profile of ID tokens agree with encoding/json's reading and name one person and client.
func FuzzIDToken(f *testing.F) {
	o := &org{issuer: "https://acme.okta.com/oauth2/default"}
	who := &Claims{Issuer: o.issuer, Kind: User, ID: "00ualice", ClientID: "0oacli", AuthTime: epoch.Add(-100 * time.Second)}
	for _, c := range []object{o.idClaims(epoch), o.userClaims(epoch), with(o.idClaims(epoch), "aud", []string{"0oacli"}), with(o.idClaims(epoch), "AMR", []string{"x"}), with(o.idClaims(epoch), "cnf", object{})} {
		f.Add(string(must(json.Marshal(c))))
	}
	f.Fuzz(func(t *testing.T, text string) {
		members, bad := parseObject(text, nil)
		if bad != nil {
			return
		}
		id, err := readID(members)
		if err == nil {
			err = id.belongsTo(who)
		}
		if err == nil {
			err = id.times(epoch, time.Minute, 24*time.Hour)
		}
		if err != nil {
			if err.Code == "" || err.Detail == "" {
				t.Fatalf("refused without a fit reason: %+v", err)
			}
			return
		}
		var all map[string]any
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		for name := range all {
			for _, known := range []string{"iss", "aud", "sub", "uid", "exp", "iat", "amr", "acr", "auth_time", "azp"} {
				if name != known && strings.EqualFold(name, known) {
					t.Fatalf("accepted %q beside or in place of %q", name, known)
				}
			}
		}
		for _, other := range []string{"cid", "client_id", "scp", "scope", "act", "cnf", "events"} {
			if _, there := all[other]; there {
				t.Fatalf("accepted a token with %s", other)
			}
		}
		if all["sub"] != who.ID || all["iss"] != who.Issuer || id.audience != who.ClientID || len(id.companion.AMR) > maxAMR {
			t.Fatalf("%+v of %v", id, all)
		}
		for _, m := range id.companion.AMR {
			if !printable(m) {
				t.Fatalf("unprintable %q", m)
			}
		}
	})
}
