package sdkplugin_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

const tokenURL = "https://issuer.example/oauth2/default/v1/token"

// issuer is a token endpoint whose answers a test sets.
type issuer struct {
	mu       sync.Mutex
	asked    []*http.Request // with their forms parsed
	answer   func(n int, w http.ResponseWriter, r *http.Request)
	delay    time.Duration
	lifetime int
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	i.mu.Lock()
	i.asked = append(i.asked, r)
	n, delay := len(i.asked), i.delay
	i.mu.Unlock()
	time.Sleep(delay)
	if i.answer != nil {
		i.answer(n, w, r)
		return
	}
	i.grant(n, w)
}

func (i *issuer) grant(n int, w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":%d,"access_token":"token-%d","scope":"temporal.worker"}`, i.lifetime, n)
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

func (i *issuer) request(n int) *http.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[n]
}

func withSecret(t testing.TB, i *issuer, log *journal) sdkplugin.Credentials {
	t.Helper()
	c, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{
		TokenURL: tokenURL, ClientID: "0oa1", Scopes: []string{"temporal.worker", "x"}, Secret: "s3cr:et/+", HTTPClient: directClient(i.ServeHTTP), Logger: log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantToken(t testing.TB, c sdkplugin.Credentials, want string) {
	t.Helper()
	got, err := c.Token(context.Background())
	if err != nil || got != want {
		t.Errorf("token %q, %v; want %q", got, err, want)
	}
}

func TestTokenIsCachedAndRefreshedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{lifetime: 1000, delay: time.Second}
		c := withSecret(t, i, &journal{})
		var wg sync.WaitGroup
		for range 50 { // all wait for one fetch
			wg.Go(func() { wantToken(t, c, "token-1") })
		}
		wg.Wait()
		r := i.request(0)
		if id, secret, _ := r.BasicAuth(); id != "0oa1" || secret != "s3cr%3Aet%2F%2B" || r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") != "temporal.worker x" || r.Form.Has("client_secret") {
			t.Errorf("request %v, %q:%q", r.Form, id, secret)
		}
		time.Sleep(790 * time.Second)
		wantToken(t, c, "token-1")
		if i.count() != 1 {
			t.Errorf("%d fetches before four fifths of the lifetime", i.count())
		}
		time.Sleep(20 * time.Second)
		before := time.Now()
		wantToken(t, c, "token-1") // not kept waiting by the refresh behind it
		if time.Since(before) != 0 {
			t.Error("the caller waited for the early refresh")
		}
		time.Sleep(2 * time.Second)
		wantToken(t, c, "token-2")
		if i.count() != 2 {
			t.Errorf("%d fetches", i.count())
		}
		time.Sleep(2000 * time.Second) // nobody called meanwhile: the token ran out
		wantToken(t, c, "token-3")
	})
}

func TestFailuresThatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{lifetime: 1000}
		i.answer = func(n int, w http.ResponseWriter, _ *http.Request) {
			switch n {
			case 1:
				http.Error(w, "busy", http.StatusInternalServerError)
			case 2:
				w.Header().Set("Retry-After", "3")
				http.Error(w, "slow down", http.StatusTooManyRequests)
			default:
				i.grant(n, w)
			}
		}
		var log journal
		c := withSecret(t, i, &log)
		before := time.Now()
		wantToken(t, c, "token-3")
		if took := time.Since(before); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("took %v; Retry-After was 3 s", took)
		}

		// The issuer goes away: the old token serves to its end, then callers get an error, and the issuer is not stormed.
		i.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }
		time.Sleep(900 * time.Second)
		wantToken(t, c, "token-3")
		time.Sleep(100 * time.Second)
		start := i.count()
		var last error
		for range 600 { // a minute of calls
			_, last = c.Token(context.Background())
			time.Sleep(100 * time.Millisecond)
		}
		if last == nil || !strings.Contains(last.Error(), "status 502") || !strings.Contains(last.Error(), "0oa1") {
			t.Errorf("error %v", last)
		}
		var refused *sdkplugin.RefusedError
		if errors.As(last, &refused) {
			t.Error("an outage looks like a refusal")
		}
		if n := i.count() - start; n < 8 || n > 40 {
			t.Errorf("%d requests in a minute of failures", n)
		}
		i.answer = nil
		time.Sleep(time.Minute)
		if _, err := c.Token(context.Background()); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if strings.Contains(log.String(), "token-") || strings.Contains(log.String(), "s3cr") {
			t.Error("the log holds a secret")
		}
	})
}

