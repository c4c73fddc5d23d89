package devorg

import (
	"bytes"
	"context"
	"crypto/rsa"
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
