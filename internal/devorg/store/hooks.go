package store

import (
	"encoding/json"
	"time"
)

// Verification states of an event hook.
const (
	Unverified = "UNVERIFIED"
	Verified   = "VERIFIED"
)

// EventHook is an address that events of some types are sent to.
type EventHook struct {
	ID, Name, Status, Verification string
	URI                            string
	AuthKey, AuthValue             string // a header, and what it holds
	Types                          []string
	CreatedBy                      string
	Created, LastUpdated           time.Time
}

const hookColumns = `id, name, status, verification, uri, auth_key, auth_value, types, created_by, created, last_updated`

func scanHook(s scanner) (EventHook, error) {
	var h EventHook
	var types string
	var created, updated int64
	if err := s.Scan(&h.ID, &h.Name, &h.Status, &h.Verification, &h.URI, &h.AuthKey, &h.AuthValue, &types, &h.CreatedBy, &created, &updated); err != nil {
		return h, err
	}
	h.Created, h.LastUpdated = fromMillis(created), fromMillis(updated)
	return h, json.Unmarshal([]byte(types), &h.Types)
}

// EventHook finds a hook by id.
func (t *Tx) EventHook(id string) (EventHook, error) {
	return one(t, scanHook, `SELECT `+hookColumns+` FROM event_hooks WHERE id = ?`, id)
}

// EventHooks lists all hooks, in id order.
func (t *Tx) EventHooks() ([]EventHook, error) {
	return many(t, scanHook, `SELECT `+hookColumns+` FROM event_hooks ORDER BY id`)
}

// PutEventHook inserts or replaces a hook.
func (t *Tx) PutEventHook(h EventHook) error {
	types, err := json.Marshal(h.Types)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO event_hooks (`+hookColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET name=excluded.name, status=excluded.status, verification=excluded.verification, uri=excluded.uri, auth_key=excluded.auth_key,
 auth_value=excluded.auth_value, types=excluded.types, last_updated=excluded.last_updated`,
		h.ID, h.Name, h.Status, h.Verification, h.URI, h.AuthKey, h.AuthValue, string(types), h.CreatedBy, millis(h.Created), millis(h.LastUpdated))
}

// DeleteEventHook removes a hook and what is queued for it.
func (t *Tx) DeleteEventHook(id string) error {
	return t.change(`DELETE FROM event_hooks WHERE id = ?`, id)
}

// Delivery is an event on its way to a hook. It is queued in the transaction of what it tells of.
type Delivery struct {
	ID    int64
	Hook  string
	Event []byte // the LogEvent as JSON
}

func scanDelivery(s scanner) (Delivery, error) {
	var d Delivery
	var event string
	err := s.Scan(&d.ID, &d.Hook, &event)
	d.Event = []byte(event)
	return d, err
}

// AddDelivery queues an event for a hook.
func (t *Tx) AddDelivery(hook string, event []byte) error {
	return t.exec(`INSERT INTO deliveries (hook_id, event) VALUES (?,?)`, hook, string(event))
}

// Deliveries lists what is queued after an id, oldest first.
func (t *Tx) Deliveries(after int64, limit int) ([]Delivery, error) {
	return many(t, scanDelivery, `SELECT id, hook_id, event FROM deliveries WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
}

// DeleteDelivery takes a delivery off the queue.
func (t *Tx) DeleteDelivery(id int64) error { return t.exec(`DELETE FROM deliveries WHERE id = ?`, id) }
