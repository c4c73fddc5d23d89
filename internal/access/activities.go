package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Names of the activities.
const (
	actRecord      = "bailiwick.access.record"
	actPublish     = "bailiwick.access.publish"
	actNotify      = "bailiwick.access.notify"
	actRecheck     = "bailiwick.access.recheck"
	actGroupBefore = "bailiwick.access.group-before"
	actGroupAdd    = "bailiwick.access.group-add"
	actGroupRemove = "bailiwick.access.group-remove"
	actSweep       = "bailiwick.access.sweep"
)

// Recorder keeps the record; control.Plane does. An entry of the same id twice is one event told twice.
type Recorder interface {
	Record(ctx context.Context, e audit.Entry) (id string, err error)
}

// Publisher lets gates know; feed.Feed does. Publishing an event of one id twice changes nothing.
type Publisher interface {
	Put(ctx context.Context, e standing.Event) (seq uint64, err error)
}

// Reach is a Publisher that tells when gates have what was published; feed.Feed does.
type Reach interface {
	WaitSeen(ctx context.Context, seq uint64) error
}

// arriveWithin is how long a publication waits for the word of gates. They fetch it within milliseconds; one that can't is not waited for.
const arriveWithin = 2 * time.Second

// Notifier delivers notices. A channel that is not known any more is an error wrapping ErrUnknownChannel.
type Notifier interface {
	Channels() []string
	Notify(ctx context.Context, channel string, n Notice) error
}

// ErrUnknownChannel means that the configuration does not have a channel (any more).
var ErrUnknownChannel = errors.New("the channel is not configured")

// Groups changes memberships at the identity provider. All three are idempotent. User is the uid.
type Groups interface {
	Add(ctx context.Context, group, user string) error
	Remove(ctx context.Context, group, user string) error
	Members(ctx context.Context, group string) (users []string, err error)
}

// Membership is a membership that a request holds, or held.
type Membership struct {
	Request string    `json:"request"`
	Group   string    `json:"group"`
	User    string    `json:"user"`
	Until   time.Time `json:"until,omitzero"`
}

// activities touch the world. Each may run more than once: a worker may die after the deed and before its word of it.
type activities struct {
	s *Service
}

// Registry is a worker, or a test's.
type Registry interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
	RegisterActivityWithOptions(a any, o activity.RegisterOptions)
}

// Register gives a worker the workflows and activities.
func (s *Service) Register(w Registry) {
	a := &activities{s}
	w.RegisterWorkflowWithOptions(Workflow, workflow.RegisterOptions{Name: WorkflowName})
	w.RegisterWorkflowWithOptions(Janitor, workflow.RegisterOptions{Name: JanitorName})
	for name, f := range map[string]any{
		actRecord: a.record, actPublish: a.publish, actNotify: a.notify, actRecheck: a.recheck,
		actGroupBefore: a.groupBefore, actGroupAdd: a.groupAdd, actGroupRemove: a.groupRemove, actSweep: a.sweep,
	} {
		w.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
}

func (a *activities) record(ctx context.Context, e audit.Entry) error {
	_, err := a.s.cfg.Recorder.Record(ctx, e)
	a.s.hub.stir(e.Detail["request"])
	return err
}

// publish reports whether every gate has confirmed it, so that an active request is one that the next call can rely on. That a gate has not is no
// failure: it is down, or gets it later.
func (a *activities) publish(ctx context.Context, e standing.Event) (everywhere bool, err error) {
	if e.Kind == standing.EventGrant && !e.Grant.Expires.After(a.s.cfg.Clock()) {
		return false, nil // over before it began: there is nothing to honour
	}
	seq, err := a.s.cfg.Publisher.Put(ctx, e)
	if err != nil {
		return false, err
	}
	if reach, ok := a.s.cfg.Publisher.(Reach); ok {
		wait, cancel := context.WithTimeout(ctx, arriveWithin)
		defer cancel()
		everywhere = reach.WaitSeen(wait, seq) == nil
	}
	if e.Grant != nil {
		a.s.hub.stir(e.Grant.Request)
	}
	return everywhere, nil
}

func (a *activities) notify(ctx context.Context, channel string, n Notice) error {
	if a.s.cfg.Notifier == nil {
		return nil
	}
	err := a.s.cfg.Notifier.Notify(ctx, channel, n)
	if errors.Is(err, ErrUnknownChannel) {
		return temporal.NewNonRetryableApplicationError(err.Error(), "unknown_channel", err)
	}
	return err
}

var errNoGroups = errors.New("no identity provider is configured for group memberships")

// groupBefore reports whether the membership will be ours to end: nobody's who was a member before any request of ours made them one.
func (a *activities) groupBefore(ctx context.Context, m Membership) (ours bool, err error) {
	if a.s.cfg.Groups == nil {
		return false, errNoGroups
	}
	member, err := a.isMember(ctx, m)
	if err != nil || !member {
		return true, err
	}
	others, err := a.s.holders(ctx, m)
	if err != nil {
		return false, err
	}
	return len(others) > 0, nil // another request has put them there, and neither leaves anything behind
}

func (a *activities) isMember(ctx context.Context, m Membership) (bool, error) {
	users, err := a.s.cfg.Groups.Members(ctx, m.Group)
	if err != nil {
		return false, fmt.Errorf("listing the members of %s: %w", m.Group, err)
	}
	for _, u := range users {
		if u == m.User {
			return true, nil
		}
	}
	return false, nil
}

func (a *activities) groupAdd(ctx context.Context, m Membership) error {
	if a.s.cfg.Groups == nil {
		return errNoGroups
	}
	if !m.Until.After(a.s.cfg.Clock()) {
		return nil // a late retry must not bring back what is over
	}
	if err := a.s.cfg.Groups.Add(ctx, m.Group, m.User); err != nil {
		return fmt.Errorf("adding a member to %s: %w", m.Group, err)
	}
	return nil
}

// groupRemove ends a membership, unless another request holds it still.
func (a *activities) groupRemove(ctx context.Context, m Membership) (removed bool, err error) {
	if a.s.cfg.Groups == nil {
		return false, errNoGroups
	}
	others, err := a.s.holders(ctx, m)
	if err != nil || len(others) > 0 {
		return false, err
	}
	if err := a.s.cfg.Groups.Remove(ctx, m.Group, m.User); err != nil {
		return false, fmt.Errorf("removing a member from %s: %w", m.Group, err)
	}
	return true, nil
}
