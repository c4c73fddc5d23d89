package attest_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

const audience = "bailiwick:dev"

// fixedKey is a key for tests, made from a label so that golden bytes do not change.
func fixedKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("bailiwick attest test key " + label))
	return ed25519.NewKeyFromSeed(seed[:])
}

// typical is a statement of the size that a start by a person with a reason has.
func typical() attest.Statement {
	alice := attest.Party{Principal: "user:https://acme.okta.com/oauth2/default|00u1alice0000000001", Login: "alice@acme.example", ClientID: "0oabailiwickcli00001", Profile: "user"}
	return attest.Statement{
		Version: attest.Version, ID: "01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c11", Issuer: "dev", Audience: audience, Edge: attest.EdgeStart,
		Originator: alice, Actor: alice, Reason: "release 1.4.2 <checkout> & fix of #4711", Policies: []string{"roles.cedar#write-operates"},
		GroupsDigest: strings.Repeat("cd", 32), AuthTime: time.Unix(1795446000, 0).UTC(), ACR: "urn:okta:loa:2fa:any",
		Binding:       attest.Binding{Namespace: "deploy", WorkflowID: "deploy-checkout-1.4.2", WorkflowType: "deploy"},
		RequestDigest: strings.Repeat("ef", 32), IssuedAt: time.Unix(1795446123, 0).UTC(), AuthorityUntil: time.Unix(1795449600, 0).UTC(),
	}
}

func mustSign(t testing.TB, s *attest.Signer, st attest.Statement) string {
	t.Helper()
	raw, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustVerify(t testing.TB, s *attest.Signer, st attest.Statement) attest.Verified {
	t.Helper()
	v, err := s.PublicKeySet().Verify(mustSign(t, s, st), st.Audience)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantCode(t testing.TB, err error, want attest.Code) {
	t.Helper()
	var e *attest.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// header is the protected header of an attestation as docs/attestation.md gives it, written out here a second time.
func header(kid string) string {
	return `{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"` + kid + `","typ":"bailiwick-attestation"}`
}

// craft signs any payload with a genuine key under any protected header: what a careless or hostile key holder could make.
func craft(key ed25519.PrivateKey, header, kid, payload string) string {
	sig := ed25519.Sign(key, []byte(base64.RawURLEncoding.EncodeToString([]byte(header))+"."+payload))
	return strings.TrimSuffix(payload, "}") + `,"sig":"` + kid + "." + base64.RawURLEncoding.EncodeToString(sig) + `"}`
}

// parts takes an attestation apart as the documentation says.
func parts(t testing.TB, raw string) (payload, kid, sig string) {
	t.Helper()
	i := strings.LastIndex(raw, `,"sig":"`)
	if i < 0 || !strings.HasSuffix(raw, `"}`) {
		t.Fatalf("not an attestation: %s", raw)
	}
	kid, sig, _ = strings.Cut(raw[i+len(`,"sig":"`):len(raw)-2], ".")
	return raw[:i] + "}", kid, sig
}

func TestGoldenBytes(t *testing.T) {
	key := fixedKey("golden")
	raw := mustSign(t, attest.NewSigner(key), typical())
	path := filepath.Join("testdata", "v1.json")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(file))
	if raw != want {
		t.Errorf("the bytes of version 1 changed; a change of format needs a new version\ngot  %s\nwant %s", raw, want)
	}
	v, err := attest.NewSigner(key).PublicKeySet().Verify(want, audience)
	if st := typical(); err != nil || !reflect.DeepEqual(v.Statement(), st) {
		t.Errorf("the golden bytes read as %+v, %v", v.Statement(), err)
	}
	// RFC 7797 by hand: the protected header, a dot and the payload as it stands.
	payload, kid, sig := parts(t, want)
	signature, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey), []byte(base64.RawURLEncoding.EncodeToString([]byte(header(kid)))+"."+payload), signature) {
		t.Errorf("not the JWS that the documentation describes: %v", err)
	}
	if kid != attest.Thumbprint(key.Public().(ed25519.PublicKey))[:16] {
		t.Errorf("kid %s", kid)
	}
	if !json.Valid([]byte(want)) {
		t.Error("the golden bytes are not JSON")
	}
}

