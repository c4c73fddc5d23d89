package devorg

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

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
