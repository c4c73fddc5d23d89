package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

const (
	crashRounds  = 3
	crashWriters = 8
	crashBurst   = 1500 * time.Millisecond // from the first acknowledged start to the kill
)

// TestKillDuringStarts kills the whole tree in the middle of a burst of starts, starts it again, and compares three records that were made
// in different places: what the client was told, what Temporal kept, and what the journal kept.
func TestKillDuringStarts(t *testing.T) {
	needsProc(t)
	s := newSettings(t, "--no-ui", "--no-worker")
	d := start(t, s)
	defer func() { d.stop(t) }()
	carol := d.user(t, "carol@acme.example")
	token := carol.token(t)
	var all []attempt
	for round := range crashRounds {
		tried := burst(t, d, token, round)
		d.kill(t)
		d.orphans(t)
		d = start(t, s)
		d.users[carol.login] = carol
		carol.dev = d
		all = append(all, tried...)
		acked, kept := 0, 0
		entries, keys := allowedStarts(t, d), gateKeys(t, d)
		c := sdkClient(t, d, token, "deploy")
		for _, a := range tried {
			if a.acked {
				acked++
			}
			st, exists := startAttestation(t, d, c, keys, a.id)
			if !exists {
				if a.acked {
					t.Errorf("start %s was acknowledged, and Temporal does not have it", a.id)
				}
				continue
			}
			kept++
			e, recorded := entries[st.ID]
			if !recorded {
				t.Errorf("workflow %s runs by decision %s, and the journal has no allowed entry with that id", a.id, st.ID)
			} else if e.Resource.WorkflowID != a.id || e.Resource.Namespace != "deploy" || e.Action != "StartWorkflowExecution" {
				t.Errorf("workflow %s runs by decision %s, which was about %s of %s in %s", a.id, st.ID, e.Action, e.Resource.WorkflowID, e.Resource.Namespace)
			}
		}
		c.Close()
		if acked == 0 || acked == len(tried) {
			t.Fatalf("round %d: %d of %d starts were acknowledged: the kill was not in the middle of anything", round, acked, len(tried))
		}
		t.Logf("round %d: %d starts tried, %d acknowledged, %d in Temporal, %d allowed starts in the journal", round, len(tried), acked, kept, len(entries))
		if out := carol.run(t, "audit", "verify"); out.code != 0 {
			t.Fatalf("round %d: the log does not verify after the kill: %v", round, out)
		}
	}
	// What was good after the first kill must be good after the last: nothing rolls back.
	entries, keys := allowedStarts(t, d), gateKeys(t, d)
	c := sdkClient(t, d, token, "deploy")
	defer c.Close()
	for _, a := range all[:min(len(all), 50)] {
		if st, exists := startAttestation(t, d, c, keys, a.id); exists && entries[st.ID].ID == "" {
			t.Errorf("the entry of workflow %s was there after its round and is gone now", a.id)
		}
	}
}

type attempt struct {
	id    string
	acked bool
}

// burst starts workflows from several connections until the tree is about to be killed, and returns once every writer is in the middle of
// it: the caller kills at once. The attempts are complete when the returned slice is read, because the writers end with the server.
func burst(t *testing.T, d *dev, token string, round int) []attempt {
	t.Helper()
	var (
		mu    sync.Mutex // guards tried
		tried []attempt
		wg    sync.WaitGroup
		first = make(chan struct{})
		once  sync.Once
	)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for w := range crashWriters {
		c := sdkClient(t, d, token, "deploy")
		wg.Go(func() {
			defer c.Close()
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("burst-%d-%d-%d", round, w, n)
				one, stop := context.WithTimeout(ctx, 5*time.Second)
				_, err := c.WorkflowService().StartWorkflowExecution(one, startRequest(id))
				stop()
				mu.Lock()
				tried = append(tried, attempt{id, err == nil})
				mu.Unlock()
				if err == nil {
					once.Do(func() { close(first) })
				} else {
					return // the server is gone
				}
			}
		})
	}
	select {
	case <-first:
	case <-time.After(20 * time.Second):
		t.Fatalf("no start was acknowledged for 20 s\n%s", d.tail())
	}
	time.Sleep(crashBurst)
	for _, p := range d.tree() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // gone already is as good
	}
	cancelled := time.AfterFunc(2*time.Second, cancel) // a writer may wait in the client's backoff
	defer cancelled.Stop()
	wg.Wait()
	return tried
}

// startRequest is a start on a queue that nobody polls: the run stays as it is.
func startRequest(id string) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "deploy", WorkflowId: id, RequestId: id, WorkflowType: workflowType("deploy"), TaskQueue: taskQueue("nobody-polls-this"),
	}
}

// allowedStarts reads the journal itself: the allowed starts in it, by decision id.
func allowedStarts(t *testing.T, d *dev) map[string]audit.Entry {
	t.Helper()
	r, err := audit.OpenReader(d.context.JournalDir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := map[string]audit.Entry{}
	for next := uint64(0); ; next++ {
		seq, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("reading the journal: %v", err)
		}
		if seq != next {
			t.Fatalf("the journal's entry %d is followed by %d", int64(next)-1, seq)
		}
		e, err := audit.ParseEntry(raw)
		if err != nil {
			t.Fatalf("journal entry %d: %v", seq, err)
		}
		if e.Kind == audit.KindDecision && e.Decision != nil && e.Decision.Allow && e.Action == "StartWorkflowExecution" {
			out[e.ID] = e
		}
	}
}

// gateKeys fetches the published attestation keys.
func gateKeys(t *testing.T, d *dev) attest.KeySet {
	t.Helper()
	code, body := get(d.context.ControlURL + "/.well-known/bailiwick/keys")
	if code != http.StatusOK {
		t.Fatalf("the attestation keys answer %d: %s", code, body)
	}
	keys, err := attest.ParseKeySet([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// startAttestation verifies the attestation in a run's first event and returns it; exists is false if Temporal has no such workflow.
func startAttestation(t *testing.T, d *dev, c client.Client, keys attest.KeySet, id string) (st attest.Statement, exists bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	page, err := c.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: "deploy", Execution: &commonpb.WorkflowExecution{WorkflowId: id}, MaximumPageSize: 1,
	})
	var absent *serviceerror.NotFound
	if errors.As(err, &absent) {
		return st, false
	}
	if err != nil {
		t.Fatalf("reading the history of %s: %v", id, err)
	}
	header := page.GetHistory().GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetHeader().GetFields()[attest.HeaderKey]
	raw, ok := attest.FromPayload(header)
	if !ok {
		t.Errorf("workflow %s was started without an attestation", id)
		return st, true
	}
	v, err := keys.Verify(raw, d.context.Audience)
	if err != nil {
		t.Errorf("the attestation of workflow %s: %v", id, err)
		return st, true
	}
	return v.Statement(), true
}
