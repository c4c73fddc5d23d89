package correlate_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/internal/correlate"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// oktaLog is the System Log through the adapter, as the control plane wires it.
type oktaLog struct {
	client *okta.Client
	since  time.Time
}

func (o oktaLog) Page(ctx context.Context, cursor string) ([]correlate.Event, string, error) {
	events, next, err := o.client.Logs(ctx, cursor, o.since, "")
	out := make([]correlate.Event, len(events))
	for i, e := range events {
		party := func(p okta.LogParty) correlate.Party {
			return correlate.Party{ID: p.ID, Type: p.Type, Login: p.AlternateID, Name: p.DisplayName}
		}
		out[i] = correlate.Event{ID: e.UUID, Type: e.EventType, At: e.Published, Success: e.Outcome.Result == "SUCCESS", Actor: party(e.Actor), Session: e.AuthenticationContext.ExternalSessionID, Debug: map[string]string{}}
		for _, t := range e.Target {
			out[i].Targets = append(out[i].Targets, party(t))
		}
		for k, v := range e.DebugContext.DebugData {
			out[i].Debug[k] = fmt.Sprint(v)
		}
	}
	return out, next, err
}

// memory is a log in memory, with an index of it.
type memory struct {
	mu      sync.Mutex // covers entries while a poller runs
	entries []audit.Entry
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

func (m *memory) Record(_ context.Context, e audit.Entry) (string, error) {
	e.Version = audit.EntryVersion
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	e.Gate = "control"
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, e)
	return e.ID, nil
}

