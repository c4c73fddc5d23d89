package oktasetup_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// bench is a development org, with something in front that can break it, and a directory of keys.
type bench struct {
	t      *testing.T
	org    *okta.Client
	url    string
	breaks func(http.ResponseWriter, *http.Request) bool // answers a request itself; nil: never
	mu     sync.Mutex
	keys   map[string]map[string]string
	kept   map[string]string
}

// oneKey serves all apps of all tests: making one takes a good part of a second.
var oneKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, keys: map[string]map[string]string{}, kept: map[string]string{}}
	b.url, _ = orgtest.Start(t, devorg.Config{}, func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if b.breaks == nil || !b.breaks(w, r) {
				inner.ServeHTTP(w, r)
			}
		})
	})
	b.org = b.client(okta.APIToken(devorg.APIToken))
	return b
}

func (b *bench) client(c okta.Credentials) *okta.Client {
	b.t.Helper()
	org, err := okta.New(okta.Config{URL: b.url, Credentials: c, Share: 1, Attempts: 1})
	if err != nil {
		b.t.Fatal(err)
	}
	return org
}

func (b *bench) options() oktasetup.Options {
	return oktasetup.Options{
		Secret: "s3cret",
		Key: func(name string, create bool) (map[string]string, bool, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.keys[name] == nil && create {
				key, err := oneKey()
				if err != nil {
					return nil, false, err
				}
				b64 := base64.RawURLEncoding.EncodeToString
				b.keys[name] = map[string]string{"kty": "RSA", "kid": "kid-" + name, "alg": "RS256", "use": "sig", "e": b64(big.NewInt(int64(key.E)).Bytes()), "n": b64(key.N.Bytes())}
			}
			return b.keys[name], b.keys[name] != nil, nil
		},
		Keep: func(name, secret string) error { b.kept[name] = secret; return nil },
	}
}

func spec() oktasetup.Spec {
	return oktasetup.Spec{Name: "prod", Namespaces: []string{"payments", "orders"}, Workers: []string{"deploy", "billing"}, Console: []string{"https://temporal.acme.com/"}, Rotation: true, Membership: true}
}

