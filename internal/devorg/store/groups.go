package store

import "time"

// Okta's group types that the development org uses.
const (
	OktaGroup    = "OKTA_GROUP"
	BuiltInGroup = "BUILT_IN"
)

// Group is a named set of people.
type Group struct {
	ID, Type, Name, Description string

	Created, LastUpdated, LastMembershipUpdated time.Time
}

const groupColumns = `g.id, g.type, g.name, g.description, g.created, g.last_updated, g.last_membership_updated`

func scanGroup(s scanner) (Group, error) {
	var g Group
	var created, updated, members int64
	err := s.Scan(&g.ID, &g.Type, &g.Name, &g.Description, &created, &updated, &members)
	g.Created, g.LastUpdated, g.LastMembershipUpdated = fromMillis(created), fromMillis(updated), fromMillis(members)
	return g, err
}

// Group finds a group by id.
func (t *Tx) Group(id string) (Group, error) {
	return one(t, scanGroup, `SELECT `+groupColumns+` FROM groups g WHERE g.id = ?`, id)
}

// GroupByName finds a group by its exact name.
func (t *Tx) GroupByName(name string) (Group, error) {
	return one(t, scanGroup, `SELECT `+groupColumns+` FROM groups g WHERE g.name = ?`, name)
}

// Groups lists all groups with an id greater than after, in id order.
func (t *Tx) Groups(after string) ([]Group, error) {
	return many(t, scanGroup, `SELECT `+groupColumns+` FROM groups g WHERE g.id > ? ORDER BY g.id`, after)
}

// PutGroup inserts or replaces a group. ErrExists: another group has the name.
func (t *Tx) PutGroup(g Group) error {
	return t.exec(`INSERT INTO groups (id, type, name, description, created, last_updated, last_membership_updated) VALUES (?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET type=excluded.type, name=excluded.name, description=excluded.description, created=excluded.created,
 last_updated=excluded.last_updated, last_membership_updated=excluded.last_membership_updated`,
		g.ID, g.Type, g.Name, g.Description, millis(g.Created), millis(g.LastUpdated), millis(g.LastMembershipUpdated))
}

// DeleteGroup removes a group and its memberships.
func (t *Tx) DeleteGroup(id string) error { return t.change(`DELETE FROM groups WHERE id = ?`, id) }

// AddMember puts a person into a group and says whether that changed anything.
func (t *Tx) AddMember(groupID, userID string, now time.Time) (bool, error) {
	n, err := t.count(`INSERT INTO members (group_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING`, groupID, userID)
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.touchMembers(groupID, now)
}

// Join puts a person into groups, without telling when.
func (t *Tx) Join(userID string, groupIDs []string) error {
	for _, g := range groupIDs {
		if err := t.exec(`INSERT INTO members (group_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING`, g, userID); err != nil {
			return err
		}
	}
	return nil
}

// RemoveMember takes a person out of a group and says whether that changed anything.
func (t *Tx) RemoveMember(groupID, userID string, now time.Time) (bool, error) {
	n, err := t.count(`DELETE FROM members WHERE group_id = ? AND user_id = ?`, groupID, userID)
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.touchMembers(groupID, now)
}

func (t *Tx) touchMembers(groupID string, now time.Time) error {
	return t.exec(`UPDATE groups SET last_membership_updated = ? WHERE id = ?`, millis(now), groupID)
}

// MembersAfter lists up to limit people of a group with an id greater than after, in id order.
func (t *Tx) MembersAfter(groupID, after string, limit int) ([]User, error) {
	return many(t, scanUser, `SELECT `+userColumns+` FROM users JOIN (SELECT user_id FROM members WHERE group_id = ? AND user_id > ? ORDER BY user_id LIMIT ?) ON user_id = id ORDER BY id`, groupID, after, limit)
}

// GroupsOf lists the groups of a person in name order.
func (t *Tx) GroupsOf(userID string) ([]Group, error) {
	return many(t, scanGroup, `SELECT `+groupColumns+` FROM groups g JOIN members m ON m.group_id = g.id WHERE m.user_id = ? ORDER BY g.name`, userID)
}