func (m *memory) index(t *testing.T) *index.Index {
	t.Helper()
	x, err := index.Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	_, err = x.Sync(t.Context(), func(_ context.Context, from uint64) iter.Seq2[index.Record, error] {
		return func(yield func(index.Record, error) bool) {
			for i := from; i < uint64(len(m.entries)); i++ {
				raw, err := m.entries[i].Marshal()
				e, perr := audit.ParseEntry(raw)
				if !yield(index.Record{Index: i, Raw: raw, Entry: e}, errors.Join(err, perr)) {
					return
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A person logs in at the development org and calls; the chain from the decision back to the login is found by identifiers alone.
func TestChainAtTheOrg(t *testing.T) {
	base, org := orgtest.Start(t, devorg.Config{Seed: devorg.Acme(), DeviceInterval: time.Second})
	admin, err := okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Second)
	g, err := admin.GroupNamed(t.Context(), "temporal:deploy:write")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := admin.User(t.Context(), "bob@acme.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.AddMember(t.Context(), g.ID, bob.ID); err != nil {
		t.Fatal(err)
	}
	claims := login(t, org.Issuer("default"), "bob@acme.example")
	login(t, org.Issuer("default"), "bob@acme.example") // another one of his, later

	m := &memory{}
	state := filepath.Join(t.TempDir(), "cursor.json")
	cfg := correlate.Config{Log: oktaLog{admin, began}, State: state, Issuer: org.Issuer("default"), Record: m.Record, Lifecycle: true}
	p, err := correlate.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.Take(t.Context()); err != nil || n == 0 {
		t.Fatalf("took %d: %v", n, err)
	}
	taken := len(m.entries)
	// After a restart it goes on where it was.
	if p, err = correlate.Open(cfg); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Take(t.Context()); err != nil || n != 0 || len(m.entries) != taken {
		t.Fatalf("took %d again: %v", n, err)
	}

	decision := audit.Entry{ID: "01936a2e-5b1c-7c3a-9f00-8d5b0a7e1c11", Time: time.Now().UTC(), Kind: audit.KindDecision, Action: "StartWorkflowExecution", Access: "operate",
		Actor:    audit.Party{Principal: "user:" + org.Issuer("default") + "|" + claims.UID, Login: "bob@acme.example", ClientID: claims.ClientID, TokenID: claims.ID, Groups: claims.Groups},
		Resource: policy.Resource{Namespace: "deploy", WorkflowID: "ship-1"}, Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed}}
	if _, err := m.Record(t.Context(), decision); err != nil {
		t.Fatal(err)
	}
	x := m.index(t)
	rows, _, err := x.Query(t.Context(), index.Filter{ID: []string{decision.ID}})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	chain, err := correlate.Trace(t.Context(), x, rows[0])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range chain.Links {
		got = append(got, fmt.Sprintf("%s by %s %v", l.What, l.By, l.Sure))
		if l.Entry == "" {
			t.Errorf("%+v names no event of the org", l)
		}
	}
	if want := []string{"group by group true", "login by session true", "token by token id true"}; !slices.Equal(got, want) {
		t.Errorf("chain %q, want %q\n%+v", got, want, chain.Links)
	}
	if l, _ := chain.Login(); l.Index > chain.Links[2].Index {
		t.Errorf("the login %d came after the token %d: it is the other one", l.Index, chain.Links[2].Index)
	}

	// A token of which the org's log says nothing: what fits by time, and said to be no more.
	rows[0].Entry.Actor.TokenID = "AT.unknown"
	if chain, err = correlate.Trace(t.Context(), x, rows[0]); err != nil || len(chain.Links) != 3 || chain.Links[2].Sure {
		t.Errorf("%v %+v", err, chain.Links)
	}
}

type tokenClaims struct {
	ID       string   `json:"jti"`
	UID      string   `json:"uid"`
	ClientID string   `json:"cid"`
	Groups   []string `json:"groups"`
}

// login goes through the device flow with a browser of its own.
func login(t *testing.T, issuer, user string) tokenClaims {
	t.Helper()
	post := func(path string, form url.Values, into any) int {
		form.Set("client_id", devorg.CLIClient)
		res, err := http.PostForm(issuer+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	var device struct {
		Code     string `json:"device_code"`
		Complete string `json:"verification_uri_complete"`
	}
	if code := post("/v1/device/authorize", url.Values{"scope": {"openid offline_access"}}, &device); code != 200 {
		t.Fatalf("device authorization: %d", code)
	}
	if err := devorgtest.NewBrowser().DecideDevice(t.Context(), device.Complete, user, "bailiwick", true); err != nil {
		t.Fatal(err)
	}
	var tokens struct {
		Access string `json:"access_token"`
	}
	if code := post("/v1/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device.Code}}, &tokens); code != 200 {
		t.Fatalf("token: %d", code)
	}
	parts := strings.Split(tokens.Access, ".")
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c tokenClaims
	if err := json.Unmarshal(body, &c); err != nil || c.ID == "" || c.UID == "" {
		t.Fatalf("claims %s: %v", body, err)
	}
	return c
}

// pages is a log of made-up pages.
type pages struct {
	list  [][]correlate.Event
	fails int
	after time.Duration
	calls atomic.Int32
}

type busy struct{ d time.Duration }

func (busy) Error() string               { return "429" }
func (b busy) RetryAfter() time.Duration { return b.d }

func (p *pages) Page(_ context.Context, cursor string) ([]correlate.Event, string, error) {
	p.calls.Add(1)
	if p.fails > 0 {
		p.fails--
		return nil, "", busy{p.after}
	}
	i := len(cursor)
	if i >= len(p.list) {
		return nil, cursor, nil
	}
	return p.list[i], cursor + "x", nil
}

func loginEvent(id string) correlate.Event {
	return correlate.Event{ID: id, Type: "user.session.start", At: time.Unix(1_795_000_000, 0), Success: true, Actor: correlate.Party{ID: "00u1", Type: "User", Login: "alice@acme.example"}, Session: "s1"}
}

func TestPollerTakesEachEventOnce(t *testing.T) {
	failed := loginEvent("c")
	failed.Success = false
	stranger := loginEvent("d")
	stranger.Actor.Type = "SystemPrincipal"
	log := &pages{list: [][]correlate.Event{
		{loginEvent("a"), loginEvent("b"), loginEvent("a")},
		{loginEvent("b"), failed, stranger, {ID: "e", Type: "policy.evaluate_sign_on", Success: true}, {}},
		{loginEvent("f")}, // late, and older than the others: order is the provider's
	}}
	m := &memory{}
	fail := true
	record := func(ctx context.Context, e audit.Entry) (string, error) {
		if fail && len(m.entries) == 1 {
			fail = false
			return "", errors.New("audit_unavailable")
		}
		return m.Record(ctx, e)
	}
	state := filepath.Join(t.TempDir(), "cursor.json")
	cfg := correlate.Config{Log: log, State: state, Issuer: "https://idp", Record: record}
	p, err := correlate.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Take(t.Context()); err == nil {
		t.Fatal("a failed record passed")
	}
	// The process dies here: the page is read again, and "a" has the id that it had.
	if p, err = correlate.Open(cfg); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := p.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]int{}
	for _, e := range m.entries {
		ids[e.Detail["source_event"]]++
	}
	if want := map[string]int{"a": 2, "b": 1, "f": 1}; !maps.Equal(ids, want) {
		t.Errorf("recorded %v, want %v", ids, want)
	}
	if m.entries[0].ID != m.entries[1].ID {
		t.Errorf("one event has the ids %s and %s", m.entries[0].ID, m.entries[1].ID)
	}
}

// forgetful is a provider that has forgotten where somebody was.
type forgetful struct {
	*pages
	forgot bool
}

func (f *forgetful) Page(ctx context.Context, cursor string) ([]correlate.Event, string, error) {
	if cursor != "" && !f.forgot {
		f.forgot = true
		return nil, "", fmt.Errorf("%w: from long ago", correlate.ErrCursor)
	}
	return f.pages.Page(ctx, cursor)
}

func TestPollerWhoseCursorIsForgotten(t *testing.T) {
	log := &forgetful{pages: &pages{list: [][]correlate.Event{{loginEvent("a")}, {loginEvent("b")}}}}
	m := &memory{}
	p, err := correlate.Open(correlate.Config{Log: log, State: filepath.Join(t.TempDir(), "cursor.json"), Issuer: "https://idp", Record: m.Record})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := p.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.entries) != 2 || !log.forgot {
		t.Errorf("%d entries, forgotten %v", len(m.entries), log.forgot)
	}
}

func TestPollerWaitsAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &pages{list: [][]correlate.Event{{loginEvent("a")}}, fails: 2, after: 40 * time.Second}
		m := &memory{}
		p, err := correlate.Open(correlate.Config{Log: log, State: filepath.Join(t.TempDir(), "cursor.json"), Issuer: "https://idp", Record: m.Record, Every: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		time.Sleep(79 * time.Second)
		synctest.Wait()
		if m.count() != 0 || log.calls.Load() != 2 {
			t.Errorf("after 79 s: %d calls, %d entries", log.calls.Load(), m.count())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if m.count() != 1 {
			t.Errorf("after 81 s: %d entries", m.count())
		}
		cancel()
		<-done
	})
}
