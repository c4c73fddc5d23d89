package standing

import (
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// Bounds of what an event may hold.
const (
	maxID      = 128  // bytes
	maxText    = 4096 // bytes of a reason
	maxName    = 1024 // bytes of any other text
	maxMembers = 1000 // of a list
)

// Validate says what is wrong with an event that somebody wants to publish.
func (e *Event) Validate() error {
	if err := e.check(); err != nil {
		return err
	}
	if e.Kind == EventGrant {
		for _, name := range e.Grant.Actions {
			if _, known := policy.LookupAction(name); !known {
				return fmt.Errorf("the grant names an action %q, which no policy knows", clip(name))
			}
		}
	}
	return nil
}

// check is what a gate asks of an event. It is less than Validate: a newer publisher may know more actions.
func (e *Event) check() error {
	if err := name("the event's id", e.ID, maxID); err != nil {
		return err
	}
	if e.At.IsZero() {
		return errors.New("the event does not say when")
	}
	parts := 0
	for _, has := range []bool{e.Grant != nil, e.Bar != nil, e.Person != nil} {
		if has {
			parts++
		}
	}
	switch {
	case parts != 1:
		return fmt.Errorf("the event holds %d of grant, bar and person; it must hold one", parts)
	case e.Kind == EventGrant && e.Grant != nil:
		return e.Grant.check()
	case e.Kind == EventRevoke && e.Grant != nil:
		return name("the grant's id", e.Grant.ID, maxID)
	case e.Kind == EventBar && e.Bar != nil:
		return e.Bar.check()
	case e.Kind == EventUnbar && e.Bar != nil:
		return name("the bar's id", e.Bar.ID, maxID)
	case e.Kind == EventPerson && e.Person != nil:
		return e.Person.check()
	}
	return fmt.Errorf("an event of kind %q does not hold what it is about", clip(string(e.Kind)))
}

func (g *Grant) check() error {
	if err := errors.Join(name("the grant's id", g.ID, maxID), name("the grant's principal", g.Principal, maxName), name("the grant's namespace", g.Namespace, maxName)); err != nil {
		return err
	}
	role := g.Role == RoleRead || g.Role == RoleWrite || g.Role == RoleWorker || g.Role == RoleAdmin
	switch {
	case (g.Role == "") == (len(g.Actions) == 0):
		return errors.New("a grant gives either a role or a list of actions")
	case g.Role != "" && !role:
		return fmt.Errorf("a grant can't give the role %q; roles are read, write, worker and admin", clip(g.Role))
	case g.Role == RoleWorker && (g.WorkflowType != "" || g.WorkflowID != "" || g.RunID != ""):
		return errors.New("a worker's grant can be narrowed by its task queue only: a poll does not choose workflows")
	case g.RunID != "" && g.WorkflowID == "":
		return errors.New("a grant on one run names its workflow id too")
	case g.Expires.IsZero() || !g.NotBefore.Before(g.Expires):
		return errors.New("a grant expires, and later than it begins")
	case len(g.Actions) > maxMembers || len(g.Approvers) > maxMembers:
		return fmt.Errorf("a grant's lists hold at most %d members", maxMembers)
	}
	if err := text("the grant's reason", g.Reason, maxText); err != nil {
		return err
	}
	for _, s := range append([]string{g.Login, g.WorkflowType, g.WorkflowID, g.RunID, g.TaskQueue, g.Request, g.Digest}, append(slices.Clone(g.Actions), g.Approvers...)...) {
		if err := text("a text of the grant", s, maxName); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bar) check() error {
	whose := 0
	for _, s := range []string{b.Principal, b.ClientID, b.SessionID} {
		if s != "" {
			whose++
		}
	}
	switch {
	case whose != 1:
		return fmt.Errorf("a bar names %d of principal, client_id and session_id; it must name one", whose)
	case b.Group != "" && b.Principal == "":
		return errors.New("a bar of one group names a principal")
	case b.Reason == "":
		return errors.New("a bar has a reason")
	}
	if err := name("the bar's id", b.ID, maxID); err != nil {
		return err
	}
	for _, s := range []string{b.Principal, b.ClientID, b.SessionID, b.Group, b.Reason, b.Source} {
		if err := text("a text of the bar", s, maxName); err != nil {
			return err
		}
	}
	return nil
}

func (p *Person) check() error {
	if len(p.Groups) > 10*maxMembers {
		return fmt.Errorf("a person is in at most %d groups", 10*maxMembers)
	}
	for _, s := range append([]string{p.Login}, p.Groups...) {
		if err := text("a text of the person", s, maxName); err != nil {
			return err
		}
	}
	return name("the person's principal", p.Principal, maxName)
}

func name(what, s string, limit int) error {
	if s == "" {
		return errors.New(what + " is empty")
	}
	return text(what, s, limit)
}

// text keeps out what would break a line, a screen or a signature's one reading.
func text(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s is %d bytes long; the limit is %d", what, len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not valid UTF-8", what)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("%s holds control characters", what)
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
