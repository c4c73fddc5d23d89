package inflight

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const (
	signalChange = "change" // one name for both, because only signals of one name keep their order
	caseVersion  = 1
)

// Case is what a person's workflow begins with. What happened comes by signals.
type Case struct {
	Version   int    `json:"version"`
	Principal string `json:"principal"`

	// What the run before this one left, when its history had grown long.
	News   []change         `json:"news,omitempty"` // to be worked on, oldest first
	Acted  []acted          `json:"acted,omitempty"`
	Look   int              `json:"look,omitempty"`   // of the first of News
	Places map[string]Place `json:"places,omitempty"` // how far that look has come in each namespace
}

// change is a signal: a loss, or that the person is back.
type change struct {
	Loss revocation.Loss `json:"loss"`
	Back bool            `json:"back,omitempty"`
}

// Target is a run or a schedule of the person's.
type Target struct {
	Namespace  string `json:"namespace"`
	WorkflowID string `json:"workflow_id,omitempty"`
	RunID      string `json:"run_id,omitempty"`
	Type       string `json:"type,omitempty"` // of the workflow
	Schedule   string `json:"schedule,omitempty"`
}

// Order is one deed: what the rules say of a loss, or the return from it.
type Order struct {
	Target Target          `json:"target"`
	Loss   revocation.Loss `json:"loss"`
	Resume bool            `json:"resume,omitempty"`
}

// Done is what became of it.
type Done struct {
	Event string `json:"event"` // of the entry; "": nothing is to be told
	Text  string `json:"text,omitempty"`
	Held  bool   `json:"held,omitempty"` // it is paused by us, and ours to resume
}

// looks are when it is looked again after a loss, counted from the one before: a call that was let in just before may have started something, and
// Temporal's lists lag behind.
var looks = []time.Duration{0, 15 * time.Second, time.Minute}

// person is one person's workflow. Coroutines change it one at a time.
type person struct {
	held   map[Target]bool   // paused by us
	seen   map[Target]string // the reason for which it was acted on
	bytes  int               // of both, as they are left to the next run
	queue  []change          // before what news brings
	news   workflow.ReceiveChannel
	look   int              // of the loss under way
	places map[string]Place // how far that look has come; nil: it has not begun
	did    int              // activities
}

// workflowID is the person's.
func workflowID(principal string) string {
	sum := sha256.Sum256([]byte(principal))
	return "in-flight-" + hex.EncodeToString(sum[:12])
}

// Workflow does what follows from one person's losses and returns, one after the other, and ends when nothing is held. Each deed is an activity that
// may run twice, and its record another: a worker that dies between any two goes on where it was. A long history is left to a new run, between deeds.
func Workflow(ctx workflow.Context, c Case) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx) // a cancellation, which leaves no word of who and why, changes nothing
	p := &person{held: map[Target]bool{}, seen: map[Target]string{}, queue: c.News, look: c.Look, places: c.Places, news: workflow.GetSignalChannel(ctx, signalChange)}
	for _, a := range c.Acted {
		p.remember(a)
	}
	for {
		var now change
		if len(p.queue) > 0 {
			now, p.queue = p.queue[0], p.queue[1:]
		} else if len(p.held) > 0 {
			p.news.Receive(ctx, &now)
		} else if !p.news.ReceiveAsync(&now) {
			return nil
		}
		if now.Back {
			p.resume(ctx, now.Loss)
		} else {
			p.lose(ctx, now.Loss)
		}
		if p.long() {
			return workflow.NewContinueAsNewError(ctx, WorkflowName, p.leave(c, now))
		}
		p.look, p.places = 0, nil
	}
}

// disturbed reports whether there is news: what is done may be undone next, and what is not need not be.
func (p *person) disturbed() bool { return len(p.queue) > 0 || p.news.Len() > 0 }