func TestRefusedCredentialsAreReportedAtOnce(t *testing.T) {
	for body, hint := range map[string]string{
		`{"error":"invalid_client","error_description":"The client secret supplied is invalid."}`: "public key",
		`{"error":"invalid_scope","error_description":"One or more scopes are not configured."}`:  "scopes exist",
		`{"error":"unauthorized_client"}`: "client_credentials grant",
		`not json`:                        "check TokenURL",
	} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				w.Write([]byte(body))
			}}
			_, err := withSecret(t, i, &journal{}).Token(context.Background())
			var refused *sdkplugin.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), hint) || refused.Endpoint != "issuer.example" {
				t.Errorf("%s: error %v", body, err)
			}
			if i.count() != 1 {
				t.Errorf("%s: asked %d times", body, i.count())
			}
		})
	}
}

func TestBadTokenResponses(t *testing.T) {
	for _, c := range []struct{ kind, body string }{
		{"text/html", `{"token_type":"Bearer","expires_in":60,"access_token":"leaky-token"}`},
		{"application/json", `{"token_type":"Bearer","expires_in":60,"access_token":"leaky-token"`},
		{"application/json", `{"token_type":"Bearer","expires_in":60}`},
		{"application/json", `{"token_type":"DPoP","expires_in":60,"access_token":"leaky-token"}`},
		{"application/json", `{"token_type":"Bearer","expires_in":-1,"access_token":"leaky-token"}`},
		{"application/json", `{"token_type":"Bearer","expires_in":1e99,"access_token":"leaky-token"}`},
		{"application/json", `{"token_type":"Bearer","expires_in":60,"access_token":"leaky token"}`},
		{"application/json", `[]`},
		{"application/json", ``},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.Write([]byte(c.body))
			}}
			token, err := withSecret(t, i, &journal{}).Token(context.Background())
			if err == nil || strings.Contains(err.Error(), "leaky") {
				t.Errorf("%s %s: token %q, error %v", c.kind, c.body, token, err)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{answer: func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/token", http.StatusTemporaryRedirect)
		}}
		_, err := withSecret(t, i, &journal{}).Token(context.Background())
		if err == nil || !strings.Contains(err.Error(), "evil.example") {
			t.Errorf("error %v", err)
		}
		for n := range i.count() {
			if host := i.request(n).URL.Host; host != "issuer.example" {
				t.Errorf("the secret went to %s", host)
			}
		}
	})
}

func TestCallerMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{lifetime: 100, delay: 5 * time.Second}
		c := withSecret(t, i, &journal{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		wantToken(t, c, "token-1") // the fetch went on without the first caller
	})
}

