package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
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
		PolicyDigest: strings.Repeat("ab", 32), GroupsDigest: strings.Repeat("cd", 32), AuthTime: time.Unix(1795446000, 0).UTC(), ACR: "urn:okta:loa:2fa:any",
		Binding:       attest.Binding{Namespace: "deploy", WorkflowID: "deploy-checkout-1.4.2", WorkflowType: "deploy", TaskQueue: "deploy"},
		RequestDigest: strings.Repeat("ef", 32), IssuedAt: time.Unix(1795446123, 0).UTC(),
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

// craft signs any header and payload with a genuine key: what a careless or hostile key holder could make.
func craft(key ed25519.PrivateKey, header, payload string) string {
	enc := base64.RawURLEncoding
	input := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
	return input + "." + enc.EncodeToString(ed25519.Sign(key, []byte(input)))
}

func parts(t testing.TB, raw string) (header, payload string, sig []byte) {
	t.Helper()
	p := strings.Split(raw, ".")
	if len(p) != 3 {
		t.Fatalf("%d parts", len(p))
	}
	var out [3][]byte
	for i := range p {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p[i])
		if err != nil {
			t.Fatal(err)
		}
		out[i] = b
	}
	return string(out[0]), string(out[1]), out[2]
}

func TestGoldenBytes(t *testing.T) {
	raw := mustSign(t, attest.NewSigner(fixedKey("golden")), typical())
	path := filepath.Join("testdata", "v1.jws")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if raw != strings.TrimSpace(string(want)) {
		h, p, _ := parts(t, raw)
		t.Errorf("the bytes of version 1 changed; a change of format needs a new version\ngot  %s\nheader  %s\npayload %s", raw, h, p)
	}
	h, p, _ := parts(t, raw)
	v, err := attest.NewSigner(fixedKey("golden")).PublicKeySet().Verify(strings.TrimSpace(string(want)), audience)
	if st := typical(); err != nil || v.Statement().Actor != st.Actor || v.Statement().Binding != st.Binding {
		t.Errorf("the golden bytes read as %+v, %v", v.Statement(), err)
	}
	if wantHeader := `{"alg":"EdDSA","kid":"` + attest.NewSigner(fixedKey("golden")).KeyID() + `","typ":"bailiwick-attestation+jwt"}`; h != wantHeader {
		t.Errorf("header %s, want %s", h, wantHeader)
	}
	if !strings.Contains(p, `"iat":1795446123`) || !strings.Contains(p, `<checkout> & fix`) {
		t.Errorf("payload %s", p)
	}
}