// lose looks for what the person has under way, several times, and acts on it. It ends early when there is news, or the history is long.
func (p *person) lose(ctx workflow.Context, l revocation.Loss) {
	for ; p.look < len(looks); p.look++ {
		if p.places == nil {
			if pause := looks[p.look]; pause > 0 {
				if back, err := workflow.AwaitWithTimeout(ctx, pause, p.disturbed); back || err != nil {
					return
				}
			}
			var namespaces []string
			p.mustDo(ctx, actNamespaces, &namespaces)
			p.places = map[string]Place{}
			for _, ns := range namespaces {
				p.places[ns] = Place{}
			}
		}
		wg := workflow.NewWaitGroup(ctx)
		for _, ns := range workflow.DeterministicKeys(p.places) { // one that can't be read holds up no other
			wg.Add(1)
			workflow.Go(ctx, func(ctx workflow.Context) {
				defer wg.Done()
				p.loseIn(ctx, ns, l)
			})
		}
		wg.Wait(ctx)
		if p.disturbed() || p.long() {
			return
		}
		p.places = nil
	}
}

// loseIn goes on with a look where it has come to in a namespace. A part that is left half done is found again, and what is done of it is passed by.
func (p *person) loseIn(ctx workflow.Context, namespace string, l revocation.Loss) {
	for p.places[namespace].List != listEnd {
		if p.disturbed() || p.long() {
			return
		}
		var f Found
		p.mustDo(ctx, actFind, &f, namespace, l, p.places[namespace])
		for _, t := range f.Targets {
			if p.disturbed() || p.long() {
				return
			}
			if p.seen[t] == l.Reason {
				continue
			}
			if !p.remember(acted{Target: t, Reason: p.seen[t]}) {
				workflow.GetLogger(ctx).Error("somebody has more under way than can be acted on; workers block the rest", "namespace", namespace)
				return
			}
			var done Done
			p.mustDo(ctx, actAct, &done, Order{Target: t, Loss: l})
			p.remember(acted{t, l.Reason, done.Held})
			p.tell(ctx, t, l, done)
		}
		p.places[namespace] = f.Next
	}
}

// resume lets go on what we paused.
func (p *person) resume(ctx workflow.Context, l revocation.Loss) {
	for _, t := range workflow.DeterministicKeysFunc(p.held, compare) {
		if p.long() {
			return
		}
		var done Done
		p.mustDo(ctx, actAct, &done, Order{Target: t, Loss: l, Resume: true})
		p.tell(ctx, t, l, done)
		delete(p.held, t)
	}
	clear(p.seen)
	p.bytes = 0
}

func compare(a, b Target) int {
	for _, pair := range [][2]string{{a.Namespace, b.Namespace}, {a.Schedule, b.Schedule}, {a.WorkflowID, b.WorkflowID}, {a.RunID, b.RunID}} {
		if pair[0] < pair[1] {
			return -1
		} else if pair[0] > pair[1] {
			return 1
		}
	}
	return 0
}

// tell puts a deed on record.
func (p *person) tell(ctx workflow.Context, t Target, l revocation.Loss, done Done) {
	if done.Event == "" {
		return
	}
	var id string
	_ = workflow.SideEffect(ctx, func(workflow.Context) any { return uuid.Must(uuid.NewV7()).String() }).Get(&id) // a text can be read back
	detail := map[string]string{"event": done.Event, "subject": l.Principal, "login": l.Login, "cause": l.Reason, "effect": done.Text,
		"source": l.Source, "source_event": l.SourceEvent, "schedule": t.Schedule}
	if !l.At.IsZero() {
		detail["source_time"] = l.At.UTC().Format(time.RFC3339Nano)
	}
	for name, value := range detail {
		if value == "" {
			delete(detail, name)
		}
	}
	p.mustDo(ctx, actRecord, nil, audit.Entry{ID: id, Time: workflow.Now(ctx).UTC(), Kind: audit.KindRevocation, Detail: detail, Resource: policy.Resource{
		Namespace: t.Namespace, WorkflowID: t.WorkflowID, RunID: t.RunID, WorkflowType: t.Type, ScheduleID: t.Schedule,
	}})
}

// mustDo tries an activity until it succeeds, however long that takes.
func (p *person) mustDo(ctx workflow.Context, activity string, out any, args ...any) {
	bounded := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{
		InitialInterval: 500 * time.Millisecond, MaximumInterval: 30 * time.Second,
	}})
	p.did++
	for {
		err := workflow.ExecuteActivity(bounded, activity, args...).Get(ctx, out)
		if err == nil {
			return
		}
		workflow.GetLogger(ctx).Error("an activity failed for good; trying again in a minute", "activity", activity, "error", err)
		_ = workflow.Sleep(ctx, time.Minute)
	}
}
