package ssf

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

const (
	audience = "https://control.example/v1/okta/ssf"
	endpoint = "https://control.example/v1/okta/logout"
	app      = "0oabailiwick"
	secret   = "Bearer a-secret-of-the-stream"
)

type object = map[string]any

var keys = [2]func() *rsa.PrivateKey{sync.OnceValue(newKey), sync.OnceValue(newKey)}

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

// org is a transmitter, the directory, and the queue behind the receiver.
type org struct {
	t      *testing.T
	server *httptest.Server
	r      *Receiver

	mu      sync.Mutex // covers the rest
	now     time.Time
	kid     string // of the key in force
	key     *rsa.PrivateKey
	down    bool // discovery and keys
	meta    object
	lost    bool // the directory
	full    bool // the queue
	signals map[string]revocation.Signal
	calls   int // of Accept
}

func newOrg(t *testing.T, change ...func(*Config)) *org {
	o := &org{t: t, now: time.Now().UTC().Truncate(time.Second), kid: "k0", key: keys[0](), signals: map[string]revocation.Signal{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ssf-configuration", o.serve(func() any { return o.meta }))
	mux.HandleFunc("GET /oauth2/v1/keys", o.serve(func() any {
		return object{"keys": []object{{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": o.kid,
			"n": base64.RawURLEncoding.EncodeToString(o.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(o.key.E)).Bytes())}}}
	}))
	o.server = httptest.NewServer(mux)
	t.Cleanup(o.server.Close)
	o.meta = object{"issuer": o.server.URL, "jwks_uri": o.server.URL + "/oauth2/v1/keys", "delivery_methods_supported": []string{"urn:ietf:rfc:8935"}}
	cfg := Config{Transmitter: o.server.URL, Issuers: []string{o.server.URL + "/oauth2/default"}, Sink: o, People: o, Audience: audience, Secret: secret, Logout: endpoint, LogoutApp: app, Clock: o.clock}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if o.r, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.r.Close() })
	return o
}

func (o *org) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *org) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *org) serve(what func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.down {
			http.Error(w, "down on purpose", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(what())
	}
}

func (o *org) UID(_ context.Context, login string) (string, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost {
		return "", false, errors.New("down on purpose")
	}
	return "00ualice", strings.EqualFold(login, "alice@acme.example"), nil
}

func (o *org) Accept(_ context.Context, signals ...revocation.Signal) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full {
		return errors.New("disk full on purpose")
	}
	o.calls++
	for _, s := range signals {
		o.signals[s.ID] = s
	}
	return nil
}

// only is the one signal that came.
func (o *org) only() revocation.Signal {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.signals) != 1 {
		o.t.Fatalf("%d signals: %+v", len(o.signals), o.signals)
	}
	for _, s := range o.signals {
		delete(o.signals, s.ID)
		return s
	}
	return revocation.Signal{}
}

func (o *org) sign(typ string, c object) string {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(c))
	token.Header["kid"], token.Header["typ"] = o.kid, typ
	raw, err := token.SignedString(o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return raw
}

// set is a security event token of one event.
func (o *org) token(name string, body object, kv ...any) string {
	c := object{"iss": o.server.URL, "aud": audience, "jti": "jti-1", "iat": o.clock().Unix(), "events": object{name: body}}
	for i := 0; i < len(kv); i += 2 {
		c[kv[i].(string)] = kv[i+1]
	}
	return o.sign("secevent+jwt", c)
}

// alice is the subject as Okta writes it.
func (o *org) alice() object {
	return object{"format": "iss_sub", "iss": o.server.URL, "sub": "00ualice"}
}

func (o *org) post(h http.Handler, kind, authorization, body string) (status int, no refusal) {
	o.t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	req.Header.Set("Content-Type", kind)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code/100 != 2 {
		if err := json.Unmarshal(w.Body.Bytes(), &no); err != nil || no.Code == "" || no.Text == "" {
			o.t.Errorf("a refusal without its two members: %q", w.Body)
		}
	} else if w.Body.Len() > 0 {
		o.t.Errorf("an answer with a body: %q", w.Body)
	}
	return w.Code, no
}

func (o *org) push(token string) (int, refusal) {
	o.t.Helper()
	return o.post(o.r.Events(), "application/secevent+jwt", secret, token)
}
