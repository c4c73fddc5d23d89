package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// leavers is how many people are suspended, one after the other.
const leavers = 120

// gatesThere is how many gates have to refuse each of them.
const gatesThere = 3

// revocations suspends people at a development org that delivers event hooks, and measures from the call that suspends one until every gate, each
// following the feed over HTTP, refuses their next call, whose token is valid for an hour.
func revocations(m meter) ([]row, error) {
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b, err := openLeaving(dir)
	if err != nil {
		return nil, err
	}
	defer b.close()
	n := leavers
	if m.rounds < 7 {
		n = leavers / 4
	}
	var took []float64
	for k := range n {
		ms, err := b.leave(k)
		if err != nil {
			return nil, err
		}
		took = append(took, ms)
	}
	slices.Sort(took)
	p99, half := took[len(took)*99/100], took[len(took)/2]
	return []row{
		{fmt.Sprintf("suspended at Okta until refused by every one of %d gates, p99 of %d (limit 2 s)", gatesThere, n), p99, "ms", 2000, p99 / 2000, "ratio < 1", p99 < 2000},
		{fmt.Sprintf("the same, median of %d", n), half, "ms", 2000, half / 2000, "ratio < 1", half < 2000},
	}, nil
}

// leaving is an org, what hears of it, and the gates.
type leaving struct {
	org     string
	issuer  *issuer
	gates   []*gate.Gate
	closers []func()
}

func (b *leaving) close() {
	for _, f := range slices.Backward(b.closers) {
		f()
	}
}

// orgPeople is the org as revocation asks it.
type orgPeople struct{ *okta.Client }

func (o orgPeople) Find(ctx context.Context, uid string) (p revocation.Person, found bool, err error) {
	u, err := o.User(ctx, uid)
	return revocation.Person{Login: u.Profile.Login, Status: u.Status, Active: u.Active()}, err == nil, err
}

// noRecord keeps none: what it costs is measured elsewhere, and it follows a bar.
type noRecord struct{}

func (noRecord) Record(_ context.Context, e audit.Entry) (string, error) { return e.ID, nil }

func openLeaving(dir string) (b *leaving, err error) {
	b = &leaving{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	b.closers = append(b.closers, cancel)
	var served http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.ServeHTTP(w, r) }))
	b.closers = append(b.closers, server.Close)
	b.org = server.URL
	org, err := devorg.Open(ctx, devorg.Config{DB: filepath.Join(dir, "org.db"), BaseURL: server.URL})
	if err != nil {
		return b, err
	}
	served = org.Handler()
	b.closers = append(b.closers, func() { check(org.Close()) })
	if b.issuer, err = newIssuer(); err != nil {
		return b, err
	}
	b.closers = append(b.closers, b.issuer.Close)

	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return b, err
	}
	const token, secret = "token-of-the-benchmark", "a-secret-of-the-benchmark"
	f, err := feed.Open(ctx, feed.Config{DSN: filepath.Join(dir, "feed.db"), Key: key, Tokens: []string{token}})
	if err != nil {
		return b, err
	}
	b.closers = append(b.closers, func() { check(f.Close()) })
	client, err := okta.New(okta.Config{URL: b.org, Credentials: okta.APIToken(devorg.APIToken), Share: 1})
	if err != nil {
		return b, err
	}
	revoker, err := revocation.Open(ctx, revocation.Config{
		File: filepath.Join(dir, "revocation.db"), Issuers: []string{b.issuer.URL}, Directory: orgPeople{client}, Publisher: f, Recorder: noRecord{}, Secret: secret,
	})
	if err != nil {
		return b, err
	}
	b.closers = append(b.closers, func() { check(revoker.Close()) })
	mux := http.NewServeMux()
	mux.Handle(revocation.HookPath, revoker.Hook())
	mux.Handle(feed.Path, f.Handler())
	control := httptest.NewServer(mux)
	b.closers = append(b.closers, control.Close)
	hook, err := client.CreateEventHook(ctx, okta.EventHook{Name: "bench", URI: control.URL + revocation.HookPath, Header: "Authorization", Types: revocation.HookTypes()}, secret)
	if err == nil {
		_, err = client.VerifyEventHook(ctx, hook.ID)
	}
	if err != nil {
		return b, err
	}
	return b, b.mount(ctx, dir, control.URL+feed.Path, token, f.PublicKey())
}

// mount makes gates that follow the feed.
func (b *leaving) mount(ctx context.Context, dir, feedURL, token string, key ed25519.PublicKey) error {
	if err := policies(filepath.Join(dir, "policy"), 10); err != nil {
		return err
	}
	engine, err := policy.Open(filepath.Join(dir, "policy"), policy.Options{})
	if err != nil {
		return err
	}
	v := verifier(b.issuer, 0)
	b.closers = append(b.closers, func() { check(v.Close()) })
	signer := must(attest.LoadOrCreateSigner(filepath.Join(dir, "key.pem")))
	following, stop := context.WithCancel(ctx)
	var followers []*standing.Follower
	b.closers = append(b.closers, func() {
		stop()
		for _, f := range followers {
			<-f.Done()
		}
	})
	for n := range gatesThere {
		state := &standing.State{}
		f, err := standing.Follow(following, standing.FollowConfig{
			URL: feedURL, Token: func() (string, error) { return token, nil }, Keys: []ed25519.PublicKey{key},
			Cache: filepath.Join(dir, fmt.Sprint("cache-", n)), Gate: fmt.Sprint("gate-", n), State: state,
		})
		if err != nil {
			return err
		}
		followers = append(followers, f)
		g, err := gate.New(gate.Config{Name: "bench", Audience: "bailiwick:bench", Verifier: v, Policy: engine, Log: memoryLog{}, Signer: signer, Standing: state})
		if err != nil {
			return err
		}
		b.gates = append(b.gates, g)
	}
	return nil
}

// leave suspends somebody new and returns in ms how long it took.
func (b *leaving) leave(n int) (ms float64, err error) {
	var made struct{ ID string }
	profile := map[string]any{"login": fmt.Sprintf("leaver%d@acme.example", n), "email": fmt.Sprintf("leaver%d@acme.example", n), "firstName": "L", "lastName": "V"}
	if err := b.call(http.MethodPost, "/api/v1/users?activate=true", map[string]any{"profile": profile, "credentials": map[string]any{"password": map[string]any{"value": "bailiwick-bench"}}}, &made); err != nil {
		return 0, err
	}
	call := gate.Call{Method: startMethod, Request: startRequest("ship-1"), Authorization: []string{"Bearer " + b.issuer.tokenOf(made.ID)}}
	refused := func() bool {
		for _, g := range b.gates {
			if _, err := g.Admit(context.Background(), call); err == nil {
				return false
			}
		}
		return true
	}
	for began := time.Now(); refused(); time.Sleep(time.Millisecond) { // the gates have begun to follow
		if time.Since(began) > 30*time.Second {
			return 0, fmt.Errorf("somebody is refused before they were suspended")
		}
	}
	began := time.Now()
	if err := b.call(http.MethodPost, "/api/v1/users/"+made.ID+"/lifecycle/suspend", nil, nil); err != nil {
		return 0, err
	}
	for !refused() {
		if time.Since(began) > 30*time.Second {
			return 0, fmt.Errorf("somebody who was suspended is not refused after 30 s")
		}
		time.Sleep(100 * time.Microsecond)
	}
	return time.Since(began).Seconds() * 1000, nil
}

// call calls the org's management API.
func (b *leaving) call(method, path string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, b.org+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err = io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s answered %s: %.300s, %w", method, path, res.Status, raw, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