func TestSizeOfATypicalStatement(t *testing.T) {
	n := len(mustSign(t, attest.NewSigner(fixedKey("size")), typical()))
	t.Logf("a typical attestation takes %d bytes", n)
	if n > 680 {
		t.Errorf("%d bytes, more than 680", n)
	}
}

func TestRoundTrip(t *testing.T) {
	st := typical()
	st.Chain = []attest.Party{{Principal: "0oareleaseagent00001", Profile: "ai_agent"}}
	st.Reason = "line one\nline \"two\" <&>\u2028 ünïcödé"
	st.Grant = "g-17"
	st.Actor = attest.Party{Principal: "client:https://acme.okta.com/oauth2/default|0oareleaseagent00001", Profile: "ai_agent"}
	s := attest.NewSigner(fixedKey("a"))
	v := mustVerify(t, s, st)
	got := v.Statement()
	if got.Reason != st.Reason || got.Chain[0] != st.Chain[0] || got.Actor != st.Actor || got.Originator != st.Originator || !got.IssuedAt.Equal(st.IssuedAt) || !got.AuthTime.Equal(st.AuthTime) || got.Binding != st.Binding || got.Grant != st.Grant {
		t.Errorf("got %+v, want %+v", got, st)
	}
	if again := mustSign(t, s, got); again != v.Raw() || v.KeyID() != s.KeyID() {
		t.Error("signing what was read does not give the same bytes")
	}
}

func TestSignRefusesWhatVerifyWouldRefuse(t *testing.T) {
	s := attest.NewSigner(fixedKey("a"))
	for name, change := range map[string]func(*attest.Statement){
		"no id":                func(s *attest.Statement) { s.ID = "" },
		"no issuer":            func(s *attest.Statement) { s.Issuer = "" },
		"no audience":          func(s *attest.Statement) { s.Audience = "" },
		"no actor":             func(s *attest.Statement) { s.Actor = attest.Party{} },
		"no originator":        func(s *attest.Statement) { s.Originator = attest.Party{} },
		"no namespace":         func(s *attest.Statement) { s.Binding.Namespace = "" },
		"no workflow id":       func(s *attest.Statement) { s.Binding.WorkflowID = "" },
		"start without type":   func(s *attest.Statement) { s.Binding.WorkflowType = "" },
		"signal without name":  func(s *attest.Statement) { s.Edge = attest.EdgeSignal },
		"schedule without id":  func(s *attest.Statement) { s.Edge = attest.EdgeSchedule },
		"unknown edge":         func(s *attest.Statement) { s.Edge = "reset" },
		"no time":              func(s *attest.Statement) { s.IssuedAt = time.Time{} },
		"no digest":            func(s *attest.Statement) { s.RequestDigest = "deadbeef" },
		"a digest in capitals": func(s *attest.Statement) { s.GroupsDigest = strings.Repeat("AB", 32) },
		"ambiguous profile":    func(s *attest.Statement) { s.Actor.Profile = "-" },
		"ambiguous principal":  func(s *attest.Statement) { s.Actor.Principal = "user:|00u1" },
		"activity and workflow": func(s *attest.Statement) {
			s.Edge, s.Binding.ActivityID, s.Binding.Name = attest.EdgeActivity, "a-1", "push"
		},
		"activity without a type": func(s *attest.Statement) {
			s.Edge, s.Binding = attest.EdgeActivity, attest.Binding{Namespace: "deploy", ActivityID: "a-1"}
		},
		"parent without an id": func(s *attest.Statement) { s.Binding.ParentRunID = "r1" },
		"no end of authority":  func(s *attest.Statement) { s.AuthorityUntil = time.Unix(-1, 0) },
		"other version":        func(s *attest.Statement) { s.Version = 2 },
		"invalid UTF-8":        func(s *attest.Statement) { s.Reason = "a\xffb" },
		"too long":             func(s *attest.Statement) { s.Reason = strings.Repeat("x", attest.MaxSize) },
	} {
		st := typical()
		change(&st)
		if raw, err := s.Sign(st); err == nil {
			t.Errorf("%s: signed %s", name, raw)
		}
	}
}

