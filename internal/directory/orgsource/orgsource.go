// Package orgsource asks Okta for what a directory keeps.
//
// It owns which of Okta's lists and events mean what for the copy. It refuses to know what the copy is for, and how requests are authorized and
// limited: the client does.
package orgsource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/okta/syslog"
)

// Source is an org as a directory reads it.
type Source struct {
	Client *okta.Client
	Shared *syslog.Log   // the log where others follow it too; default: the client is asked for what can change the copy
	Age    time.Duration // how old may be what the shared log tells of there being nothing new
}

// filter leaves out of the System Log what can't change the copy, sign-ins above all.
const filter = `eventType sw "user.lifecycle." or eventType sw "user.account." or eventType sw "group."`

func (s Source) Users(ctx context.Context, cursor string) ([]directory.User, string, error) {
	page, next, err := s.Client.UsersPage(ctx, time.Time{}, okta.Cursor(cursor))
	out := make([]directory.User, 0, len(page))
	for i := range page {
		out = append(out, user(&page[i]))
	}
	return out, string(next), told(err, cursor)
}

func (s Source) Groups(ctx context.Context, cursor string) ([]directory.Group, string, error) {
	page, next, err := s.Client.GroupsPage(ctx, okta.Cursor(cursor))
	out := make([]directory.Group, 0, len(page))
	for _, g := range page {
		out = append(out, directory.Group{ID: g.ID, Name: g.Profile.Name})
	}
	return out, string(next), told(err, cursor)
}

func (s Source) Members(ctx context.Context, group, cursor string) ([]string, string, error) {
	page, next, err := s.Client.MembersPage(ctx, group, okta.Cursor(cursor))
	out := make([]string, 0, len(page))
	for i := range page {
		out = append(out, page[i].ID)
	}
	return out, string(next), told(err, cursor)
}

func (s Source) User(ctx context.Context, id string) (directory.User, error) {
	u, err := s.Client.User(ctx, id)
	if err == nil && u.ID != id {
		err = fmt.Errorf("the org answered with another person than was asked about") // ids are not logins: nobody may call themselves by another's
	}
	return user(&u), told(err, "")
}

func (s Source) Group(ctx context.Context, id string) (directory.Group, error) {
	g, err := s.Client.Group(ctx, id)
	return directory.Group{ID: g.ID, Name: g.Profile.Name}, told(err, "")
}

func (s Source) GroupsOf(ctx context.Context, id string) (out []directory.Group, err error) {
	for g, err := range s.Client.UserGroups(ctx, id) {
		if err != nil {
			return nil, told(err, "")
		}
		out = append(out, directory.Group{ID: g.ID, Name: g.Profile.Name})
	}
	return out, nil
}

func (s Source) Log(ctx context.Context, cursor string, since time.Time) (directory.Changes, error) {
	var page syslog.Page
	var err error
	if s.Shared != nil {
		page, err = s.Shared.After(ctx, cursor, since, s.Age)
	} else {
		page.Events, page.Next, err = s.Client.Logs(ctx, cursor, since, filter)
	}
	if errors.Is(err, syslog.ErrCursor) {
		return directory.Changes{}, fmt.Errorf("%w: %w", directory.ErrCursor, err)
	}
	if err != nil {
		return directory.Changes{}, told(err, cursor)
	}
	out := directory.Changes{List: make([]directory.Change, 0, len(page.Events)), Next: page.Next, AsOf: page.AsOf}
	for i := range page.Events {
		out.List = append(out.List, changes(&page.Events[i])...)
	}
	return out, nil
}

func user(u *okta.User) directory.User {
	return directory.User{ID: u.ID, Login: u.Profile.Login, Status: u.Status, Active: u.Active(), Profile: u.Profile.All}
}

// changes is what an event means; at least one, so that a page of events is never taken for an empty one.
func changes(e *okta.LogEvent) (out []directory.Change) {
	var users, groups []string
	for _, t := range e.Target {
		switch t.Type {
		case "User":
			users = append(users, t.ID)
		case "UserGroup":
			groups = append(groups, t.ID)
		}
	}
	add := func(kind directory.ChangeKind, user, group string) {
		out = append(out, directory.Change{Kind: kind, User: user, Group: group, At: e.Published})
	}
	kind := directory.Joined
	switch {
	case e.Outcome.Result != "SUCCESS":
	case e.EventType == "group.user_membership.remove":
		kind = directory.Left
		fallthrough
	case e.EventType == "group.user_membership.add":
		for _, g := range groups {
			for _, u := range users {
				add(kind, u, g)
			}
		}
	case strings.HasPrefix(e.EventType, "user."):
		for _, u := range users {
			add(directory.UserChanged, u, "")
		}
	case strings.HasPrefix(e.EventType, "group."):
		for _, g := range groups {
			add(directory.GroupChanged, "", g)
		}
	}
	if len(out) == 0 {
		add(directory.Elsewhere, "", "")
	}
	return out
}

// told is an error in the directory's terms.
func told(err error, cursor string) error {
	switch {
	case okta.IsNotFound(err):
		return fmt.Errorf("%w: %w", directory.ErrGone, err)
	case okta.IsBadRequest(err) && cursor != "":
		return fmt.Errorf("%w: %w", directory.ErrCursor, err)
	}
	return err
}
