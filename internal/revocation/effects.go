package revocation

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Lanes of the outbox. Each keeps its order, and none waits for another: a record that can't be written must not keep a bar from the gates.
const (
	laneFeed   = "feed"
	laneRecord = "record"
	laneEnd    = "end"
	laneKeep   = "keep"
)

// row is one thing to be done, durable before it is done, and done at least once: ids make twice once.
type row struct {
	lane  string
	Event *standing.Event `json:"event,omitempty"`
	Entry *audit.Entry    `json:"entry,omitempty"`
	End   *ending         `json:"end,omitempty"`
	Lost  *Loss           `json:"lost,omitempty"`
	Back  *Loss           `json:"back,omitempty"`

	Source   string    `json:"source,omitempty"` // of the signal behind it
	Happened time.Time `json:"happened,omitzero"`
}

type ending struct{ Principal, Why string }

func (o *row) insert(ctx context.Context, tx *sql.Tx) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (lane, raw) VALUES (?, ?)`, o.lane, string(raw))
	return err
}

// principals are what a person is called by the tokens of each issuer.
func (r *Revoker) principals(uid string) (out []string) {
	for _, issuer := range r.cfg.Issuers {
		c := identity.Claims{Kind: identity.User, Issuer: issuer, ID: uid}
		out = append(out, c.Principal())
	}
	return out
}

// barID names one of a principal's bars. There is one of each sort at a time: a later one takes its place.
func barID(principal, sort string) string { return "okta/" + short(principal) + "/" + sort }

func (d *derivation) bar(sort string, b standing.Bar, event string, cause Signal, effect string) {
	for _, p := range d.r.principals(d.uid) {
		one := b
		one.ID, one.Principal, one.Source = barID(p, sort), p, cause.Source
		d.publish(cause, standing.Event{Kind: standing.EventBar, At: d.at, Bar: &one})
		d.record(audit.KindRevocation, p, cause, map[string]string{"event": event, "bar": one.ID, "effect": effect})
		if l := d.loss(p, event, cause); b.Group == "" {
			d.keep(row{Lost: &l})
		}
	}
}

func (d *derivation) unbar(sort string, cause Signal, effect string) {
	for _, p := range d.r.principals(d.uid) {
		d.publish(Signal{}, standing.Event{Kind: standing.EventUnbar, At: d.at, Bar: &standing.Bar{ID: barID(p, sort)}})
		d.record(audit.KindRevocation, p, cause, map[string]string{"event": "lifted", "bar": barID(p, sort), "effect": effect})
		if l := d.loss(p, "lifted", cause); sort == "status" {
			d.keep(row{Back: &l})
		}
	}
}

func (d *derivation) loss(principal, reason string, cause Signal) Loss {
	return Loss{Principal: principal, Login: d.k.Login, Reason: reason, Source: cause.Source, SourceEvent: cause.ID, At: cause.At}
}

// keep lets whoever looks after runs know.
func (d *derivation) keep(o row) {
	if d.r.cfg.Keeper != nil {
		o.lane = laneKeep
		d.rows = append(d.rows, o)
	}
}

// end takes back what was lent to the person.
func (d *derivation) end(why string) {
	if d.r.cfg.Ender == nil {
		return
	}
	for _, p := range d.r.principals(d.uid) {
		d.rows = append(d.rows, row{lane: laneEnd, End: &ending{p, why}})
	}
}

// note records what the directory's own log says.
func (d *derivation) note(s Signal) {
	switch s.Kind {
	case SignedOut, Cleared, Credentials:
		return // recorded as revocations
	}
	for _, p := range d.r.principals(d.uid) {
		d.record(audit.KindDirectory, p, s, map[string]string{"event": string(s.Kind)})
	}
}

func (d *derivation) record(kind audit.Kind, principal string, cause Signal, detail map[string]string) {
	detail["subject"], detail["login"], detail["group"] = principal, d.k.Login, cause.Group
	detail["source"], detail["source_event"] = cause.Source, cause.ID
	if !cause.At.IsZero() {
		detail["source_time"] = cause.At.UTC().Format(time.RFC3339Nano)
	}
	for name, value := range detail {
		if value == "" {
			delete(detail, name)
		}
	}
	d.rows = append(d.rows, row{lane: laneRecord, Entry: &audit.Entry{ID: uuid.Must(uuid.NewV7()).String(), Time: d.r.cfg.Clock().UTC(), Kind: kind, Detail: detail}})
}

// publish queues an event under an id of its own: published again after a crash it is the same event.
func (d *derivation) publish(cause Signal, e standing.Event) {
	e.ID = "okta/" + uuid.NewString()
	d.rows = append(d.rows, row{lane: laneFeed, Event: &e, Source: cause.Source, Happened: cause.At})
}
