package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// refused is what a caller can know of a refusal.
type refused struct {
	grpc    codes.Code
	reason  string // stable reason code, from the google.rpc.ErrorInfo
	message string
}

// describe calls DescribeNamespace "deploy" with the authorization values given and returns the refusal; ok if there was none.
func describe(t testing.TB, d *dev, authorization ...string) (r refused, ok bool) {
	t.Helper()
	conn, err := grpc.NewClient(d.context.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for _, a := range authorization {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a)
	}
	_, err = workflowservice.NewWorkflowServiceClient(conn).DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "deploy"})
	st := status.Convert(err)
	r = refused{grpc: st.Code(), message: st.Message()}
	for _, detail := range st.Details() {
		if info, isInfo := detail.(*errdetails.ErrorInfo); isInfo {
			r.reason = info.GetReason()
		}
	}
	return r, err == nil
}

// TestBadTokens: each is refused with its own reason code and, where the caller can do something, with what to do.
func TestBadTokens(t *testing.T) {
	d := shared(t)
	f := newForger(t, d)
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := f.sign(t, f.key, f.header(nil), f.claims(nil))
	if r, ok := describe(t, d, "Bearer "+good); !ok {
		t.Fatalf("the token that the bad ones are made from is refused itself, so this test would prove nothing: %+v", r)
	}
	past := time.Now().Add(-2 * time.Hour)
	expired := map[string]any{"iat": past.Unix(), "auth_time": past.Unix(), "exp": past.Add(time.Hour).Unix()}
	claims := f.claims
	for _, c := range []struct {
		name, token string
		reasons     string // one of these
		says        string // and the message holds this
	}{
		{"none at all", "", "token_missing", "bailiwick login"},
		{"garbage", "not-a-token", "token_opaque token_malformed", ""},
		{"three dots of garbage", "a.b.c", "token_opaque token_malformed", ""},
		{"expired", f.sign(t, f.key, f.header(nil), claims(expired)), "token_expired", "bailiwick login"},
		{"another audience", f.sign(t, f.key, f.header(nil), claims(map[string]any{"aud": "api://elsewhere"})), "token_audience", "api://elsewhere"},
		{"two audiences", f.sign(t, f.key, f.header(nil), claims(map[string]any{"aud": []string{"api://temporal", "api://elsewhere"}})), "token_audience", ""},
		{"another issuer", f.sign(t, f.key, f.header(nil), claims(map[string]any{"iss": "https://evil.example/oauth2/default"})), "token_issuer", ""},
		{"issuer with a slash", f.sign(t, f.key, f.header(nil), claims(map[string]any{"iss": f.issuer + "/"})), "token_issuer", ""},
		{"the org server as issuer", f.sign(t, f.key, f.header(nil), claims(map[string]any{"iss": strings.TrimSuffix(f.issuer, "/oauth2/default")})), "token_issuer token_opaque", "custom authorization server"},
		{"a token of the org server", orgServerToken(t, d, f), "token_issuer token_opaque", "custom authorization server"},
		{"alg none", compact(t, f.header(map[string]any{"alg": "none"})) + "." + compact(t, claims(nil)) + ".", "token_algorithm token_malformed", ""},
		{"alg nOnE with a signature", compact(t, f.header(map[string]any{"alg": "nOnE"})) + "." + compact(t, claims(nil)) + "." + strings.Split(good, ".")[2], "token_algorithm", ""},
		{"HS256 with the public key", f.hmac(t), "token_algorithm", ""},
		{"unknown key id", f.sign(t, foreign, f.header(map[string]any{"kid": "no-such-key"}), claims(nil)), "token_key_unknown", ""},
		{"no key id", f.sign(t, f.key, f.header(map[string]any{"kid": nil}), claims(nil)), "token_key_unknown token_malformed", ""},
		{"another key under our key id", f.sign(t, foreign, f.header(nil), claims(nil)), "token_signature", ""},
		{"good token with one letter changed", swapLast(good), "token_signature token_malformed", ""},
		{"not yet valid", f.sign(t, f.key, f.header(nil), claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix(), "exp": time.Now().Add(2 * time.Hour).Unix()})), "token_not_yet_valid", ""},
		{"lives for a year", f.sign(t, f.key, f.header(nil), claims(map[string]any{"exp": time.Now().AddDate(1, 0, 0).Unix()})), "token_lifetime", ""},
		{"needs a proof of possession", f.sign(t, f.key, f.header(nil), claims(map[string]any{"cnf": map[string]any{"jkt": "x"}})), "token_binding", ""},
		{"an attestation's type", f.sign(t, f.key, f.header(map[string]any{"typ": "bailiwick-attestation+jwt"}), claims(nil)), "token_type", ""},
		{"an ID token", f.sign(t, f.key, f.header(nil), claims(map[string]any{"aud": "0oabailiwickcli00001", "sub": "00ucarol000000000001", "jti": "ID.x", "uid": nil, "cid": nil, "scp": nil, "nonce": "n", "amr": []string{"pwd"}})), "token_type token_audience", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var values []string
			if c.token != "" {
				values = []string{"Bearer " + c.token}
				secrets.add("the token of test "+c.name, c.token)
			}
			r, ok := describe(t, d, values...)
			if ok {
				t.Fatal("it is accepted")
			}
			if r.grpc != codes.Unauthenticated {
				t.Errorf("the gRPC status is %v, want Unauthenticated", r.grpc)
			}
			if r.reason == "" || !strings.Contains(" "+c.reasons+" ", " "+r.reason+" ") {
				t.Errorf("the reason code is %q, want %s; the message is %q", r.reason, c.reasons, r.message)
			}
			if !strings.HasPrefix(r.message, r.reason+": ") || !strings.Contains(r.message, c.says) {
				t.Errorf("the message %q must begin with its code and hold %q", r.message, c.says)
			}
			secrets.expectNone(t, "the refusal", []byte(r.message))
		})
	}
	t.Run("two authorization values", func(t *testing.T) {
		if r, ok := describe(t, d, "Bearer "+good, "Bearer "+good); ok || r.reason != "token_malformed" {
			t.Errorf("accepted: %v, reason %q, want token_malformed", ok, r.reason)
		}
	})
	t.Run("basic authentication", func(t *testing.T) {
		if r, ok := describe(t, d, "Basic YWxpY2U6YmFpbGl3aWNr"); ok || r.reason != "token_malformed" {
			t.Errorf("accepted: %v, reason %q, want token_malformed", ok, r.reason)
		}
	})
}

