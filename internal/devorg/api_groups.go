package devorg

import (
	"errors"
	"net/http"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// showGroup is Okta's Group object.
func (o *Org) showGroup(g store.Group) any {
	self := o.base.String() + "/api/v1/groups/" + g.ID
	var description *string
	if g.Description != "" {
		description = &g.Description
	}
	return map[string]any{
		"id": g.ID, "type": g.Type, "created": stamp(g.Created), "lastUpdated": stamp(g.LastUpdated), "lastMembershipUpdated": stamp(g.LastMembershipUpdated),
		"objectClass": []string{"okta:user_group"}, "profile": map[string]any{"name": g.Name, "description": description},
		"_links": map[string]any{"users": map[string]any{"href": self + "/users"}, "apps": map[string]any{"href": self + "/apps"}},
	}
}

func groupAttribute(g store.Group) func(string) []string {
	return func(name string) []string {
		switch name {
		case "id":
			return []string{g.ID}
		case "type":
			return []string{g.Type}
		case "profile.name":
			return []string{g.Name}
		case "lastUpdated":
			return []string{stamp(g.LastUpdated)}
		case "lastMembershipUpdated":
			return []string{stamp(g.LastMembershipUpdated)}
		}
		return nil
	}
}

// listGroups serves GET /api/v1/groups with q (the start of the name), search or filter.
func (o *Org) listGroups(c *call) error {
	p, err := c.paging(10000, 10000)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	expression := q.Get("search")
	if expression == "" {
		expression = q.Get("filter")
	}
	match, err := parseFilter(expression)
	if err != nil {
		return invalid("search", "search: "+err.Error())
	}
	start := strings.ToLower(q.Get("q"))
	keep := func(g store.Group) bool {
		return match(groupAttribute(g)) && strings.HasPrefix(strings.ToLower(g.Name), start)
	}
	var groups []store.Group
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { groups, err = tx.Groups(p.after); return err }); err != nil {
		return err
	}
	c.json(http.StatusOK, pageOf(c, p, groups, func(g store.Group) string { return g.ID }, keep, o.showGroup))
	return nil
}

// getGroup serves GET /api/v1/groups/{id}.
func (o *Org) getGroup(c *call) error {
	var g store.Group
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { g, err = pathGroup(tx, c); return err }); err != nil {
		return err
	}
	c.json(http.StatusOK, o.showGroup(g))
	return nil
}

func pathGroup(tx *store.Tx, c *call) (store.Group, error) {
	g, err := tx.Group(c.r.PathValue("group"))
	return g, orMissing(err, printable(c.r.PathValue("group")), "UserGroup")
}

// groupInput is what a group is made of.
type groupInput struct {
	Profile struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"profile"`
}

func (in *groupInput) check() error {
	if name := in.Profile.Name; strings.TrimSpace(name) == "" || len(name) > 255 {
		return invalid("name", "name: The field must have 1 to 255 characters")
	}
	return nil
}

// groupTaken is Okta's answer where another group has the name.
func groupTaken(err error) error {
	if errors.Is(err, store.ErrExists) {
		return invalid("name", "name: An object with this field already exists in the current organization")
	}
	return err
}

// createGroup serves POST /api/v1/groups.
func (o *Org) createGroup(c *call) error {
	var in groupInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	g := store.Group{ID: newID("00g"), Type: store.OktaGroup, Name: in.Profile.Name, Description: in.Profile.Description, Created: c.now, LastUpdated: c.now, LastMembershipUpdated: c.now}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		if err := groupTaken(tx.PutGroup(g)); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "group.lifecycle.create", message: "Create Okta group", actor: c.api.party, targets: []logParty{groupParty(g)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showGroup(g))
	return nil
}

// deleteGroup serves DELETE /api/v1/groups/{id}.
func (o *Org) deleteGroup(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		g, err := changeableGroup(tx, c.r.PathValue("group"))
		if err != nil {
			return err
		}
		if err := tx.DeleteGroup(g.ID); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "group.lifecycle.delete", message: "Delete Okta group", actor: c.api.party, targets: []logParty{groupParty(g)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// changeableGroup finds a group that may be changed: not the built-in one.
func changeableGroup(tx *store.Tx, id string) (store.Group, error) {
	g, err := tx.Group(id)
	if err != nil {
		return g, orMissing(err, printable(id), "UserGroup")
	}
	if g.Type == store.BuiltInGroup {
		return g, notAllowed("You do not have permission to perform the requested action")
	}
	return g, nil
}

// listMembers serves GET /api/v1/groups/{id}/users.
func (o *Org) listMembers(c *call) error {
	p, err := c.paging(1000, 1000)
	if err != nil {
		return err
	}
	var users []store.User
	err = o.view(c.r.Context(), func(tx *store.Tx) error {
		g, err := pathGroup(tx, c)
		if err == nil {
			users, err = tx.MembersAfter(g.ID, p.after, p.limit+1)
		}
		return err
	})
	if err != nil {
		return err
	}
	all := func(store.User) bool { return true }
	c.json(http.StatusOK, pageOf(c, p, users, func(u store.User) string { return u.ID }, all, o.showUser))
	return nil
}

// addMember serves PUT /api/v1/groups/{id}/users/{uid}. Adding someone twice changes and logs nothing.
func (o *Org) addMember(c *call) error {
	return o.changeMember(c, func(tx *store.Tx, u store.User) error { return o.join(tx, c, c.r.PathValue("group"), u) })
}

// join puts a person into a group and logs it if that changed anything.
func (o *Org) join(tx *store.Tx, c *call, groupID string, u store.User) error {
	g, err := changeableGroup(tx, groupID)
	if err != nil {
		return err
	}
	changed, err := tx.AddMember(g.ID, u.ID, c.now)
	if err != nil || !changed {
		return err
	}
	return o.record(tx, c, event{kind: "group.user_membership.add", message: "Add user to group membership", actor: c.api.party, targets: []logParty{userParty(u), groupParty(g)}})
}

// removeMember serves DELETE /api/v1/groups/{id}/users/{uid}.
func (o *Org) removeMember(c *call) error {
	return o.changeMember(c, func(tx *store.Tx, u store.User) error {
		g, err := changeableGroup(tx, c.r.PathValue("group"))
		if err != nil {
			return err
		}
		changed, err := tx.RemoveMember(g.ID, u.ID, c.now)
		if err != nil || !changed {
			return err
		}
		return o.record(tx, c, event{kind: "group.user_membership.remove", message: "Remove user from group membership", actor: c.api.party, targets: []logParty{userParty(u), groupParty(g)}})
	})
}

func (o *Org) changeMember(c *call, change func(*store.Tx, store.User) error) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		u, err := tx.User(c.r.PathValue("user"))
		if err != nil {
			return orMissing(err, printable(c.r.PathValue("user")), "User")
		}
		return change(tx, u)
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
