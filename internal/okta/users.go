package okta

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// User is a person as the org knows them.
type User struct {
	ID          string    `json:"id"`
	Status      string    `json:"status"` // STAGED, PROVISIONED, ACTIVE, RECOVERY, PASSWORD_EXPIRED, LOCKED_OUT, SUSPENDED or DEPROVISIONED
	LastUpdated time.Time `json:"lastUpdated"`
	Profile     Profile   `json:"profile"`
}

// Profile is a person's attributes.
type Profile struct {
	Login string
	Email string
	All   map[string]json.RawMessage // every attribute, the two above and custom ones included, by its variable name
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Profile) UnmarshalJSON(raw []byte) error {
	*p = Profile{}
	if err := json.Unmarshal(raw, &p.All); err != nil {
		return err
	}
	for name, into := range map[string]*string{"login": &p.Login, "email": &p.Email} {
		if v, has := p.All[name]; has {
			if err := json.Unmarshal(v, into); err != nil {
				return fmt.Errorf("profile.%s: %w", name, err)
			}
		}
	}
	return nil
}

// Active reports whether the person may sign in at all. A state that this program does not know is not active.
func (u *User) Active() bool {
	switch u.Status {
	case "ACTIVE", "RECOVERY", "PASSWORD_EXPIRED", "LOCKED_OUT", "PROVISIONED":
		return true
	}
	return false
}

// User finds one person by id or login.
func (c *Client) User(ctx context.Context, idOrLogin string) (User, error) {
	var u User
	_, err := c.do(ctx, http.MethodGet, "/api/v1/users/"+url.PathEscape(idOrLogin), nil, nil, &u)
	return u, err
}

// Users yields people by Okta's search expression, deprovisioned ones included; an empty one means everybody who is not deprovisioned.
func (c *Client) Users(ctx context.Context, search string) iter.Seq2[User, error] {
	q := url.Values{"limit": {"200"}}
	if search != "" {
		q.Set("search", search)
	}
	return pages[User](ctx, c, "/api/v1/users", q)
}

// UsersPage is a page of people in Okta's order, deprovisioned ones included: of those changed at since or after it, of everybody where it is zero. A
// search is answered from an index that may be some seconds behind.
func (c *Client) UsersPage(ctx context.Context, since time.Time, cursor Cursor) ([]User, Cursor, error) {
	q := url.Values{"limit": {"200"}, "search": {`lastUpdated ge "` + stamp(since) + `"`}}
	return pageAt[User](ctx, c, "/api/v1/users", q, cursor)
}

// stamp is a time as Okta writes it; the zero time is 1970.
func stamp(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// UserGroups yields the groups that a person is in.
func (c *Client) UserGroups(ctx context.Context, userID string) iter.Seq2[Group, error] {
	return pages[Group](ctx, c, "/api/v1/users/"+url.PathEscape(userID)+"/groups", nil)
}

// EndSessions signs a person out everywhere and revokes the tokens of OAuth apps.
func (c *Client) EndSessions(ctx context.Context, userID string) error {
	_, err := c.do(ctx, http.MethodDelete, "/api/v1/users/"+url.PathEscape(userID)+"/sessions", url.Values{"oauthTokens": {"true"}}, nil, nil)
	return err
}

// Deactivate takes somebody out of the org: no sign-in, no app, no session. Their account stays.
func (c *Client) Deactivate(ctx context.Context, userID string) error {
	return c.lifecycle(ctx, userID, "deactivate")
}

// Activate brings back who was deactivated, or lets in who was never active.
func (c *Client) Activate(ctx context.Context, userID string) error {
	return c.lifecycle(ctx, userID, "activate")
}

// Suspend keeps somebody out until Unsuspend.
func (c *Client) Suspend(ctx context.Context, userID string) error {
	return c.lifecycle(ctx, userID, "suspend")
}

// Unsuspend ends a suspension.
func (c *Client) Unsuspend(ctx context.Context, userID string) error {
	return c.lifecycle(ctx, userID, "unsuspend")
}

func (c *Client) lifecycle(ctx context.Context, userID, step string) error {
	var q url.Values
	if step == "activate" {
		q = url.Values{"sendEmail": {"false"}} // Okta writes to the person otherwise
	}
	_, err := c.do(ctx, http.MethodPost, "/api/v1/users/"+url.PathEscape(userID)+"/lifecycle/"+step, q, nil, nil)
	return err
}