func swapLast(token string) string {
	const at = 20 // from the end; the last letters of a signature may hold bits that do not count
	i := len(token) - at
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

// orgServerToken gets a token of the org's own authorization server, which is for the org's API and opaque to everyone else. The client that
// may have one proves itself by a key, which is registered first, by the API.
func orgServerToken(t testing.TB, d *dev, f forger) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(d.context.Issuer, "/oauth2/default")
	kid := rand.Text()
	jwk, err := json.Marshal(map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "status": "ACTIVE", "kid": kid,
		"e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("POST", base+"/api/v1/apps/"+devorg.ManagementClient+"/credentials/jwks", bytes.NewReader(jwk))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	req.Header.Set("Content-Type", "application/json")
	ask(t, req, http.StatusCreated, &struct{}{})

	endpoint := base + "/oauth2/v1/token"
	assertion := f.sign(t, key, map[string]any{"alg": "RS256", "kid": kid}, map[string]any{"iss": devorg.ManagementClient, "sub": devorg.ManagementClient,
		"aud": endpoint, "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()})
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"okta.users.read"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	req, err = http.NewRequest("POST", endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		Access string `json:"access_token"`
	}
	ask(t, req, http.StatusOK, &token)
	if token.Access == "" {
		t.Fatal("the org server gave no token")
	}
	return token.Access
}

// ask sends a request and parses its JSON answer, which must have the status given.
func ask(t testing.TB, req *http.Request, want int, v any) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("%s %s answered %s: %s", req.Method, req.URL.Path, res.Status, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("%s %s answered no JSON: %v", req.Method, req.URL.Path, err)
	}
}
