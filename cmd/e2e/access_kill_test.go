package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/access"
)

// mortal is a worker's connection that dies as the process would: at the n-th activity's report nothing goes out or comes in any more.
type mortal struct {
	at    int64 // which report; 0: never
	after bool  // when the report has arrived, instead of before it is sent
	done  atomic.Int64
	dead  atomic.Bool
	gone  chan struct{} // closed at its death
}

func (m *mortal) die() {
	if m.dead.CompareAndSwap(false, true) {
		close(m.gone)
	}
}

var errDead = status.Error(codes.Canceled, "this worker is dead")

func (m *mortal) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if m.dead.Load() {
		return errDead
	}
	last := strings.HasSuffix(method, "/RespondActivityTaskCompleted") && m.done.Add(1) == m.at
	if last && !m.after {
		m.die()
		return errDead
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if last {
		m.die()
	}
	if m.dead.Load() {
		return errDead // whatever came, nobody is there to take it
	}
	return err
}

// scene is one request's life, and the moment at which its first worker dies.
type scene struct {
	namespace string
	mortal
}

func (s *scene) name() string {
	when := "before"
	if s.after {
		when = "after"
	}
	return fmt.Sprintf("%s-%s-report-%d", s.namespace, when, s.at)
}

// TestAccessOutlivesTheDeathOfAWorkerAtEveryStep ends the worker of a request before and after the report of each of its activities, on a real
// server, for both ways in which access takes effect. Another worker takes over. Whatever was agreed comes about, and nothing is left behind.
func TestAccessOutlivesTheDeathOfAWorkerAtEveryStep(t *testing.T) {
	k := newAccessKit(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var scenes []*scene
	for _, namespace := range []string{byGrant, byGroup} {
		undisturbed := &scene{namespace: namespace, mortal: mortal{gone: make(chan struct{})}}
		if err := k.play(ctx, t, undisturbed); err != nil {
			t.Fatalf("%s, nobody dies: %v", namespace, err)
		}
		reports := undisturbed.done.Load()
		if least := map[string]int64{byGrant: 13, byGroup: 17}[namespace]; reports < least {
			t.Fatalf("%s: only %d activities, of at least %d", namespace, reports, least)
		}
		for at := range reports {
			for _, after := range []bool{false, true} {
				scenes = append(scenes, &scene{namespace: namespace, mortal: mortal{at: at + 1, after: after, gone: make(chan struct{})}})
			}
		}
	}
	var playing sync.WaitGroup
	for _, s := range scenes {
		playing.Go(func() {
			if err := k.play(ctx, t, s); err != nil {
				t.Errorf("%s: %v", s.name(), err)
			} else if !s.dead.Load() {
				t.Errorf("%s: its worker did not die", s.name())
			}
		})
	}
	playing.Wait()
	k.recordedOnce(t, 2+len(scenes))
}

// play lives a request through: asked, approved, active, revoked, ended; and looks for what is left.
func (k *accessKit) play(ctx context.Context, t *testing.T, s *scene) error {
	queue := s.name()
	login := queue + "@acme.example"
	conn := k.dial(t, grpc.WithChainUnaryInterceptor(s.intercept))
	first, err := k.work(conn, queue)
	if err != nil {
		return fmt.Errorf("starting the worker: %w", err)
	}
	over, next := make(chan struct{}), make(chan error, 1)
	go func() { // the process that is started again
		select {
		case <-over:
			first.Stop()
			next <- nil
		case <-s.gone:
			conn.Close()
			second, err := k.work(k.client, queue)
			if err == nil {
				<-over
				second.Stop()
			}
			first.Stop()
			next <- err
		}
	}()
	err = k.live(ctx, s, queue, login)
	close(over)
	if failed := <-next; err == nil && failed != nil {
		err = fmt.Errorf("starting another worker: %w", failed)
	}
	return err
}

func (k *accessKit) live(ctx context.Context, s *scene, queue, login string) error {
	alice, carol := k.as(login, "temporal:payments:read"), k.as("carol@acme.example", "temporal:payments:approver", "temporal:deploy:approver")
	var r access.Request
	err := persist(ctx, nil, func() (err error) {
		r, err = alice.Ask(ctx, access.AskBody{Namespace: s.namespace, Role: "write", Seconds: 1800, Reason: queue}, queue)
		return err
	})
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	id := r.Asked.ID
	if err := persist(ctx, []string{"not_pending"}, func() error {
		_, err := carol.Do(ctx, id, "approve", access.ActBody{Digest: r.Digest})
		return err
	}); err != nil {
		return fmt.Errorf("approving: %w", err)
	}
	if r, err = reach(ctx, alice, id, func(r access.Request) bool { return r.State == access.Active }); err != nil || r.State != access.Active {
		return fmt.Errorf("waiting for the access: %s, %w", r.State, err)
	}
	if len(r.Approvals) != 1 || r.Expires.Sub(r.Activated) != 30*time.Minute || !k.has(s.namespace, login) {
		return fmt.Errorf("in force: %+v", r)
	}
	if err := persist(ctx, []string{"already_ended"}, func() error {
		_, err := carol.Do(ctx, id, "revoke", access.ActBody{Comment: "over"})
		return err
	}); err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	if err := k.client.GetWorkflow(ctx, id, "").Get(ctx, &r); err != nil {
		return fmt.Errorf("waiting for the workflow's end: %w", err)
	}
	if r.State != access.Revoked || !r.Settled {
		return fmt.Errorf("at the end: %+v", r)
	}
	if k.has(s.namespace, login) {
		return fmt.Errorf("access is left behind")
	}
	if err := s.told(k.outside, id); err != nil {
		return err
	}
	return k.replays(ctx, id)
}

// has reports whether somebody has access, by grant or by membership.
func (k *accessKit) has(namespace, login string) (yes bool) {
	if namespace == byGrant {
		return len(k.feed.State().Grants(k.principal(login), time.Now())) > 0
	}
	k.outside.with(func() { yes = k.outside.members[bailiwicktest.UID(login)] })
	if yes {
		return true
	}
	// Tokens that were issued meanwhile name the group; it is taken out of them.
	before := identity.Claims{Issuer: k.issuer.URL, Kind: identity.User, ID: bailiwicktest.UID(login), Login: login, Groups: []string{accessGroup}, IssuedAt: time.Now().Add(-time.Minute)}
	return !slices.Contains(k.feed.State().GroupsLost(&before, time.Now()), accessGroup)
}

// lifeOf is the events of a request that was agreed to and then taken away.
var lifeOf = []string{"requested", "approved", "activated", "revoked", "ended"}

// told checks that each step was told once: what was delivered and not reported may come again, under the id of the first.
func (s *scene) told(o *outside, id string) error {
	var all []string
	o.with(func() { all = slices.Clone(o.notices[id]) })
	if len(all) > len(lifeOf)+1 {
		return fmt.Errorf("%d notices of %d steps: %q", len(all), len(lifeOf), all)
	}
	slices.Sort(all)
	var events []string
	for _, one := range slices.Compact(all) {
		event, _, _ := strings.Cut(one, " ")
		events = append(events, event)
	}
	want := slices.Clone(lifeOf)
	slices.Sort(want)
	if !slices.Equal(events, want) {
		return fmt.Errorf("notices of %q, want %q", events, want)
	}
	return nil
}

// replays runs the workflow's code against its whole history.
func (k *accessKit) replays(ctx context.Context, id string) error {
	history := &historypb.History{}
	for events := k.client.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		if err != nil {
			return fmt.Errorf("reading the history: %w", err)
		}
		history.Events = append(history.Events, e)
	}
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(access.Workflow, workflow.RegisterOptions{Name: access.WorkflowName})
	if err := replayer.ReplayWorkflowHistory(tlog.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))), history); err != nil {
		return fmt.Errorf("replaying the history: %w", err)
	}
	return nil
}

// recordedOnce reads the journal: each step of each request is one event, under one id.
func (k *accessKit) recordedOnce(t *testing.T, requests int) {
	t.Helper()
	ids := map[string]map[string]map[string]bool{} // request → event → ids
	for _, e := range bailiwicktest.Entries(t, k.journal) {
		request, event := e.Detail["request"], e.Detail["event"]
		if e.Kind != audit.KindAccess || request == "" {
			continue
		}
		if ids[request] == nil {
			ids[request] = map[string]map[string]bool{}
		}
		if ids[request][event] == nil {
			ids[request][event] = map[string]bool{}
		}
		ids[request][event][e.ID] = true
	}
	if len(ids) != requests {
		t.Errorf("%d requests on record, want %d", len(ids), requests)
	}
	for request, events := range ids {
		for _, event := range lifeOf {
			if len(events[event]) != 1 {
				t.Errorf("%s: %q is on record as %d events", request, event, len(events[event]))
			}
		}
		if len(events) != len(lifeOf) {
			t.Errorf("%s: on record are %v", request, events)
		}
	}
}
