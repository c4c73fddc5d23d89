package devorg

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

// testOrg is a development org behind a real HTTP server, with a clock that only tests move.
type testOrg struct {
	*Org
	t       *testing.T
	url     string
	issuer  string
	cfg     Config
	handler atomic.Value // http.Handler
	now     atomic.Int64 // Unix milliseconds
}

const callback = "http://127.0.0.1:8765/callback"

func newTestOrg(t *testing.T, change ...func(*Config)) *testOrg {
	t.Helper()
	o := &testOrg{t: t}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.handler.Load().(http.Handler).ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	o.url, o.issuer = srv.URL, srv.URL+"/oauth2/default"
	o.now.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli())
	next := 0
	o.cfg = Config{
		DB: filepath.Join(t.TempDir(), "org.db"), BaseURL: srv.URL, Clock: func() time.Time { return time.UnixMilli(o.now.Load()) },
		newKey: func() (*rsa.PrivateKey, error) { next++; return testKey(next), nil },
	}
	for _, f := range change {
		f(&o.cfg)
	}
	o.open()
	t.Cleanup(func() { o.Close() })
	return o
}

func (o *testOrg) open() {
	o.t.Helper()
	org, err := Open(context.Background(), o.cfg)
	if err != nil {
		o.t.Fatal(err)
	}
	o.Org = org
	o.handler.Store(http.HandlerFunc(org.Handler().ServeHTTP))
}

// restart closes the org and opens the same file again.
func (o *testOrg) restart() {
	o.t.Helper()
	if err := o.Close(); err != nil {
		o.t.Fatal(err)
	}
	o.open()
}

func (o *testOrg) advance(d time.Duration) { o.now.Add(d.Milliseconds()) }

// testKeys are real 2048-bit keys shared by all orgs of the test run: making one takes a good part of a second.
var testKeys struct {
	sync.Mutex
	made []*rsa.PrivateKey
}

func testKey(i int) *rsa.PrivateKey {
	testKeys.Lock()
	defer testKeys.Unlock()
	for len(testKeys.made) <= i {
		k, err := generateKey()
		if err != nil {
			panic(err)
		}
		testKeys.made = append(testKeys.made, k)
	}
	return testKeys.made[i]
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	t      *testing.T
}

func (a answer) json() map[string]any {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		a.t.Fatalf("not a JSON object: %v\n%s", err, a.body)
	}
	return m
}

func (a answer) list() []map[string]any {
	a.t.Helper()
	var l []map[string]any
	if err := json.Unmarshal(a.body, &l); err != nil {
		a.t.Fatalf("not a JSON list: %v\n%s", err, a.body)
	}
	return l
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// wantOAuth checks an OAuth error.
func (a answer) wantOAuth(status int, code string) answer {
	a.t.Helper()
	if got := a.want(status).json()["error"]; got != code {
		a.t.Fatalf("error %v, want %s: %s", got, code, a.body)
	}
	if a.json()["error_description"] == "" {
		a.t.Fatalf("no error_description: %s", a.body)
	}
	return a
}

// wantAPI checks the management API's error body.
func (a answer) wantAPI(status int, code string) answer {
	a.t.Helper()
	m := a.want(status).json()
	keys := slices.Sorted(maps.Keys(m))
	if m["errorCode"] != code || m["errorLink"] != code || !slices.Equal(keys, []string{"errorCauses", "errorCode", "errorId", "errorLink", "errorSummary"}) {
		a.t.Fatalf("error body %s, want code %s", a.body, code)
	}
	return a
}

func (o *testOrg) do(req *http.Request) answer {
	o.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body, o.t}
}

func (o *testOrg) request(method, path, body string, header ...string) answer {
	o.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = o.url + path
	}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return o.do(req)
}

func (o *testOrg) get(path string, header ...string) answer {
	o.t.Helper()
	return o.request("GET", path, "", header...)
}

