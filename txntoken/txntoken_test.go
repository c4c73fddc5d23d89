package txntoken_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/txntoken"
)

var update = flag.Bool("update", false, "write the golden files anew")

const domain = "acme.example"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func edKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("bailiwick txntoken test key " + label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func ecKey(t testing.TB, label string) *ecdsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte("bailiwick txntoken test key " + label))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func minter(t testing.TB, key crypto.PrivateKey, change func(*txntoken.MinterConfig)) *txntoken.Minter {
	t.Helper()
	cfg := txntoken.MinterConfig{Key: key, Audience: domain, Workload: "deploy-worker", Scopes: []string{"registry.push", "registry.read"}, Clock: func() time.Time { return noon }}
	if change != nil {
		change(&cfg)
	}
	m, err := txntoken.NewMinter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func request() txntoken.Request {
	return txntoken.Request{
		Transaction: "0199c1d2-7a4e-7c31-9d5f-3b0c5a2e8f10", Subject: "user:https://acme.okta.com/oauth2/default|00u1", Scope: []string{"registry.push"},
		Context:     map[string]any{"workflow_id": "ship-142", "decision": "d-1", "attempt": 1, "note": "<&>"},
		Environment: map[string]any{"activity": "push"},
	}
}

func mint(t testing.TB, m *txntoken.Minter, r txntoken.Request) string {
	t.Helper()
	raw, err := m.Mint(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func code(err error) txntoken.Code {
	var e *txntoken.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// The bytes are fixed: both signatures are deterministic (RFC 8032; RFC 6979 for ECDSA).
func TestGoldenBytes(t *testing.T) {
	for name, key := range map[string]crypto.PrivateKey{"eddsa": edKey("golden"), "es256": ecKey(t, "golden")} {
		m := minter(t, key, nil)
		for file, got := range map[string][]byte{name + ".txt": []byte(mint(t, m, request()) + "\n"), name + ".jwks.json": append(m.PublicKeySet().JSON(), '\n')} {
			path := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s:\n got %s\nwant %s", file, got, want)
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for name, key := range map[string]crypto.PrivateKey{"EdDSA": edKey("a"), "ES256": ecKey(t, "a")} {
		m := minter(t, key, nil)
		keys, err := txntoken.ParseKeySet(m.PublicKeySet().JSON())
		if err != nil || !keys.Equal(m.PublicKeySet()) {
			t.Fatalf("%s: key set: %v", name, err)
		}
		raw := mint(t, m, request())
		v, err := keys.Verify(raw, domain, noon.Add(time.Minute))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, r := v.Claims(), request()
		if c.Transaction != r.Transaction || c.Subject != r.Subject || !slices.Equal(c.Scope, r.Scope) || c.Workload != "deploy-worker" || c.Audience != domain ||
			!c.IssuedAt.Equal(noon) || !c.ExpiresAt.Equal(noon.Add(2*time.Minute)) || c.Text("workflow_id") != "ship-142" || c.Text("attempt") != "" ||
			c.Context["attempt"] != json.Number("1") || c.Text("note") != "<&>" || c.Environment["activity"] != "push" || v.Raw() != raw {
			t.Errorf("%s: %+v", name, c)
		}
		if len(raw) > 1024 {
			t.Errorf("%s: %d bytes", name, len(raw))
		}
	}
}

// forge signs any header and payload with the key, as a careless or hostile minter with a trusted key would.
func forge(t testing.TB, key crypto.PrivateKey, header, payload string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	var sig []byte
	switch k := key.(type) {
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(input))
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(nil, k, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// parts decodes header and payload of a token.
func parts(t testing.TB, raw string) (header, payload string) {
	t.Helper()
	p := strings.Split(raw, ".")
	h, err1 := base64.RawURLEncoding.DecodeString(p[0])
	b, err2 := base64.RawURLEncoding.DecodeString(p[1])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return string(h), string(b)
}

func TestRefusals(t *testing.T) {
	key := edKey("a")
	m := minter(t, key, nil)
	good := mint(t, m, request())
	header, payload := parts(t, good)
	swap := func(in, old, with string) string {
		t.Helper()
		if !strings.Contains(in, old) {
			t.Fatalf("%s has no %s", in, old)
		}
		return strings.Replace(in, old, with, 1)
	}
	h := func(old, with string) string { return forge(t, key, swap(header, old, with), payload) }
	p := func(old, with string) string { return forge(t, key, header, swap(payload, old, with)) }
	segments := strings.Split(good, ".")
	for name, c := range map[string]struct {
		raw  string
		code txntoken.Code
	}{
		"empty":                   {"", txntoken.CodeMalformed},
		"two parts":               {segments[0] + "." + segments[1], txntoken.CodeMalformed},
		"four parts":              {good + ".x", txntoken.CodeMalformed},
		"dots":                    {strings.Repeat(".", 1000), txntoken.CodeMalformed},
		"too large":               {good + strings.Repeat("A", txntoken.MaxSize), txntoken.CodeMalformed},
		"no signature":            {segments[0] + "." + segments[1] + ".", txntoken.CodeMalformed},
		"newline in signature":    {good[:len(good)-5] + "\n" + good[len(good)-5:], txntoken.CodeMalformed},
		"padding":                 {good + "=", txntoken.CodeMalformed},
		"short signature":         {good[:len(good)-2], txntoken.CodeSignature},
		"altered payload":         {segments[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(swap(payload, "registry.push", "registry.read"))) + "." + segments[2], txntoken.CodeSignature},
		"alg none":                {h(`"EdDSA"`, `"none"`), txntoken.CodeAlgorithm},
		"alg of another key kind": {h(`"EdDSA"`, `"ES256"`), txntoken.CodeAlgorithm},
		"alg HS256":               {h(`"EdDSA"`, `"HS256"`), txntoken.CodeAlgorithm},
		"no typ":                  {h(`,"typ":"txntoken+jwt"`, ``), txntoken.CodeType},
		"typ JWT":                 {h(`txntoken+jwt`, `JWT`), txntoken.CodeType},
		"typ of an access token":  {h(`txntoken+jwt`, `at+jwt`), txntoken.CodeType},
		"typ of an attestation":   {h(`txntoken+jwt`, attest.Type), txntoken.CodeType},
		"typ in capitals":         {h(`txntoken+jwt`, `TXNTOKEN+JWT`), txntoken.CodeType},
		"crit":                    {h(`{"alg"`, `{"crit":["exp"],"alg"`), txntoken.CodeMalformed},
		"jwk":                     {h(`{"alg"`, `{"jwk":{},"alg"`), txntoken.CodeMalformed},
		"two typ":                 {h(`{"alg"`, `{"typ":"txntoken+jwt","alg"`), txntoken.CodeMalformed},
		"unknown kid":             {h(`"kid":"`, `"kid":"x`), txntoken.CodeKeyUnknown},
		"no kid":                  {forge(t, key, `{"alg":"EdDSA","typ":"txntoken+jwt"}`, payload), txntoken.CodeKeyUnknown},
		"header not an object":    {forge(t, key, `[]`, payload), txntoken.CodeMalformed},
		"null payload":            {forge(t, key, header, `null`), txntoken.CodeMalformed},
		"array payload":           {forge(t, key, header, `[`+payload+`]`), txntoken.CodeMalformed},
		"trailing JSON":           {forge(t, key, header, payload+`{}`), txntoken.CodeMalformed},
		"invalid UTF-8":           {p(`ship-142`, "\xff"), txntoken.CodeMalformed},
		"deep nesting":            {p(`"ship-142"`, strings.Repeat("[", 100)+strings.Repeat("]", 100)), txntoken.CodeMalformed},
		"two exp":                 {p(`{"iat"`, `{"exp":99999999999,"iat"`), txntoken.CodeMalformed},
		"a tctx member twice":     {p(`"tctx":{`, `"tctx":{"decision":"d-2",`), txntoken.CodeMalformed},
		"exp in capitals":         {p(`"exp"`, `"EXP"`), txntoken.CodeMalformed},
		"exp a string":            {p(`"exp":1795435320`, `"exp":"1795435320"`), txntoken.CodeMalformed},
		"exp huge":                {p(`"exp":1795435320`, `"exp":1e300`), txntoken.CodeMalformed},
		"exp negative":            {p(`"exp":1795435320`, `"exp":-1`), txntoken.CodeMalformed},
		"no iat":                  {p(`"iat":1795435200,`, ``), txntoken.CodeMalformed},
		"no aud":                  {p(`"aud":"acme.example",`, ``), txntoken.CodeMalformed},
		"aud an array":            {p(`"acme.example"`, `["acme.example"]`), txntoken.CodeMalformed},
		"no txn":                  {p(`"txn"`, `"tx"`), txntoken.CodeMalformed},
		"empty sub":               {p(`"sub":"user:https://acme.okta.com/oauth2/default|00u1"`, `"sub":""`), txntoken.CodeMalformed},
		"no scope":                {p(`"scope"`, `"scp"`), txntoken.CodeMalformed},
		"scope a list":            {p(`"scope":"registry.push"`, `"scope":["registry.push"]`), txntoken.CodeMalformed},
		"scope of two spaces":     {p(`"registry.push"`, `"a  b"`), txntoken.CodeMalformed},
		"no req_wl":               {p(`"req_wl"`, `"wl"`), txntoken.CodeMalformed},
		"tctx a text":             {p(`"tctx":{`, `"tctx":"x","old":{`), txntoken.CodeMalformed},
		"another domain":          {p(`"acme.example"`, `"evil.example"`), txntoken.CodeAudience},
		"longer than allowed":     {p(`"exp":1795435320`, `"exp":1795435801`), txntoken.CodeLifetime},
		"exp before iat":          {p(`"exp":1795435320`, `"exp":1795435200`), txntoken.CodeLifetime},
	} {
		if v, err := m.PublicKeySet().Verify(c.raw, domain, noon); code(err) != c.code || v.Raw() != "" {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	// The draft: unknown claims are ignored. Fractions are legal in a NumericDate.
	for name, raw := range map[string]string{"unknown claim": p(`{"iat"`, `{"iss":"x","iat"`), "fraction": p(`"exp":1795435320`, `"exp":1795435320.5`), "unknown header": h(`{"alg"`, `{"x":1,"alg"`)} {
		if _, err := m.PublicKeySet().Verify(raw, domain, noon); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (txntoken.KeySet{}).Verify(good, domain, noon); code(err) != txntoken.CodeKeyUnknown {
		t.Errorf("no keys: %v", err)
	}
	if _, err := m.PublicKeySet().Verify(good, "", noon); code(err) != txntoken.CodeAudience {
		t.Errorf("no audience: %v", err)
	}
}

func TestTimes(t *testing.T) {
	m := minter(t, edKey("a"), nil)
	raw := mint(t, m, request())
	for at, want := range map[time.Duration]txntoken.Code{
		-txntoken.Skew - time.Second: txntoken.CodeTooNew, -txntoken.Skew: "", 0: "", 2*time.Minute - time.Second: "", 2 * time.Minute: txntoken.CodeExpired, 24 * time.Hour: txntoken.CodeExpired,
	} {
		if _, err := m.PublicKeySet().Verify(raw, domain, noon.Add(at)); code(err) != want {
			t.Errorf("at %s: %v, want %q", at, err, want)
		}
	}
}

// Of an ECDSA signature's two forms only one is accepted, and neither zeros nor another curve's.
func TestECDSAForms(t *testing.T) {
	key := ecKey(t, "a")
	m := minter(t, key, nil)
	raw := mint(t, m, request())
	input, tail, _ := strings.Cut(raw[strings.Index(raw, ".")+1:], ".")
	input = raw[:strings.Index(raw, ".")+1] + input
	sig, err := base64.RawURLEncoding.DecodeString(tail)
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	high := append(slices.Clone(sig[:32]), new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:])).FillBytes(make([]byte, 32))...)
	digest := sha256.Sum256([]byte(input))
	if !ecdsa.Verify(&key.PublicKey, digest[:], new(big.Int).SetBytes(high[:32]), new(big.Int).SetBytes(high[32:])) {
		t.Fatal("the other form is not a signature: this test would show nothing")
	}
	for name, s := range map[string][]byte{"high s": high, "zeros": make([]byte, 64), "r only": append(slices.Clone(sig[:32]), make([]byte, 32)...), "longer": append(slices.Clone(sig), 0)} {
		if _, err := m.PublicKeySet().Verify(input+"."+base64.RawURLEncoding.EncodeToString(s), domain, noon); code(err) != txntoken.CodeSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	m := minter(t, edKey("a"), nil)
	for name, change := range map[string]func(*txntoken.Request){
		"no transaction":   func(r *txntoken.Request) { r.Transaction = "" },
		"no subject":       func(r *txntoken.Request) { r.Subject = "" },
		"no scope":         func(r *txntoken.Request) { r.Scope = nil },
		"a wider scope":    func(r *txntoken.Request) { r.Scope = []string{"registry.push", "registry.delete"} },
		"two in one scope": func(r *txntoken.Request) { r.Scope = []string{"registry.push registry.read"} },
		"invalid UTF-8":    func(r *txntoken.Request) { r.Subject = "\xff" },
		"not JSON":         func(r *txntoken.Request) { r.Context = map[string]any{"f": func() {}} },
		"too much":         func(r *txntoken.Request) { r.Context = map[string]any{"f": strings.Repeat("x", txntoken.MaxSize)} },
	} {
		r := request()
		change(&r)
		if raw, err := m.Mint(r); err == nil || raw != "" {
			t.Errorf("%s was minted", name)
		}
	}
	for name, change := range map[string]func(*txntoken.MinterConfig){
		"no key":          func(c *txntoken.MinterConfig) { c.Key = nil },
		"another curve":   func(c *txntoken.MinterConfig) { k, _ := ecdsa.GenerateKey(elliptic.P384(), nil); c.Key = k },
		"a nil ECDSA key": func(c *txntoken.MinterConfig) { c.Key = (*ecdsa.PrivateKey)(nil) },
		"no domain":       func(c *txntoken.MinterConfig) { c.Audience = "" },
		"no workload":     func(c *txntoken.MinterConfig) { c.Workload = "" },
		"no scopes":       func(c *txntoken.MinterConfig) { c.Scopes = nil },
		"an hour":         func(c *txntoken.MinterConfig) { c.Lifetime = time.Hour },
	} {
		cfg := txntoken.MinterConfig{Key: edKey("a"), Audience: domain, Workload: "w", Scopes: []string{"s"}}
		change(&cfg)
		if _, err := txntoken.NewMinter(cfg); err == nil {
			t.Errorf("a minter with %s was made", name)
		}
	}
}

func TestReplace(t *testing.T) {
	now := noon
	first := minter(t, edKey("a"), nil)
	second := minter(t, edKey("b"), func(c *txntoken.MinterConfig) { c.Workload, c.Clock = "registry", func() time.Time { return now } })
	keys := first.PublicKeySet().Merge(second.PublicKeySet())
	r := request()
	r.Scope = []string{"registry.push", "registry.read"}
	old, err := keys.Verify(mint(t, first, r), domain, now)
	if err != nil {
		t.Fatal(err)
	}
	now = noon.Add(time.Minute)
	raw, err := second.Replace(old, "registry.read")
	if err != nil {
		t.Fatal(err)
	}
	v, err := keys.Verify(raw, domain, now)
	if err != nil {
		t.Fatal(err)
	}
	a, b := old.Claims(), v.Claims()
	if b.Transaction != a.Transaction || b.Subject != a.Subject || b.Audience != a.Audience || !maps.Equal(a.Context, b.Context) {
		t.Errorf("changed: %+v became %+v", a, b)
	}
	if !slices.Equal(b.Scope, []string{"registry.read"}) || b.Workload != "registry" || !b.IssuedAt.Equal(now) || !b.ExpiresAt.Equal(a.ExpiresAt) {
		t.Errorf("replaced by %+v", b)
	}
	if chain, _ := b.Environment["workloads"].([]any); len(chain) != 1 || chain[0] != "deploy-worker" || b.Environment["activity"] != "push" {
		t.Errorf("the call chain is %v", b.Environment)
	}
	if _, there := a.Environment["workloads"]; there {
		t.Error("the old token's claims were changed")
	}
	for name, call := range map[string]func() (string, error){
		"a wider scope": func() (string, error) { return second.Replace(v, "registry.push") },
		"no scope":      func() (string, error) { return second.Replace(v) },
		"no token":      func() (string, error) { return second.Replace(txntoken.Verified{}, "registry.read") },
		"another domain": func() (string, error) {
			return minter(t, edKey("c"), func(c *txntoken.MinterConfig) { c.Audience = "evil.example" }).Replace(v, "registry.read")
		},
		"not the minter's": func() (string, error) {
			return minter(t, edKey("c"), func(c *txntoken.MinterConfig) { c.Scopes = []string{"other"} }).Replace(v, "registry.read")
		},
		"an expired one": func() (string, error) { now = a.ExpiresAt; return second.Replace(v, "registry.read") },
	} {
		if raw, err := call(); err == nil || raw != "" {
			t.Errorf("%s: replaced", name)
		}
	}
	now = noon
	for n := 0; ; n++ {
		raw, err := second.Replace(v, "registry.read")
		if err != nil {
			if n != 7 || !strings.Contains(err.Error(), "8 times") {
				t.Errorf("after %d more: %v", n, err)
			}
			break
		}
		if v, err = keys.Verify(raw, domain, now); err != nil || n > 20 {
			t.Fatalf("%d: %v", n, err)
		}
	}
}

// Nothing that is signed with a trusted key is taken for something else: neither an attestation for a Transaction Token nor the reverse.
func TestTokensAreNotInterchangeable(t *testing.T) {
	key := edKey("shared")
	m := minter(t, key, nil)
	who := attest.Party{Principal: "user:x|y"}
	attestation, err := attest.NewSigner(key).Sign(attest.Statement{ID: "d", Issuer: "g", Audience: domain, Edge: attest.EdgeStart, Originator: who, Actor: who,
		Binding: attest.Binding{Namespace: "n", WorkflowID: "w", WorkflowType: "t"}, IssuedAt: noon})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.PublicKeySet().Verify(attestation, domain, noon); code(err) != txntoken.CodeMalformed {
		t.Errorf("an attestation as a transaction token: %v", err)
	}
	var e *attest.Error
	if _, err := attest.NewSigner(key).PublicKeySet().Verify(mint(t, m, request()), domain); !errors.As(err, &e) || e.Code != attest.CodeType {
		t.Errorf("a transaction token as an attestation: %v", err)
	}
}

func TestKeySets(t *testing.T) {
	good := string(minter(t, ecKey(t, "a"), nil).PublicKeySet().JSON())
	both := minter(t, ecKey(t, "a"), nil).PublicKeySet().Merge(minter(t, edKey("a"), nil).PublicKeySet())
	if both.Len() != 2 || both.Merge(both).Len() != 2 {
		t.Errorf("%d keys", both.Len())
	}
	one := strings.TrimSuffix(strings.TrimPrefix(good, `{"keys":[`), `]}`)
	for name, raw := range map[string]string{
		"empty": "", "not JSON": "<html>", "no keys": `{"keys":[]}`, "only RSA": `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r"}]}`,
		"twice": `{"keys":[` + one + `,` + one + `]}`, "private": strings.Replace(good, `"kty"`, `"d":"AQAB","kty"`, 1), "no kid": `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQAB"}]}`,
		"for encryption": strings.Replace(good, `"use":"sig"`, `"use":"enc"`, 1), "off the curve": strings.Replace(good, `"x":"`, `"x":"AAAA`, 1), "keys twice": `{"keys":[],"keys":[` + one + `]}`,
		"zero point": `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}]}`,
	} {
		if _, err := txntoken.ParseKeySet([]byte(raw)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	if _, err := txntoken.ParseKeySet([]byte(strings.Replace(good, `"keys":[`, `"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r"},`, 1))); err != nil {
		t.Errorf("a key of another kind beside ours: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	m := minter(f, edKey("a"), nil)
	e := minter(f, ecKey(f, "a"), nil)
	keys := m.PublicKeySet().Merge(e.PublicKeySet())
	genuine := map[string]bool{}
	for _, raw := range []string{mint(f, m, request()), mint(f, e, request())} {
		genuine[raw] = true
		f.Add(raw)
	}
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		if v, err := keys.Verify(raw, domain, noon); err == nil && !genuine[v.Raw()] {
			t.Fatalf("accepted %q", raw)
		}
	})
}

func FuzzParseKeySet(f *testing.F) {
	f.Add(minter(f, edKey("a"), nil).PublicKeySet().JSON())
	f.Add(minter(f, ecKey(f, "a"), nil).PublicKeySet().JSON())
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := txntoken.ParseKeySet(raw)
		if err != nil {
			return
		}
		if again, err := txntoken.ParseKeySet(s.JSON()); err != nil || !again.Equal(s) {
			t.Fatalf("%v: %s", err, s.JSON())
		}
	})
}

func BenchmarkMintAndVerify(b *testing.B) {
	for name, key := range map[string]crypto.PrivateKey{"EdDSA": edKey("a"), "ES256": ecKey(b, "a")} {
		m := minter(b, key, nil)
		keys := m.PublicKeySet()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				raw, err := m.Mint(request())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := keys.Verify(raw, domain, noon); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(mint(b, m, request()))), "bytes/token")
		})
	}
}
