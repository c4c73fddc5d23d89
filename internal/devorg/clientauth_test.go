package devorg

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func (o *testOrg) clientToken(assertion string, extra ...string) answer {
	o.t.Helper()
	return o.post("/v1/token", append([]string{"grant_type", grantClient, "scope", "temporal.worker", "client_assertion_type", assertionType, "client_assertion", assertion}, extra...)...)
}

func TestClientCredentialsWithSecret(t *testing.T) {
	o := newTestOrg(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(ReleaseAgent)+":"+url.QueryEscape(AgentSecret)))
	form := formOf("grant_type", grantClient, "scope", "temporal")
	send := func(body url.Values, header ...string) answer {
		return o.request("POST", "/oauth2/default/v1/token", body.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
	}
	tok := send(form, "Authorization", basic).want(200).json()
	if keysOf(tok) != "access_token expires_in scope token_type" || tok["expires_in"] != 3600.0 || tok["token_type"] != "Bearer" || tok["scope"] != "temporal" {
		t.Errorf("answer %v", tok)
	}
	_, claims := o.verified(tok["access_token"])
	if keysOf(claims) != "aud cid exp iat iss jti scp sub ver" || claims["sub"] != ReleaseAgent || claims["cid"] != ReleaseAgent {
		t.Errorf("claims %v", claims)
	}
	post := func(pairs ...string) answer {
		return o.post("/v1/token", append([]string{"grant_type", grantClient}, pairs...)...)
	}
	post("scope", "temporal", "client_id", ReleaseAgent, "client_secret", AgentSecret).want(200)

	post("scope", "temporal", "client_id", ReleaseAgent, "client_secret", AgentSecret+" ").wantOAuth(401, "invalid_client")
	post("scope", "temporal", "client_id", ReleaseAgent).wantOAuth(401, "invalid_client")
	post("scope", "temporal").wantOAuth(401, "invalid_client")
	post("scope", "temporal", "client_id", "0oanobody", "client_secret", "x").wantOAuth(401, "invalid_client")
	post("scope", "temporal", "client_id", DeployWorker, "client_secret", "x").wantOAuth(401, "invalid_client")
	post("scope", "temporal", "client_id", CLIClient, "client_secret", "x").wantOAuth(401, "invalid_client")
	post("scope", "temporal", "client_id", CLIClient).wantOAuth(400, "unauthorized_client")
	post("client_id", ReleaseAgent, "client_secret", AgentSecret).wantOAuth(400, "invalid_scope")
	for _, scope := range []string{"openid", "temporal openid", "offline_access", "okta.users.read", "Temporal"} {
		post("scope", scope, "client_id", ReleaseAgent, "client_secret", AgentSecret).wantOAuth(400, "invalid_scope")
	}
	send(formOf("grant_type", grantClient, "scope", "temporal", "client_id", ReleaseAgent, "client_secret", AgentSecret), "Authorization", basic).wantOAuth(400, "invalid_request")
	send(formOf("grant_type", grantClient, "scope", "temporal", "client_id", UIClient), "Authorization", basic).wantOAuth(401, "invalid_client")
	send(form, "Authorization", "Bearer x").wantOAuth(401, "invalid_client")
	if a := send(form, "Authorization", "Basic bm90aGluZw"); a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("malformed Basic: %d %v", a.status, a.header)
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	o := newTestOrg(t)
	kid, id := o.addKey(DeployWorker, 8)
	good := func() jwt.MapClaims { return o.assertionClaims(DeployWorker) }
	rs := func(t *testing.T, c jwt.MapClaims) string {
		return signAssertion(t, testKey(8), kid, jwt.SigningMethodRS256, c)
	}

	tok := o.clientToken(rs(t, good())).want(200).json()
	if _, claims := o.verified(tok["access_token"]); claims["sub"] != DeployWorker || claims["uid"] != nil {
		t.Errorf("claims %v", claims)
	}
	// What Okta allows: no kid when there is one key, no jti, the client id beside, an hour's lifetime, aud as an array of one.
	o.clientToken(signAssertion(t, testKey(8), "", jwt.SigningMethodRS256, good())).want(200)
	o.clientToken(rs(t, good()), "client_id", DeployWorker).want(200)
	for name, value := range map[string]any{"exp": o.clock().Add(time.Hour).Unix(), "aud": []string{o.issuer + "/v1/token"}, "jti": nil} {
		c := good()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		o.clientToken(rs(t, c)).want(200)
	}

	bad := map[string]map[string]any{
		"other audience":       {"aud": o.issuer},
		"two audiences":        {"aud": []string{o.issuer + "/v1/token", "x"}},
		"no audience":          {"aud": nil},
		"org token endpoint":   {"aud": o.url + "/oauth2/v1/token"},
		"other issuer":         {"iss": ReleaseAgent},
		"other subject":        {"sub": ReleaseAgent},
		"unknown client":       {"iss": "0oax", "sub": "0oax"},
		"secret client":        {"iss": ReleaseAgent, "sub": ReleaseAgent},
		"expired":              {"exp": o.clock().Unix()},
		"too far ahead":        {"exp": o.clock().Add(time.Hour + time.Second).Unix()},
		"no expiry":            {"exp": nil},
		"expiry as text":       {"exp": "9999999999"},
		"huge expiry":          {"exp": 1e300},
		"issued in the future": {"iat": o.clock().Add(2 * time.Minute).Unix()},
		"not valid yet":        {"nbf": o.clock().Add(2 * time.Minute).Unix()},
		"empty jti":            {"jti": ""},
		"jti a number":         {"jti": 7},
		"endless jti":          {"jti": strings.Repeat("j", 600)},
	}
	for name, change := range bad {
		t.Run(name, func(t *testing.T) {
			c := good()
			for k, v := range change {
				if c[k] = v; v == nil {
					delete(c, k)
				}
			}
			o.clientToken(rs(t, c)).wantOAuth(401, "invalid_client")
		})
	}

	der, _ := x509.MarshalPKIXPublicKey(&testKey(8).PublicKey)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	valid := rs(t, good())
	for name, raw := range map[string]string{
		"alg none":            signAssertion(t, jwt.UnsafeAllowNoneSignatureType, kid, jwt.SigningMethodNone, good()),
		"HS256 by public key": signAssertion(t, public, kid, jwt.SigningMethodHS256, good()),
		"RS512":               signAssertion(t, testKey(8), kid, jwt.SigningMethodRS512, good()),
		"PS256":               signAssertion(t, testKey(8), kid, jwt.SigningMethodPS256, good()),
		"other key":           signAssertion(t, testKey(9), kid, jwt.SigningMethodRS256, good()),
		"unknown kid":         signAssertion(t, testKey(8), "nope", jwt.SigningMethodRS256, good()),
		"no signature":        valid[:strings.LastIndex(valid, ".")+1],
		"signature cut":       valid[:len(valid)-4],
		"line break":          valid[:len(valid)-4] + "\n" + valid[len(valid)-4:],
		"padding":             valid + "=",
		"four parts":          valid + ".x",
		"empty":               "",
		"long":                strings.Repeat("a", 20000),
	} {
		t.Run(name, func(t *testing.T) { o.clientToken(raw).wantOAuth(401, "invalid_client") })
	}

	t.Run("replayed, also after a restart", func(t *testing.T) {
		raw := rs(t, good())
		o.clientToken(raw).want(200)
		o.clientToken(raw).wantOAuth(401, "invalid_client")
		o.restart()
		o.clientToken(raw).wantOAuth(401, "invalid_client")
	})
	t.Run("mixed methods", func(t *testing.T) {
		o.clientToken(rs(t, good()), "client_secret", "x").wantOAuth(400, "invalid_request")
		o.clientToken(rs(t, good()), "client_id", ReleaseAgent).wantOAuth(401, "invalid_client")
		o.post("/v1/token", "grant_type", grantClient, "scope", "temporal", "client_assertion_type", "jwt", "client_assertion", rs(t, good())).wantOAuth(400, "invalid_request")
	})
	t.Run("deactivated key", func(t *testing.T) {
		o.api("POST", "/api/v1/apps/"+DeployWorker+"/credentials/jwks/"+id+"/lifecycle/deactivate", nil).want(200)
		o.clientToken(rs(t, good())).wantOAuth(401, "invalid_client")
		o.api("POST", "/api/v1/apps/"+DeployWorker+"/credentials/jwks/"+id+"/lifecycle/activate", nil).want(200)
		o.clientToken(rs(t, good())).want(200)
	})
}

