package devorg

import (
	"net/http"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

func (o *Org) showAppGroup(a store.AppGroup) any {
	app, group := o.base.String()+"/api/v1/apps/"+a.AppID, o.base.String()+"/api/v1/groups/"+a.GroupID
	return map[string]any{
		"id": a.GroupID, "priority": a.Priority, "lastUpdated": stamp(a.LastUpdated), "profile": map[string]any{},
		"_links": map[string]any{"app": map[string]any{"href": app}, "group": map[string]any{"href": group}, "self": map[string]any{"href": app + "/groups/" + a.GroupID}},
	}
}

// listAppGroups serves GET /api/v1/apps/{id}/groups.
func (o *Org) listAppGroups(c *call) error {
	p, err := c.paging(20, 200)
	if err != nil {
		return err
	}
	var all []store.AppGroup
	err = o.view(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err == nil {
			all, err = tx.AppGroups(a.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	later := func(a store.AppGroup) bool { return a.GroupID > p.after }
	c.json(http.StatusOK, pageOf(c, p, all, func(a store.AppGroup) string { return a.GroupID }, later, o.showAppGroup))
	return nil
}

// assignGroup serves PUT /api/v1/apps/{id}/groups/{groupId}: its members may use the app.
func (o *Org) assignGroup(c *call) error {
	var in struct {
		Priority int `json:"priority"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	var row store.AppGroup
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		g, err := pathGroup(tx, c)
		if err != nil {
			return err
		}
		row = store.AppGroup{AppID: a.ID, GroupID: g.ID, Priority: in.Priority, LastUpdated: c.now}
		if err := tx.PutAppGroup(row); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "group.application_assignment.add", message: "Add assigned application to group", actor: c.api.party, targets: []logParty{groupParty(g), appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showAppGroup(row))
	return nil
}

// unassignGroup serves DELETE /api/v1/apps/{id}/groups/{groupId}.
func (o *Org) unassignGroup(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		g, err := pathGroup(tx, c)
		if err != nil {
			return err
		}
		if err := tx.DeleteAppGroup(a.ID, g.ID); err != nil {
			return orMissing(err, printable(g.ID), "ApplicationGroupAssignment")
		}
		return o.record(tx, c, event{kind: "group.application_assignment.remove", message: "Remove assigned application from group", actor: c.api.party, targets: []logParty{groupParty(g), appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// updateGroup serves PUT /api/v1/groups/{id}: its name and description.
func (o *Org) updateGroup(c *call) error {
	var in groupInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	var g store.Group
	err := o.update(c.r.Context(), func(tx *store.Tx) (err error) {
		if g, err = changeableGroup(tx, c.r.PathValue("group")); err != nil {
			return err
		}
		g.Name, g.Description, g.LastUpdated = in.Profile.Name, in.Profile.Description, c.now
		if err := groupTaken(tx.PutGroup(g)); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "group.profile.update", message: "Update Okta group", actor: c.api.party, targets: []logParty{groupParty(g)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showGroup(g))
	return nil
}