// post sends a form to a path below the default authorization server; pairs are name, value.
func (o *testOrg) post(path string, pairs ...string) answer {
	o.t.Helper()
	return o.request("POST", "/oauth2/default"+path, formOf(pairs...).Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func formOf(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// api calls the management API with the seeded SSWS token; body is any JSON value or nil.
func (o *testOrg) api(method, path string, body any) answer {
	o.t.Helper()
	var data []byte
	if body != nil {
		data, _ = json.Marshal(body)
	}
	req, err := http.NewRequest(method, o.url+path, bytes.NewReader(data))
	if err != nil {
		o.t.Fatal(err)
	}
	if strings.HasPrefix(path, "http") {
		req.URL, _ = url.Parse(path)
	}
	req.Header.Set("Authorization", "SSWS "+APIToken)
	return o.do(req)
}

const verifier = "a-verifier-of-at-least-forty-three-characters-0123"

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeURL is a good authorization request of the CLI, with changes: an empty value removes a parameter.
func (o *testOrg) authorizeURL(changes ...string) string {
	v := formOf("client_id", CLIClient, "redirect_uri", callback, "response_type", "code", "scope", "openid profile email groups offline_access temporal",
		"state", "st-1", "nonce", "no-1", "code_challenge", challengeOf(verifier), "code_challenge_method", "S256")
	for i := 0; i < len(changes); i += 2 {
		if v.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return o.issuer + "/v1/authorize?" + v.Encode()
}

// code logs a person in and returns the authorization code.
func (o *testOrg) code(login string, changes ...string) string {
	o.t.Helper()
	to, err := devorgtest.NewBrowser().Authorize(o.t.Context(), o.authorizeURL(changes...), login, "bailiwick")
	if err != nil {
		o.t.Fatal(err)
	}
	code := to.Query().Get("code")
	if code == "" {
		o.t.Fatalf("no code in %s", to)
	}
	return code
}

func (o *testOrg) redeem(code string) answer {
	o.t.Helper()
	return o.post("/v1/token", "grant_type", "authorization_code", "client_id", CLIClient, "code", code, "redirect_uri", callback, "code_verifier", verifier)
}

// login returns a person's tokens.
func (o *testOrg) login(login string, changes ...string) map[string]any {
	o.t.Helper()
	return o.redeem(o.code(login, changes...)).want(200).json()
}

func (o *testOrg) refresh(token string) answer {
	o.t.Helper()
	return o.post("/v1/token", "grant_type", "refresh_token", "client_id", CLIClient, "refresh_token", token)
}

// active says what introspection says about a token of the CLI.
func (o *testOrg) active(token any) bool {
	o.t.Helper()
	return o.post("/v1/introspect", "client_id", CLIClient, "token", token.(string)).want(200).json()["active"] == true
}

// verified checks a token's signature with golang-jwt against the published key set and returns header and claims.
func (o *testOrg) verified(raw any) (header, claims map[string]any) {
	o.t.Helper()
	keys := map[string]*rsa.PublicKey{}
	for _, k := range o.get("/oauth2/default/v1/keys").want(200).json()["keys"].([]any) {
		m := k.(map[string]any)
		pub, err := parsePublic(m["e"].(string), m["n"].(string))
		if err != nil {
			o.t.Fatal(err)
		}
		keys[m["kid"].(string)] = pub
	}
	parsed := jwt.MapClaims{}
	tok, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(o.clock), jwt.WithIssuer(o.issuer)).
		ParseWithClaims(raw.(string), parsed, func(t *jwt.Token) (any, error) { return keys[t.Header["kid"].(string)], nil })
	if err != nil {
		o.t.Fatalf("the token does not verify: %v", err)
	}
	return tok.Header, parsed
}

func keysOf(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

// assertionClaims are those of a good client assertion for the default server's token endpoint.
func (o *testOrg) assertionClaims(clientID string) jwt.MapClaims {
	now := o.clock()
	return jwt.MapClaims{"iss": clientID, "sub": clientID, "aud": o.issuer + "/v1/token", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": newSecret()}
}

func signAssertion(t *testing.T, key any, kid string, method jwt.SigningMethod, claims jwt.MapClaims) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, claims)
	if kid != "" {
		tok.Header["kid"] = kid
	}
	raw, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// addKey registers a test key for a client and returns its kid and the id of the registration.
func (o *testOrg) addKey(clientID string, i int) (kid, id string) {
	o.t.Helper()
	e, n := jwkNumbers(&testKey(i).PublicKey)
	kid = "test-key-" + string(rune('a'+i))
	m := o.api("POST", "/api/v1/apps/"+clientID+"/credentials/jwks", map[string]any{"kid": kid, "kty": "RSA", "alg": "RS256", "use": "sig", "e": e, "n": n, "status": "ACTIVE"}).want(201).json()
	return kid, m["id"].(string)
}

// events returns the event types in the System Log, oldest first.
func (o *testOrg) events() []string {
	o.t.Helper()
	var out []string
	for _, e := range o.api("GET", "/api/v1/logs?limit=1000", nil).want(200).list() {
		out = append(out, e["eventType"].(string))
	}
	return out
}

func (o *testOrg) wantEvent(kind string) {
	o.t.Helper()
	if !slices.Contains(o.events(), kind) {
		o.t.Fatalf("no %s among the events %v", kind, o.events())
	}
}
