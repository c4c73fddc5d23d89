package store

import "time"

// Kinds of what an authorization server is made of.
const (
	ScopePart  = "scope"
	ClaimPart  = "claim"
	PolicyPart = "policy"
	RulePart   = "rule" // its parent is its policy
)

// ServerPart is a scope, claim, policy or rule of an authorization server.
type ServerPart struct {
	ID, AuthServer, Kind string
	Parent               string // the policy of a rule; "" otherwise
	Slot                 string // what there can be only one of: a name, for claims with the type of the token
	Status               string
	Priority             int    // from 1; of policies, and of rules within one
	Doc                  string // JSON; what it says is the caller's

	Created, LastUpdated time.Time
}

const serverPartColumns = `id, as_id, kind, parent, slot, status, priority, doc, created, last_updated`

func scanServerPart(s scanner) (ServerPart, error) {
	var p ServerPart
	var created, updated int64
	err := s.Scan(&p.ID, &p.AuthServer, &p.Kind, &p.Parent, &p.Slot, &p.Status, &p.Priority, &p.Doc, &created, &updated)
	p.Created, p.LastUpdated = fromMillis(created), fromMillis(updated)
	return p, err
}

// ServerParts lists what a server is made of, by priority and then in the order in which it was made.
func (t *Tx) ServerParts(as string) ([]ServerPart, error) {
	return many(t, scanServerPart, `SELECT `+serverPartColumns+` FROM as_parts WHERE as_id = ? ORDER BY priority, created, rowid`, as)
}

// ServerPart finds one by id and kind.
func (t *Tx) ServerPart(as, kind, id string) (ServerPart, error) {
	return one(t, scanServerPart, `SELECT `+serverPartColumns+` FROM as_parts WHERE as_id = ? AND kind = ? AND id = ?`, as, kind, id)
}

// PutServerPart inserts or replaces one. ErrExists: another has the slot.
func (t *Tx) PutServerPart(p ServerPart) error {
	return t.exec(`INSERT INTO as_parts (`+serverPartColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET slot=excluded.slot, status=excluded.status, priority=excluded.priority, doc=excluded.doc, last_updated=excluded.last_updated`,
		p.ID, p.AuthServer, p.Kind, p.Parent, p.Slot, p.Status, p.Priority, p.Doc, millis(p.Created), millis(p.LastUpdated))
}