func (b *bench) plan(s oktasetup.Spec, o oktasetup.Options) *oktasetup.Plan {
	b.t.Helper()
	p, err := oktasetup.Make(b.t.Context(), b.org, s, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) apply(s oktasetup.Spec) *oktasetup.Plan {
	b.t.Helper()
	p := b.plan(s, b.options())
	if _, err := p.Apply(b.t.Context(), b.org, b.options()); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func find(t *testing.T, p *oktasetup.Plan, key string) oktasetup.Item {
	t.Helper()
	i := slices.IndexFunc(p.Items, func(i oktasetup.Item) bool { return i.Key == key })
	if i < 0 {
		t.Fatalf("the plan has no %s", key)
	}
	return p.Items[i]
}

func text(p *oktasetup.Plan) string {
	var out strings.Builder
	for _, i := range p.Items {
		if i.Action != oktasetup.Keep {
			raw, _ := json.Marshal(i)
			out.Write(append(raw, '\n'))
		}
	}
	return out.String()
}

// The second run plans nothing, another directory or not; and what was made is what was planned.
func TestSetUpTwice(t *testing.T) {
	b := newBench(t)
	first := b.plan(spec(), b.options())
	if first.Count(oktasetup.Create) < 40 || first.Count(oktasetup.Conflict) != 0 || first.Nothing() {
		t.Fatalf("%s", text(first))
	}
	if note := find(t, first, "group/payments/read"); note.Action != oktasetup.Keep || note.Note == "" {
		t.Errorf("a group that was there: %+v", note)
	}
	var told []string
	o := b.options()
	o.Progress = func(i oktasetup.Item) { told = append(told, i.Key) }
	done, err := first.Apply(t.Context(), b.org, o)
	if err != nil || len(done) != first.Count(oktasetup.Create) || len(told) != len(done) {
		t.Fatalf("%d done, %d told, %v", len(done), len(told), err)
	}
	if b.kept["console"] == "" || len(b.keys) != 4 {
		t.Errorf("secrets %v, %d keys", b.kept, len(b.keys))
	}
	second := b.plan(spec(), b.options())
	if !second.Nothing() || second.Count(oktasetup.Narrowed) != 0 {
		t.Errorf("the second run plans:\n%s", text(second))
	}
	b.keys = map[string]map[string]string{}
	if third := b.plan(spec(), b.options()); !third.Nothing() || !strings.Contains(find(t, third, "app/control").Note, "not in this directory") {
		t.Errorf("%s", text(third))
	}
	more := spec()
	more.Namespaces = append(more.Namespaces, "search")
	if p := b.plan(more, b.options()); p.Count(oktasetup.Create) != 5 || p.Count(oktasetup.Alter) != 0 {
		t.Errorf("%s", text(p))
	}
	// Another environment beside it takes nothing over.
	other := spec()
	other.Name = "staging"
	if p := b.plan(other, b.options()); p.Count(oktasetup.Conflict) != 0 || p.Count(oktasetup.Alter) != 0 || find(t, p, "server").Action != oktasetup.Create {
		t.Errorf("%s", text(p))
	}
}

// A failure at any request leaves what was done, says so, and the next run goes on from there.
func TestInterruptedAnywhere(t *testing.T) {
	for _, fault := range []struct {
		name   string
		answer func(http.ResponseWriter)
		says   string
	}{
		{"500", func(w http.ResponseWriter) { w.WriteHeader(500) }, "HTTP 500"},
		{"403", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(403)
			_, _ = w.Write([]byte(`{"errorCode":"E0000006","errorSummary":"You do not have permission to perform the requested action"}`))
		}, "E0000006"},
		{"malformed", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`[{"id":"00u`))
		}, "reading the answer"},
		{"a page", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<html>`))
		}, "is this an Okta org?"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			b := newBench(t)
			var writes, every int
			b.breaks = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					return false
				}
				if writes++; writes%every != 0 {
					return false
				}
				fault.answer(w)
				return true
			}
			every = 7
			runs := 0
			for ; runs < 100; runs++ {
				p := b.plan(spec(), b.options())
				todo := p.Count(oktasetup.Create) + p.Count(oktasetup.Alter)
				if todo == 0 {
					break
				}
				done, err := p.Apply(t.Context(), b.org, b.options())
				var failed *oktasetup.Failure
				if err == nil {
					continue
				}
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), fault.says) || len(failed.Done) != len(done) || len(done)+1+failed.Left != todo {
					t.Fatalf("%d done, %d to do: %v", len(done), todo, err)
				}
			}
			if runs < 5 || runs == 100 {
				t.Errorf("%d runs", runs)
			}
			b.breaks = nil
			if p := b.plan(spec(), b.options()); !p.Nothing() {
				t.Errorf("%s", text(p))
			}
		})
	}
}

// An answer that was lost after Okta had done what it was asked: the next run finds it.
func TestLostAnswer(t *testing.T) {
	b := newBench(t)
	lost := 0
	client := b.org
	b.breaks = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.Header.Get("X-Again") != "" || lost == 3 {
			return false
		}
		lost++
		again, _ := http.NewRequest(r.Method, b.url+r.URL.String(), r.Body)
		again.Header = r.Header.Clone()
		again.Header.Set("X-Again", "1")
		if res, err := http.DefaultClient.Do(again); err == nil {
			res.Body.Close()
		}
		panic(http.ErrAbortHandler)
	}
	for range 4 {
		p := b.plan(spec(), b.options())
		_, err := p.Apply(t.Context(), client, b.options())
		if err == nil {
			break
		}
	}
	if lost != 3 {
		t.Errorf("%d lost", lost)
	}
	servers, err := b.org.Documents(t.Context(), "/api/v1/authorizationServers", nil)
	if err != nil || len(servers) != 2 {
		t.Errorf("%d servers, %v", len(servers), err)
	}
	if p := b.plan(spec(), b.options()); !p.Nothing() {
		t.Errorf("%s", text(p))
	}
}