func TestSizeOfATypicalStatement(t *testing.T) {
	n := len(mustSign(t, attest.NewSigner(fixedKey("size")), typical()))
	t.Logf("a typical attestation takes %d bytes", n)
	if n > 1536 {
		t.Errorf("%d bytes, more than 1.5 KB", n)
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
		"no id":               func(s *attest.Statement) { s.ID = "" },
		"no issuer":           func(s *attest.Statement) { s.Issuer = "" },
		"no audience":         func(s *attest.Statement) { s.Audience = "" },
		"no actor":            func(s *attest.Statement) { s.Actor = attest.Party{} },
		"no originator":       func(s *attest.Statement) { s.Originator = attest.Party{} },
		"no namespace":        func(s *attest.Statement) { s.Binding.Namespace = "" },
		"no workflow id":      func(s *attest.Statement) { s.Binding.WorkflowID = "" },
		"start without type":  func(s *attest.Statement) { s.Binding.WorkflowType = "" },
		"signal without name": func(s *attest.Statement) { s.Edge = attest.EdgeSignal },
		"schedule without id": func(s *attest.Statement) { s.Edge = attest.EdgeSchedule },
		"unknown edge":        func(s *attest.Statement) { s.Edge = "reset" },
		"no time":             func(s *attest.Statement) { s.IssuedAt = time.Time{} },
		"other version":       func(s *attest.Statement) { s.Version = 2 },
		"invalid UTF-8":       func(s *attest.Statement) { s.Reason = "a\xffb" },
		"too long":            func(s *attest.Statement) { s.Reason = strings.Repeat("x", attest.MaxSize) },
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
	header, payload, sig := parts(t, good)
	enc := base64.RawURLEncoding.EncodeToString
	join := func(h, p string, sig []byte) string { return enc([]byte(h)) + "." + enc([]byte(p)) + "." + enc(sig) }
	p := strings.Split(good, ".")
	swap := func(s, old, new string) string {
		t.Helper()
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %q", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	loose := good[:len(good)-1] + string(alphabet[last^1]) // 86 characters hold 64 bytes and 4 spare bits

	for _, c := range []struct {
		name, raw string
		want      attest.Code
	}{
		{"empty", "", attest.CodeMalformed},
		{"two parts", p[0] + "." + p[1], attest.CodeMalformed},
		{"four parts", good + ".", attest.CodeMalformed},
		{"many dots", strings.Repeat(".", 1<<20), attest.CodeMalformed},
		{"dots below the limit", strings.Repeat(".", 1000), attest.CodeMalformed},
		{"over the limit", good + strings.Repeat("A", attest.MaxSize), attest.CodeMalformed},
		{"truncated", good[:len(good)-10], attest.CodeSignature},
		{"empty signature", p[0] + "." + p[1] + ".", attest.CodeMalformed},
		{"padded", good + "==", attest.CodeMalformed},
		{"newline in the signature", p[0] + "." + p[1] + "." + p[2][:10] + "\n" + p[2][10:], attest.CodeMalformed},
		{"loose trailing bits", loose, attest.CodeMalformed},
		{"standard base64", strings.NewReplacer("-", "+", "_", "/").Replace(good) + "+", attest.CodeMalformed},
		{"leading space", " " + good, attest.CodeMalformed},
		{"trailing bytes in the signature", join(header, payload, append(bytes.Clone(sig), 0)), attest.CodeSignature},
		{"alg none", join(swap(header, "EdDSA", "none"), payload, []byte("x")), attest.CodeAlgorithm},
		{"alg NonE", craft(key, swap(header, "EdDSA", "NonE"), payload), attest.CodeAlgorithm},
		{"alg eddsa", craft(key, swap(header, "EdDSA", "eddsa"), payload), attest.CodeAlgorithm},
		{"alg Ed25519 (RFC 9864)", craft(key, swap(header, "EdDSA", "Ed25519"), payload), attest.CodeAlgorithm},
		{"alg HS256", craft(key, swap(header, "EdDSA", "HS256"), payload), attest.CodeAlgorithm},
		{"alg missing", craft(key, swap(header, `"alg":"EdDSA",`, ``), payload), attest.CodeAlgorithm},
		{"typ JWT", craft(key, swap(header, attest.Type, "JWT"), payload), attest.CodeType},
		{"typ in capitals", craft(key, swap(header, attest.Type, strings.ToUpper(attest.Type)), payload), attest.CodeType},
		{"typ with application/", craft(key, swap(header, attest.Type, "application/"+attest.Type), payload), attest.CodeType},
		{"typ missing", craft(key, swap(header, `,"typ":"`+attest.Type+`"`, ``), payload), attest.CodeType},
		{"crit", craft(key, swap(header, `}`, `,"crit":["exp"]}`), payload), attest.CodeMalformed},
		{"b64 false", craft(key, swap(header, `}`, `,"b64":false}`), payload), attest.CodeMalformed},
		{"embedded jwk", craft(key, swap(header, `}`, `,"jwk":{"kty":"OKP"}}`), payload), attest.CodeMalformed},
		{"jku", craft(key, swap(header, `}`, `,"jku":"https://evil.example/keys"}`), payload), attest.CodeMalformed},
		{"duplicate alg", craft(key, swap(header, `{`, `{"alg":"none",`), payload), attest.CodeMalformed},
		{"re-cased alg", craft(key, swap(header, `"alg"`, `"ALG"`), payload), attest.CodeMalformed},
		{"header array", craft(key, `[]`, payload), attest.CodeMalformed},
		{"header null", craft(key, `null`, payload), attest.CodeAlgorithm},
		{"kid unknown", craft(key, swap(header, s.KeyID(), "nobody"), payload), attest.CodeKeyUnknown},
		{"kid empty", craft(key, swap(header, s.KeyID(), ""), payload), attest.CodeKeyUnknown},
		{"kid path-like", craft(key, swap(header, s.KeyID(), "../../etc/passwd"), payload), attest.CodeKeyUnknown},
		{"signed by another key under our kid", craft(other, header, payload), attest.CodeSignature},
		{"another key and its own kid", mustSign(t, attest.NewSigner(other), typical()), attest.CodeKeyUnknown},
		{"payload altered", join(header, swap(payload, "deploy", "payments"), sig), attest.CodeSignature},
		{"version 2", craft(key, header, swap(payload, `"v":1`, `"v":2`)), attest.CodeVersion},
		{"version 0", craft(key, header, swap(payload, `"v":1`, `"v":0`)), attest.CodeVersion},
		{"version missing", craft(key, header, swap(payload, `"v":1,`, ``)), attest.CodeMalformed},
		{"version a string", craft(key, header, swap(payload, `"v":1`, `"v":"1"`)), attest.CodeMalformed},
		{"duplicate key", craft(key, header, swap(payload, `"aud":`, `"aud":"bailiwick:prod","aud":`)), attest.CodeMalformed},
		{"duplicate nested key", craft(key, header, swap(payload, `"namespace":"deploy"`, `"namespace":"payments","namespace":"deploy"`)), attest.CodeMalformed},
		{"re-cased key", craft(key, header, swap(payload, `"aud":`, `"AUD":`)), attest.CodeMalformed},
		{"long s in a key", craft(key, header, swap(payload, `"iss":`, `"iſs":`)), attest.CodeMalformed},
		{"unknown key", craft(key, header, swap(payload, `{"v":1`, `{"v":1,"admin":true`)), attest.CodeMalformed},
		{"space", craft(key, header, swap(payload, `"v":1`, `"v": 1`)), attest.CodeMalformed},
		{"trailing JSON", craft(key, header, payload+"{}"), attest.CodeMalformed},
		{"trailing newline", craft(key, header, payload+"\n"), attest.CodeMalformed},
		{"payload null", craft(key, header, "null"), attest.CodeMalformed},
		{"payload array", craft(key, header, "["+payload+"]"), attest.CodeMalformed},
		{"iat a float", craft(key, header, swap(payload, "1795446123", "1795446123.5")), attest.CodeMalformed},
		{"iat huge", craft(key, header, swap(payload, "1795446123", "1e300")), attest.CodeMalformed},
		{"iat negative", craft(key, header, swap(payload, "1795446123", "-1")), attest.CodeMalformed},
		{"invalid UTF-8", craft(key, header, swap(payload, "release", "rele\xffase")), attest.CodeMalformed},
		{"null where nothing stands", craft(key, header, swap(payload, `"bind":`, `"grant":null,"bind":`)), attest.CodeMalformed},
		{"edge unknown", craft(key, header, swap(payload, `"edge":"start"`, `"edge":"root"`)), attest.CodeMalformed},
		{"no originator", craft(key, header, swap(payload, `"originator":{"principal":"user`, `"originator":{"principal":"","x":"user`)), attest.CodeMalformed},
		{"actor given as nobody", craft(key, header, swap(payload, `"reason":`, `"actor":{"principal":""},"reason":`)), attest.CodeMalformed},
		{"actor null", craft(key, header, swap(payload, `"reason":`, `"actor":null,"reason":`)), attest.CodeMalformed},
		{"auth_time zero", craft(key, header, swap(payload, `"auth_time":1795446000`, `"auth_time":0`)), attest.CodeMalformed},
		{"audience of another environment", craft(key, header, swap(payload, `"aud":"bailiwick:dev"`, `"aud":"bailiwick:prod"`)), attest.CodeAudience},
		{"audience a prefix", craft(key, header, swap(payload, `"aud":"bailiwick:dev"`, `"aud":"bailiwick:dev2"`)), attest.CodeAudience},
		{"audience an array", craft(key, header, swap(payload, `"aud":"bailiwick:dev"`, `"aud":["bailiwick:dev"]`)), attest.CodeMalformed},
		{"an access token", craft(key, `{"alg":"EdDSA","kid":"`+s.KeyID()+`"}`, `{"sub":"alice","exp":1}`), attest.CodeType},
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
	_, err := s.PublicKeySet().Verify(craft(key, header, swap(payload, `"aud":"bailiwick:dev"`, `"aud":""`)), "")
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
	h, p, _ := parts(f, good)
	f.Add(h, p)
	f.Add(h, `{"v":1,"v":1}`)
	f.Add(`{"alg":"none"}`, p)
	f.Add(h, strings.ToUpper(p))
	set := s.PublicKeySet()
	// The signature is always good, so that the fuzzer reaches the parsers. What is accepted must be canonical: signing it again
	// gives the same bytes.
	f.Fuzz(func(t *testing.T, header, payload string) {
		raw := craft(key, header, payload)
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
