package okta

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// Group is a group of people.
type Group struct {
	ID      string `json:"id"`
	Type    string `json:"type"` // OKTA_GROUP, APP_GROUP or BUILT_IN; only the first can be changed
	Profile struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"profile"`
}

// Group finds one group by id.
func (c *Client) Group(ctx context.Context, id string) (Group, error) {
	var g Group
	_, err := c.do(ctx, http.MethodGet, "/api/v1/groups/"+url.PathEscape(id), nil, nil, &g)
	return g, err
}

// GroupNamed finds a group by its exact name. Without one the error satisfies IsNotFound.
func (c *Client) GroupNamed(ctx context.Context, name string) (Group, error) {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	for g, err := range pages[Group](ctx, c, "/api/v1/groups", url.Values{"search": {"profile.name eq " + quoted}, "limit": {"200"}}) {
		if err != nil {
			return Group{}, err
		}
		if g.Profile.Name == name { // the search does not tell upper from lower case
			return g, nil
		}
	}
	return Group{}, &Error{Status: http.StatusNotFound, Method: http.MethodGet, Path: "/api/v1/groups", Summary: fmt.Sprintf("there is no group named %q", clip(name))}
}

// Groups yields all groups whose name begins with prefix.
func (c *Client) Groups(ctx context.Context, prefix string) iter.Seq2[Group, error] {
	q := url.Values{"limit": {"200"}}
	if prefix != "" {
		q.Set("q", prefix)
	}
	return pages[Group](ctx, c, "/api/v1/groups", q)
}

// GroupsPage is a page of all groups.
func (c *Client) GroupsPage(ctx context.Context, cursor Cursor) ([]Group, Cursor, error) {
	return pageAt[Group](ctx, c, "/api/v1/groups", url.Values{"limit": {"1000"}}, cursor)
}

// MembersPage is a page of the people in a group.
func (c *Client) MembersPage(ctx context.Context, groupID string, cursor Cursor) ([]User, Cursor, error) {
	return pageAt[User](ctx, c, "/api/v1/groups/"+url.PathEscape(groupID)+"/users", url.Values{"limit": {"1000"}}, cursor)
}

// CreateGroup makes a group.
func (c *Client) CreateGroup(ctx context.Context, name, description string) (Group, error) {
	var in, out Group
	in.Profile.Name, in.Profile.Description = name, description
	_, err := c.do(ctx, http.MethodPost, "/api/v1/groups", nil, map[string]any{"profile": in.Profile}, &out)
	return out, err
}

// DeleteGroup removes a group and its memberships.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodDelete, "/api/v1/groups/"+url.PathEscape(id), nil, nil, nil)
	return err
}

// Members yields the people in a group.
func (c *Client) Members(ctx context.Context, groupID string) iter.Seq2[User, error] {
	return pages[User](ctx, c, "/api/v1/groups/"+url.PathEscape(groupID)+"/users", url.Values{"limit": {"200"}})
}

// AddMember puts a person into a group; it is no error if they are in it.
func (c *Client) AddMember(ctx context.Context, groupID, userID string) error {
	_, err := c.do(ctx, http.MethodPut, member(groupID, userID), nil, nil, nil)
	return err
}

// RemoveMember takes a person out of a group; it is no error if they are not in it.
func (c *Client) RemoveMember(ctx context.Context, groupID, userID string) error {
	_, err := c.do(ctx, http.MethodDelete, member(groupID, userID), nil, nil, nil)
	return err
}

func member(groupID, userID string) string {
	return "/api/v1/groups/" + url.PathEscape(groupID) + "/users/" + url.PathEscape(userID)
}
