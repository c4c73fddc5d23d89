package e2e

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/temporaltest"
	"google.golang.org/grpc"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// accessKit is access requests with everything real but Okta: a Temporal server, the control plane with its journal and the starter policies, and the
// feed, all in this process, so that a test can end a worker at any moment. The reason of a request names the task queue that it runs on.
type accessKit struct {
	issuer   *bailiwicktest.Issuer
	server   *temporaltest.TestServer
	client   client.Client
	plane    *control.Plane
	feed     *feed.Feed
	service  *access.Service
	outside  *outside
	journal  string
	url, web string // of the control plane, and of the feed
}

// feedToken is what followers of the kit's feed read with.
const feedToken = "token-of-the-standing-feed"

// The kit's namespaces: a grant carries write in the first, membership of accessGroup in the second.
const (
	byGrant     = "payments"
	byGroup     = "deploy"
	accessGroup = "temporal:deploy:write"
)

func newAccessKit(t testing.TB) *accessKit {
	t.Helper()
	dir := t.TempDir()
	k := &accessKit{issuer: bailiwicktest.NewIssuer(t), outside: &outside{members: map[string]bool{}, notices: map[string][]string{}}, journal: filepath.Join(dir, "journal")}
	if err := policy.WriteStarter(filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err)
	}
	var err error
	k.plane, err = control.Open(t.Context(), control.Config{
		Name: "control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: k.issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: k.journal, AttestationKey: filepath.Join(dir, "keys"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.plane.Close() }) // what it wrote was read by then
	k.feed, err = feed.Open(t.Context(), feed.Config{DSN: filepath.Join(dir, "feed.db"), Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Tokens: []string{feedToken}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.feed.Close() })
	settings := access.Settings{Rules: access.DefaultRules(), Groups: []access.GroupRole{{Namespace: byGroup, Role: "write", Group: accessGroup}}}
	k.service, err = access.New(access.Config{
		Decider: k.plane, Judge: k.outside.judge(k.plane.Policy()), Recorder: k.plane, Publisher: k.feed, Standing: k.feed.State(),
		Groups: k.outside, Notifier: k.outside, Settings: settings,
	})
	if err != nil {
		t.Fatal(err)
	}
	k.service.Mount(k.plane)
	web := httptest.NewServer(k.plane)
	published := httptest.NewServer(k.feed.Handler())
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{web, published} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	k.url, k.web = web.URL, published.URL+feed.Path

	k.server = temporaltest.NewServer()
	t.Cleanup(k.server.Stop)
	k.client = k.dial(t)
	k.service.Connect(onQueues{k.client})
	return k
}

// dial opens a connection of its own to the server.
func (k *accessKit) dial(t testing.TB, more ...grpc.DialOption) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{
		HostPort: k.server.GetFrontendHostPort(), Namespace: k.server.GetDefaultNamespace(), Logger: tlog.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		ConnectionOptions: client.ConnectionOptions{DialOptions: more},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// work starts a worker on a queue.
func (k *accessKit) work(c client.Client, queue string) (worker.Worker, error) {
	w := worker.New(c, queue, worker.Options{MaxConcurrentActivityTaskPollers: 2, MaxConcurrentWorkflowTaskPollers: 2})
	k.service.Register(w)
	return w, w.Start()
}

// as speaks to the control plane as somebody.
func (k *accessKit) as(login string, groups ...string) *access.Client {
	token := k.issuer.User(login, groups...)
	return &access.Client{URL: k.url, Token: func(context.Context) (string, error) { return token, nil }}
}

// principal is how the record and the feed name a person.
func (k *accessKit) principal(login string) string {
	return "user:" + k.issuer.URL + "|" + bailiwicktest.UID(login)
}

// onQueues starts each request on the task queue that its reason names.
type onQueues struct{ client.Client }

func (q onQueues) ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	o.TaskQueue = args[0].(access.Case).Asked.Reason
	return q.Client.ExecuteWorkflow(ctx, o, workflow, args...)
}

// outside is the world beyond the control plane: the groups at the identity provider, who is told, and whose right somebody has taken away.
type outside struct {
	mu      sync.Mutex          // guards all below
	members map[string]bool     // uids in accessGroup
	notices map[string][]string // request → "event id" of each delivery
	unfit   string              // login that may not approve any more
}

func (o *outside) with(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *outside) Add(_ context.Context, _, user string) error {
	o.with(func() { o.members[user] = true })
	return nil
}

func (o *outside) Remove(_ context.Context, _, user string) error {
	o.with(func() { delete(o.members, user) })
	return nil
}

func (o *outside) Members(context.Context, string) (all []string, _ error) {
	o.with(func() {
		for user := range o.members {
			all = append(all, user)
		}
	})
	return all, nil
}

func (o *outside) Channels() []string { return []string{"ops"} }

func (o *outside) Notify(_ context.Context, _ string, n access.Notice) error {
	o.with(func() { o.notices[n.Request.Asked.ID] = append(o.notices[n.Request.Asked.ID], n.Event+" "+n.ID) })
	return nil
}

// judge is policy at the recheck, but for the one who has lost the right.
func (o *outside) judge(engine *policy.Engine) judgeFunc {
	return func(r policy.Request) policy.Decision {
		lost := false
		o.with(func() { lost = r.Action == access.ActionApprove && r.Principal.Login == o.unfit })
		if lost {
			return policy.Decision{Code: policy.CodeForbidden, Reasons: []string{"not an approver any more"}}
		}
		return engine.Decide(r)
	}
}

type judgeFunc func(policy.Request) policy.Decision

func (f judgeFunc) Decide(r policy.Request) policy.Decision { return f(r) }

// reach follows a request until it is as wanted.
func reach(ctx context.Context, c *access.Client, id string, want func(access.Request) bool) (r access.Request, err error) {
	err = c.Watch(ctx, id, func(now access.Request) error {
		if r = now; want(now) {
			return access.ErrStop
		}
		return nil
	})
	return r, err
}

// persist does something again for as long as the control plane says that Temporal does not answer: its worker is being replaced. A refusal with
// one of the codes means that an earlier try has done it.
func persist(ctx context.Context, done []string, do func() error) error {
	for {
		err := do()
		var refused *access.Refusal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && slices.Contains(done, refused.Code):
			return nil
		case !errors.As(err, &refused) || refused.Code != "access_unavailable" && refused.Code != "not_started":
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