// writeKey puts an RSA key into a file by rename, as a secret store does, and returns its public half.
func writeKey(t testing.TB, path, kid, format string) *rsa.PublicKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	switch format {
	case "pkcs1":
		data = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	case "pkcs8":
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		data = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	case "jwk":
		enc := base64.RawURLEncoding.EncodeToString
		data, err = json.Marshal(map[string]string{"kty": "RSA", "kid": kid, "n": enc(key.N.Bytes()), "e": "AQAB", "d": enc(key.D.Bytes()), "p": enc(key.Primes[0].Bytes()), "q": enc(key.Primes[1].Bytes())})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

func TestPrivateKeyJWT(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first := writeKey(t, path, "", "pkcs8")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{lifetime: 300}
		c, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{
			TokenURL: tokenURL, ClientID: "0oa1", PrivateKeyFile: path, KeyID: "k1", HTTPClient: directClient(i.ServeHTTP), Logger: (&journal{}).logger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, c, "token-1")
		one := checkAssertion(t, i.request(0), first, "k1")
		second := writeKey(t, path, "", "pkcs1") // rotated
		time.Sleep(time.Hour)
		wantToken(t, c, "token-2")
		two := checkAssertion(t, i.request(1), second, "k1")
		if one["jti"] == two["jti"] {
			t.Error("two assertions have one jti")
		}
		if _, _, basic := i.request(0).BasicAuth(); basic || i.request(0).Form.Has("client_secret") {
			t.Error("a secret was sent beside the assertion")
		}
	})
	third := writeKey(t, path, "from-the-file", "jwk")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{lifetime: 300}
		c, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "0oa1", PrivateKeyFile: path, HTTPClient: directClient(i.ServeHTTP)})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, c, "token-1")
		checkAssertion(t, i.request(0), third, "from-the-file")
	})
}

func checkAssertion(t testing.TB, r *http.Request, key *rsa.PublicKey, kid string) map[string]any {
	t.Helper()
	if got := r.Form.Get("client_assertion_type"); got != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Errorf("assertion type %q", got)
	}
	raw := r.Form.Get("client_assertion")
	p := strings.Split(raw, ".")
	if len(p) != 3 {
		t.Fatalf("assertion of %d parts", len(p))
	}
	var header, claims map[string]any
	for n, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(p[n])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	sig, err := base64.RawURLEncoding.DecodeString(p[2])
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(p[0] + "." + p[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig); err != nil {
		t.Errorf("signature: %v", err)
	}
	now := float64(time.Now().Unix())
	if header["alg"] != "RS256" || header["kid"] != kid || claims["iss"] != "0oa1" || claims["sub"] != "0oa1" || claims["aud"] != tokenURL || claims["iat"] != now || claims["exp"] != now+300 {
		t.Errorf("header %v, claims %v", header, claims)
	}
	return claims
}

func TestClientCredentialsAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := filepath.Join(dir, "good.pem")
	writeKey(t, good, "", "pkcs8")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakFile := file("weak.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)})))
	for name, c := range map[string]struct {
		cfg  sdkplugin.ClientCredentialsConfig
		want string
	}{
		"plain http":      {sdkplugin.ClientCredentialsConfig{TokenURL: "http://issuer.example/token", ClientID: "c", Secret: "s"}, "https"},
		"no url":          {sdkplugin.ClientCredentialsConfig{ClientID: "c", Secret: "s"}, "TokenURL"},
		"no client":       {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, Secret: "s"}, "ClientID"},
		"no proof":        {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c"}, "exactly one"},
		"two proofs":      {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", Secret: "s", PrivateKeyFile: good, KeyID: "k"}, "exactly one"},
		"no file":         {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", PrivateKeyFile: filepath.Join(dir, "none"), KeyID: "k"}, "no such file"},
		"garbage":         {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", PrivateKeyFile: file("g", "hello"), KeyID: "k"}, "neither PEM nor a JWK"},
		"a certificate":   {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", PrivateKeyFile: file("c", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), KeyID: "k"}, "not a private key"},
		"a public JWK":    {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", PrivateKeyFile: file("p", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`), KeyID: "k"}, "lacks one of"},
		"a JWK in pieces": {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", PrivateKeyFile: file("q", `{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB","p":"AQ","q":"AQ"}`), KeyID: "k"}, "do not fit"},
		"1024 bits":       {sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "c", PrivateKeyFile: weakFile, KeyID: "k"}, "2048"},
	} {
		if _, err := sdkplugin.ClientCredentials(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: "http://127.0.0.1:9080/token", ClientID: "c", Secret: "s"}); err != nil {
		t.Errorf("plain http on loopback: %v", err)
	}
	if _, err := sdkplugin.StaticToken("").Token(t.Context()); err == nil {
		t.Error("an empty static token was handed out")
	}
}
