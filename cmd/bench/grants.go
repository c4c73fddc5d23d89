package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// manyGrants is how many live grants the figures are promised for.
const manyGrants = 10_000

func grants(m meter) ([]row, error) {
	i, err := newIssuer()
	if err != nil {
		return nil, err
	}
	defer i.Close()
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := policies(filepath.Join(dir, "policy"), 10); err != nil {
		return nil, err
	}
	engine, err := policy.Open(filepath.Join(dir, "policy"), policy.Options{})
	if err != nil {
		return nil, err
	}
	v := verifier(i, 0)
	defer v.Close()
	signer := must(attest.LoadOrCreateSigner(filepath.Join(dir, "key.pem")))
	mount := func(s gate.Standing) *gate.Gate {
		return must(gate.New(gate.Config{Name: "bench", Audience: "bailiwick:bench", Verifier: v, Policy: engine, Log: memoryLog{}, Signer: signer, Standing: s}))
	}
	alice := must(v.Verify(context.Background(), identity.ParseUnverified(i.token()))).Claims().Principal()
	one, many, none := &standing.State{}, &standing.State{}, &standing.State{}
	check(one.Apply(granted("mine", alice, time.Hour)))
	check(many.ApplyAll(crowd(alice)))

	call := gate.Call{Method: startMethod, Request: startRequest("ship-1"), Authorization: []string{"Bearer " + i.token()}}
	elsewhere := startRequest("ship-1")
	elsewhere.Namespace = "lent"
	under := call
	under.Request = elsewhere
	admit := func(g *gate.Gate, c gate.Call) func(int) {
		return func(n int) {
			for range n {
				must(g.Admit(context.Background(), c))
			}
		}
	}
	crowded, empty := m.compare(admit(mount(many), call), admit(mount(none), call))
	lent, alone := m.compare(admit(mount(many), under), admit(mount(one), under))
	rows := []row{
		atMost("gate decision, 10,000 live grants and 1,000 bars (baseline: none)", "us", crowded, empty, 1.2),
		atMost("gate decision under a grant, 10,000 live grants (baseline: 1)", "us", lent, alone, 1.2),
	}
	late, err := lateness(m, mount, under, alice)
	if err != nil {
		return nil, err
	}
	reach, err := reaching(m, dir)
	if err != nil {
		return nil, err
	}
	return append(rows,
		row{"grant's expiry, end of the last call allowed after it (limit 10 ms)", late, "ms", 10, late / 10, "ratio <= 1", late <= 10},
		row{"grant effective at every one of 3 gates, p99 (limit 1 s)", reach, "ms", 1000, reach / 1000, "ratio < 1", reach < 1000}), nil
}

func granted(id, who string, d time.Duration) standing.Event {
	now := time.Now()
	return standing.Event{ID: "e-" + id, Kind: standing.EventGrant, At: now, Grant: &standing.Grant{
		ID: id, Principal: who, Namespace: "lent", Role: "write", NotBefore: now.Add(-time.Minute), Expires: now.Add(d), Reason: "INC-7: a reason of the usual length", Approvers: []string{who},
	}}
}

// crowd is ten thousand grants, one of them alice's, and a thousand bars of others.
func crowd(alice string) []standing.Event {
	all := []standing.Event{granted("mine", alice, time.Hour)}
	for n := range manyGrants - 1 {
		all = append(all, granted(fmt.Sprint("g", n), fmt.Sprint("user:https://acme.example|", n), time.Hour))
	}
	for n := range 1000 {
		id := fmt.Sprint("b", n)
		all = append(all, standing.Event{ID: id, Kind: standing.EventBar, At: time.Now(), Bar: &standing.Bar{ID: id, Principal: "user:https://acme.example|left-" + id, Reason: "user_deactivated", Since: time.Now()}})
	}
	return all
}

// lateness calls without pause while grants run out, and returns the longest time in ms by which a call that was allowed ended after its grant.
func lateness(m meter, mount func(gate.Standing) *gate.Gate, call gate.Call, alice string) (ms float64, err error) {
	state := &standing.State{}
	check(state.ApplyAll(crowd("user:https://acme.example|nobody")))
	g := mount(state)
	for n := range 5 * m.rounds {
		e := granted(fmt.Sprint("short", n), alice, 30*time.Millisecond)
		check(state.Apply(e))
		var last time.Time
		for time.Since(e.Grant.Expires) < 20*time.Millisecond {
			if _, err := g.Admit(context.Background(), call); err == nil {
				last = time.Now()
			}
		}
		if last.IsZero() {
			return 0, fmt.Errorf("a grant of 30 ms allowed nothing")
		}
		ms = max(ms, last.Sub(e.Grant.Expires).Seconds()*1000)
	}
	return ms, nil
}

// reaching publishes to a feed (SQLite, synced) and returns the 99th percentile of the time in ms from the call of Put until each of three gates,
// over HTTP, honours the grant.
func reaching(m meter, dir string) (ms float64, err error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return 0, err
	}
	const token = "token-of-the-benchmark"
	ctx, cancel := context.WithCancel(context.Background())
	f, err := feed.Open(ctx, feed.Config{DSN: filepath.Join(dir, "feed.db"), Key: key, Tokens: []string{token}})
	if err != nil {
		cancel()
		return 0, err
	}
	server := httptest.NewServer(f.Handler())
	var followers []*standing.Follower
	defer func() {
		cancel()
		for _, follower := range followers {
			<-follower.Done()
		}
		server.Close()
		check(f.Close())
	}()
	for n := range 500 { // each is a synced transaction: many more would take minutes on a slow disk
		must(f.Put(ctx, granted(fmt.Sprint("g", n), fmt.Sprint("user:https://acme.example|", n), time.Hour)))
	}
	states := make([]*standing.State, 3)
	for n := range states {
		states[n] = &standing.State{}
		followers = append(followers, must(standing.Follow(ctx, standing.FollowConfig{
			URL: server.URL + feed.Path, Token: func() (string, error) { return token, nil }, Keys: []ed25519.PublicKey{f.PublicKey()},
			Cache: filepath.Join(dir, fmt.Sprint("cache-", n)), Gate: fmt.Sprint("gate-", n), State: states[n],
		})))
	}
	const who = "user:https://acme.example|new"
	reached := func(id string) bool {
		for _, s := range states {
			if !slices.ContainsFunc(s.Grants(who, time.Now()), func(g *standing.Grant) bool { return g.ID == id }) {
				return false
			}
		}
		return true
	}
	var took []float64
	for n := range 30 * m.rounds {
		id := fmt.Sprint("new", n)
		began := time.Now()
		must(f.Put(ctx, granted(id, who, time.Hour)))
		for !reached(id) {
			if time.Since(began) > 30*time.Second {
				return 0, fmt.Errorf("a grant had not reached every gate after 30 s")
			}
			time.Sleep(100 * time.Microsecond)
		}
		took = append(took, time.Since(began).Seconds()*1000)
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}