// TestVerifyRefuses covers threat 27's forgeries and the JWS tricks of threats 1 to 10 as they apply here.
func TestVerifyRefuses(t *testing.T) {
	key, other := fixedKey("a"), fixedKey("b")
	s := attest.NewSigner(key)
	good := mustSign(t, s, typical())
	payload, kid, sig := parts(t, good)
	join := func(payload, kid, sig string) string {
		return strings.TrimSuffix(payload, "}") + `,"sig":"` + kid + "." + sig + `"}`
	}
	swap := func(s, old, new string) string {
		t.Helper()
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %q", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	with := func(old, new string) string { return craft(key, header(kid), kid, swap(payload, old, new)) }
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	loose := sig[:85] + string(alphabet[strings.IndexByte(alphabet, sig[85])^1]) // 86 characters hold 64 bytes and 4 spare bits
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"x","typ":"at+jwt"}`)) + ".e30." + sig

	for _, c := range []struct {
		name, raw string
		want      attest.Code
	}{
		{"empty", "", attest.CodeMalformed},
		{"over the limit", good + strings.Repeat("A", attest.MaxSize), attest.CodeMalformed},
		{"many braces", strings.Repeat("{", 8000), attest.CodeMalformed},
		{"truncated", good[:len(good)-10], attest.CodeMalformed},
		{"beheaded", good[10:], attest.CodeMalformed},
		{"payload alone", payload, attest.CodeMalformed},
		{"signature alone", good[len(payload)-1:], attest.CodeMalformed},
		{"empty signature", join(payload, kid, ""), attest.CodeMalformed},
		{"short signature", join(payload, kid, sig[:80]), attest.CodeMalformed},
		{"newline in the signature", join(payload, kid, sig[:10]+"\n"+sig[11:]), attest.CodeMalformed},
		{"loose trailing bits", join(payload, kid, loose), attest.CodeMalformed},
		{"standard base64", join(payload, kid, "+"+sig[1:]), attest.CodeMalformed},
		{"leading space", " " + good, attest.CodeMalformed},
		{"trailing newline", good + "\n", attest.CodeMalformed},
		{"a member after the signature", strings.TrimSuffix(good, "}") + `,"x":1}`, attest.CodeMalformed},
		{"two signatures", strings.TrimSuffix(good, "}") + good[len(payload)-1:], attest.CodeSignature},
		{"the signature's member in another place", swap(payload, `{"v"`, `{`+good[len(payload):len(good)-1]+`,"v"`), attest.CodeMalformed},
		{"an access token", token, attest.CodeType},
		{"alg none", craft(key, strings.Replace(header(kid), "EdDSA", "none", 1), kid, payload), attest.CodeSignature},
		{"another typ", craft(key, strings.Replace(header(kid), attest.Type, "bailiwick-standing+jwt", 1), kid, payload), attest.CodeSignature},
		{"an encoded payload", craft(key, `{"alg":"EdDSA","kid":"`+kid+`","typ":"bailiwick-attestation"}`, kid, payload), attest.CodeSignature},
		{"kid unknown", craft(key, header(kid), "nobodynobodynobo", payload), attest.CodeKeyUnknown},
		{"kid of other characters", craft(key, header(kid), "../../etc/passwd", payload), attest.CodeMalformed},
		{"kid too long", craft(key, header(kid), kid+"A", payload), attest.CodeMalformed},
		{"signed by another key under our kid", craft(other, header(kid), kid, payload), attest.CodeSignature},
		{"another key and its own kid", mustSign(t, attest.NewSigner(other), typical()), attest.CodeKeyUnknown},
		{"payload altered", join(swap(payload, "deploy", "payments"), kid, sig), attest.CodeSignature},
		{"version 2", with(`"v":1`, `"v":2`), attest.CodeVersion},
		{"version 2 with more fields", with(`"v":1`, `"v":2,"new":true`), attest.CodeVersion},
		{"version 0", with(`"v":1`, `"v":0`), attest.CodeVersion},
		{"version missing", with(`"v":1,`, ``), attest.CodeMalformed},
		{"version a string", with(`"v":1`, `"v":"1"`), attest.CodeMalformed},
		{"duplicate key", with(`"aud":`, `"aud":"bailiwick:prod","aud":`), attest.CodeMalformed},
		{"duplicate nested key", with(`"n":"deploy"`, `"n":"payments","n":"deploy"`), attest.CodeMalformed},
		{"re-cased key", with(`"aud":`, `"AUD":`), attest.CodeMalformed},
		{"long s in a key", with(`"iss":`, `"iſs":`), attest.CodeMalformed},
		{"unknown key", with(`{"v":1`, `{"v":1,"admin":true`), attest.CodeMalformed},
		{"a signature inside", with(`{"v":1`, `{"v":1,"sig":"x"`), attest.CodeMalformed},
		{"space", with(`"v":1`, `"v": 1`), attest.CodeMalformed},
		{"trailing JSON", craft(key, header(kid), kid, payload+"{}"), attest.CodeMalformed},
		{"payload array", craft(key, header(kid), kid, "["+payload+"]"), attest.CodeMalformed},
		{"iat a float", with("1795446123", "1795446123.5"), attest.CodeMalformed},
		{"iat huge", with("1795446123", "1e300"), attest.CodeMalformed},
		{"iat negative", with("1795446123", "-1"), attest.CodeMalformed},
		{"invalid UTF-8", with("release", "rele\xffase"), attest.CodeMalformed},
		{"null where nothing stands", with(`"on":`, `"grant":null,"on":`), attest.CodeMalformed},
		{"edge unknown", with(`"e":"start"`, `"e":"root"`), attest.CodeMalformed},
		{"no originator", with(`"by":["user:|00u1alice0000000001",`, `"by":["",`), attest.CodeMalformed},
		{"originator an object", with(`"by":["user:|00u1alice0000000001","alice@acme.example","0oabailiwickcli00001"]`, `"by":{"id":"user"}`), attest.CodeMalformed},
		{"originator with its issuer said twice", with(`"user:|`, `"user:https://acme.okta.com/oauth2/default|`), attest.CodeMalformed},
		{"originator of another issuer", with(`"user:|`, `"user:https://evil.example|`), attest.CodeMalformed},
		{"issuer missing", with(`"idp":"https://acme.okta.com/oauth2/default",`, ``), attest.CodeMalformed},
		{"party with an empty end", with(`"0oabailiwickcli00001"]`, `"0oabailiwickcli00001",""]`), attest.CodeMalformed},
		{"party with its kind said twice", with(`"0oabailiwickcli00001"]`, `"0oabailiwickcli00001","user"]`), attest.CodeMalformed},
		{"party too long", with(`"0oabailiwickcli00001"]`, `"0oabailiwickcli00001","ai_agent","s","x"]`), attest.CodeMalformed},
		{"party with a number", with(`"0oabailiwickcli00001"]`, `7]`), attest.CodeMalformed},
		{"actor given as nobody", with(`"why":`, `"via":[""],"why":`), attest.CodeMalformed},
		{"actor an empty list", with(`"why":`, `"via":[],"why":`), attest.CodeMalformed},
		{"actor null", with(`"why":`, `"via":null,"why":`), attest.CodeMalformed},
		{"actor the originator again", with(`"why":`, `"via":["user:|00u1alice0000000001","alice@acme.example","0oabailiwickcli00001"],"why":`), attest.CodeMalformed},
		{"chain empty", with(`"why":`, `"chain":[],"why":`), attest.CodeMalformed},
		{"digest short", with(`"rd":"7-_v`, `"rd":"7-_`), attest.CodeMalformed},
		{"digest in hex", with(`"rd":"7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-8"`, `"rd":"`+strings.Repeat("ef", 32)+`"`), attest.CodeMalformed},
		{"auth_time zero", with(`"at":1795446000`, `"at":0`), attest.CodeMalformed},
		{"audience of another environment", with(`"aud":"bailiwick:dev"`, `"aud":"bailiwick:prod"`), attest.CodeAudience},
		{"audience a prefix", with(`"aud":"bailiwick:dev"`, `"aud":"bailiwick:dev2"`), attest.CodeAudience},
		{"audience an array", with(`"aud":"bailiwick:dev"`, `"aud":["bailiwick:dev"]`), attest.CodeMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := s.PublicKeySet().Verify(c.raw, audience)
			wantCode(t, err, c.want)
			if v.Raw() != "" || v.Statement().ID != "" {
				t.Error("a refusal returned a statement")
			}
		})
	}

	if _, err := s.PublicKeySet().Verify(good, audience); err != nil {
		t.Errorf("the original: %v", err)
	}
	_, err := s.PublicKeySet().Verify(with(`"aud":"bailiwick:dev"`, `"aud":""`), "")
	wantCode(t, err, attest.CodeMalformed)
	_, err = s.PublicKeySet().Verify(good, "")
	wantCode(t, err, attest.CodeAudience)
	_, err = attest.KeySet{}.Verify(good, audience)
	wantCode(t, err, attest.CodeKeyUnknown)
}

func TestRetiredKey(t *testing.T) {
	s := attest.NewSigner(fixedKey("a"))
	st := typical()
	raw := mustSign(t, s, st)
	set := s.PublicKeySet()
	if _, err := set.Retire(s.KeyID(), st.IssuedAt).Verify(raw, audience); err != nil {
		t.Errorf("issued in the last second of its key: %v", err)
	}
	_, err := set.Retire(s.KeyID(), st.IssuedAt.Add(-time.Second)).Verify(raw, audience)
	wantCode(t, err, attest.CodeKeyRetired)
	if _, err := set.Verify(raw, audience); err != nil {
		t.Errorf("retiring changed the set it was asked of: %v", err)
	}
	later, err := attest.NewKeySet(attest.Key{Public: fixedKey("a").Public().(ed25519.PublicKey), NotBefore: st.IssuedAt.Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = later.Verify(raw, audience)
	wantCode(t, err, attest.CodeKeyRetired)
}

func FuzzVerify(f *testing.F) {
	key := fixedKey("a")
	s := attest.NewSigner(key)
	good, err := s.Sign(typical())
	if err != nil {
		f.Fatal(err)
	}
	p, kid, _ := parts(f, good)
	f.Add(p)
	f.Add(`{"v":1,"v":1}`)
	f.Add(strings.ToUpper(p))
	f.Add(strings.Replace(p, `"user:|`, `"client:https://x|`, 1))
	f.Add(strings.Replace(p, `"why":`, `"via":["client:|0oa1","","","-"],"chain":[["0oa1","","","ai_agent"],["user:|x"]],"why":`, 1))
	set := s.PublicKeySet()
	// The signature is always good, so that the fuzzer reaches the parser. What is accepted must be canonical: signing it again
	// gives the same bytes.
	f.Fuzz(func(t *testing.T, payload string) {
		raw := craft(key, header(kid), kid, payload)
		v, err := set.Verify(raw, audience)
		if err != nil {
			var e *attest.Error
			if !errors.As(err, &e) {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		again, err := s.Sign(v.Statement())
		if err != nil || again != raw {
			t.Fatalf("accepted %s, which signs as %s (%v)", raw, again, err)
		}
	})
}

// FuzzSplit takes any text for an attestation: no panic, an error with a code, and nothing verified that the key did not sign.
func FuzzSplit(f *testing.F) {
	s := attest.NewSigner(fixedKey("a"))
	good, err := s.Sign(typical())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(strings.Repeat(`,"sig":"`, 30))
	set := s.PublicKeySet()
	f.Fuzz(func(t *testing.T, raw string) {
		attest.UnverifiedAudience(raw)
		_, err := set.Verify(raw, audience)
		var e *attest.Error
		if raw != good && !errors.As(err, &e) {
			t.Fatalf("%q: %v", raw, err)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, st := attest.NewSigner(fixedKey("a")), typical()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := attest.NewSigner(fixedKey("a"))
	raw, set := mustSign(b, s, typical()), s.PublicKeySet()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Verify(raw, audience); err != nil {
			b.Fatal(err)
		}
	}
}
