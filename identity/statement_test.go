package identity

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestStatements(t *testing.T) {
	r := newRig(t)
	secevent := StatementProfile{Type: "secevent+jwt", Audiences: []string{"https://receiver.example"}, MaxAge: time.Hour}
	logout := StatementProfile{Type: "global-token-revocation+jwt", Audiences: []string{"https://receiver.example"}, MaxLifetime: 10 * time.Minute}
	now := epoch.Unix()
	claims := object{"iss": r.issuer, "aud": "https://receiver.example", "jti": "1", "iat": now - 10, "events": object{"https://a.example/b": object{}}}
	typed := func(typ string) object { return with(rs256, "typ", typ) }
	key := rsaKeys[0]()

	for _, c := range []struct {
		what   string
		want   StatementProfile
		header object
		claims object
		code   Code // "": accepted
	}{
		{"as Okta sends it", secevent, typed("secevent+jwt"), claims, ""},
		{"with the media type in full", secevent, typed("application/secevent+jwt"), claims, ""},
		{"an array of one audience", secevent, typed("secevent+jwt"), with(claims, "aud", []string{"https://receiver.example"}), ""},
		{"without a type", secevent, rs256, claims, CodeTokenType},
		{"an access token's type", secevent, typed("at+jwt"), claims, CodeTokenType},
		{"an access token", secevent, rs256, r.userClaims(epoch), CodeTokenType},
		{"another statement", logout, typed("secevent+jwt"), claims, CodeTokenType},
		{"another issuer", secevent, typed("secevent+jwt"), with(claims, "iss", "https://evil.example"), CodeIssuer},
		{"the issuer in other letters", secevent, typed("secevent+jwt"), with(claims, "iss", strings.ToUpper(r.issuer)), CodeIssuer},
		{"another audience", secevent, typed("secevent+jwt"), with(claims, "aud", "https://else.example"), CodeAudience},
		{"two audiences", secevent, typed("secevent+jwt"), with(claims, "aud", []string{"https://receiver.example", "https://else.example"}), CodeAudience},
		{"the issuer's own audience", secevent, typed("secevent+jwt"), with(claims, "aud", "api://temporal"), CodeAudience},
		{"no jti", secevent, typed("secevent+jwt"), with(claims, "jti", nil), CodeTokenMalformed},
		{"no iat", secevent, typed("secevent+jwt"), with(claims, "iat", nil), CodeTokenMalformed},
		{"too old", secevent, typed("secevent+jwt"), with(claims, "iat", now-3700), CodeLifetime},
		{"from the future", secevent, typed("secevent+jwt"), with(claims, "iat", now+120), CodeNotYetValid},
		{"over", secevent, typed("secevent+jwt"), with(claims, "exp", now), CodeExpired},
		{"a claim in another case", secevent, typed("secevent+jwt"), with(claims, "Events", object{}), CodeTokenMalformed},
		{"an algorithm that is not listed", secevent, with(typed("secevent+jwt"), "alg", "RS512"), claims, CodeAlgorithm},
		{"no algorithm", secevent, with(typed("secevent+jwt"), "alg", "none"), claims, CodeAlgorithm},
		{"an unknown key", secevent, with(typed("secevent+jwt"), "kid", "k9"), claims, CodeKeyUnknown},
		{"no key", secevent, with(typed("secevent+jwt"), "kid", nil), claims, CodeKeyUnknown},
		{"a request to log out", logout, typed("global-token-revocation+jwt"), with(claims, "exp", now+290), ""},
		{"one that never ends", logout, typed("global-token-revocation+jwt"), claims, CodeTokenMalformed},
		{"one that lives too long", logout, typed("global-token-revocation+jwt"), with(claims, "exp", now+3600), CodeLifetime},
	} {
		t.Run(c.what, func(t *testing.T) {
			s, err := r.v.VerifyStatement(context.Background(), ParseUnverified(sign(c.header, c.claims, key)), c.want)
			if c.code == "" {
				var back object
				if err != nil || s.ID != "1" || s.Issuer != r.issuer || json.Unmarshal(s.Payload, &back) != nil || back["events"] == nil {
					t.Errorf("%+v, %v", s, err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.Code != c.code || s.Payload != nil {
				t.Errorf("%v (%+v), want %s", err, s, c.code)
			}
		})
	}
	good := sign(typed("secevent+jwt"), claims, key)
	for what, raw := range map[string]string{
		"another key's signature": sign(typed("secevent+jwt"), claims, rsaKeys[1]()),
		"a signature cut":         good[:len(good)-4],
		"claims changed":          strings.Replace(good, ".", ".e", 1),
		"a duplicate claim":       sign(typed("secevent+jwt"), `{"iss":"a","iss":"b"}`, key),
		"nothing":                 "", "text": "hello", "JSON": `{"payload":"x"}`,
	} {
		if _, err := r.v.VerifyStatement(context.Background(), ParseUnverified(raw), secevent); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	// The other way round: no statement opens anything.
	r.refuses(CodeTokenType, "a security event token as access token", sign(typed("secevent+jwt"), with(r.userClaims(epoch), "events", object{}), key))
	if _, err := r.verify(sign(rs256, with(r.userClaims(epoch), "events", object{}), key)); err == nil {
		t.Error("an access token with events is accepted")
	}
}
