package store

import "time"

// AppGroup lets the members of a group use an app.
type AppGroup struct {
	AppID, GroupID string
	Priority       int
	LastUpdated    time.Time
}

func scanAppGroup(s scanner) (AppGroup, error) {
	var a AppGroup
	var updated int64
	err := s.Scan(&a.AppID, &a.GroupID, &a.Priority, &updated)
	a.LastUpdated = fromMillis(updated)
	return a, err
}

// AppGroups lists the groups whose members may use an app, by group id.
func (t *Tx) AppGroups(appID string) ([]AppGroup, error) {
	return many(t, scanAppGroup, `SELECT app_id, group_id, priority, last_updated FROM app_groups WHERE app_id = ? ORDER BY group_id`, appID)
}

// PutAppGroup assigns a group to an app.
func (t *Tx) PutAppGroup(a AppGroup) error {
	return t.exec(`INSERT INTO app_groups (app_id, group_id, priority, last_updated) VALUES (?,?,?,?)
ON CONFLICT (app_id, group_id) DO UPDATE SET priority=excluded.priority, last_updated=excluded.last_updated`, a.AppID, a.GroupID, a.Priority, millis(a.LastUpdated))
}

// DeleteAppGroup ends an assignment.
func (t *Tx) DeleteAppGroup(appID, groupID string) error {
	return t.change(`DELETE FROM app_groups WHERE app_id = ? AND group_id = ?`, appID, groupID)
}

// ClientRole is a standard admin role that a service app has.
type ClientRole struct {
	ID, AppID, Type string
	Created         time.Time
}

func scanClientRole(s scanner) (ClientRole, error) {
	var r ClientRole
	var created int64
	err := s.Scan(&r.ID, &r.AppID, &r.Type, &created)
	r.Created = fromMillis(created)
	return r, err
}

// ClientRoles lists an app's roles in the order in which they were given.
func (t *Tx) ClientRoles(appID string) ([]ClientRole, error) {
	return many(t, scanClientRole, `SELECT id, app_id, type, created FROM client_roles WHERE app_id = ? ORDER BY created, id`, appID)
}

// AddClientRole gives an app a role. ErrExists: it has it.
func (t *Tx) AddClientRole(r ClientRole) error {
	return t.exec(`INSERT INTO client_roles (id, app_id, type, created) VALUES (?,?,?,?)`, r.ID, r.AppID, r.Type, millis(r.Created))
}

// DeleteClientRole takes a role back.
func (t *Tx) DeleteClientRole(appID, id string) error {
	return t.change(`DELETE FROM client_roles WHERE app_id = ? AND id = ?`, appID, id)
}