func TestEnsureClientKey(t *testing.T) {
	o := newTestOrg(t, func(c *Config) { c.newKey = func() (*rsa.PrivateKey, error) { return testKey(7), nil } })
	file := filepath.Join(t.TempDir(), "keys", "worker.pem")
	kid, err := o.EnsureClientKey(t.Context(), DeployWorker, file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	again, err := o.EnsureClientKey(t.Context(), DeployWorker, file)
	if err != nil || again != kid {
		t.Fatalf("second time: %q %v", again, err)
	}
	if n := len(o.api("GET", "/api/v1/apps/"+DeployWorker+"/credentials/jwks", nil).list()); n != 1 {
		t.Errorf("%d keys registered", n)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(data)
	if err != nil {
		t.Fatal(err)
	}
	o.clientToken(signAssertion(t, key, kid, jwt.SigningMethodRS256, o.assertionClaims(DeployWorker))).want(200)

	if _, err := o.EnsureClientKey(t.Context(), "0oanobody", file); err == nil {
		t.Error("a key for an unknown client was accepted")
	}
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.EnsureClientKey(t.Context(), DeployWorker, file); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("junk in the file: %v", err)
	}
}

func FuzzParseAssertion(f *testing.F) {
	claims := jwt.MapClaims{"iss": "c", "sub": "c", "aud": "a", "exp": 1, "jti": "j"}
	good, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(testKey(0))
	if err != nil {
		f.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	f.Add(good)
	f.Add(enc([]byte(`{"alg":"RS256","crit":["x"]}`)) + "." + enc([]byte(`{"iss":"c","iss":"d"}`)) + ".AA")
	f.Add(enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(`[]`)) + ".")
	f.Add(enc([]byte(`{"alg":"RS256"}`)) + "." + enc([]byte(`{"iss":"c","sub":"c","aud":["a"],"exp":1e400}`)) + ".AA")
	f.Add("..")
	f.Add(strings.Repeat(".", 1000))
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseAssertion(raw)
		if err != nil {
			return
		}
		if a.issuer == "" || a.issuer != a.subject || len(a.audience) != 1 || a.alg != "RS256" || strings.Count(raw, ".") != 2 {
			t.Fatalf("accepted %q as %+v", raw, a)
		}
		// Only one spelling of a token may be accepted, or a spent jti would be worth nothing.
		if reparsed := a.signed + "." + b64.EncodeToString(a.signature); reparsed != raw {
			t.Fatalf("%q is a second spelling of %q", raw, reparsed)
		}
		_ = a.check(time.Unix(0, 0), "a")
	})
}
