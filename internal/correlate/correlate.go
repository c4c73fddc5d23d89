// Package correlate links decisions to what the identity provider says stands behind them: the login, the grant of the token, and how the person
// came into the groups that counted.
//
// It owns the poller of the provider's own log with its cursor, what of it becomes an entry, and the search for a decision's chain. It refuses to
// know the provider's API, which comes through an interface, and to judge: a link says how sure it is.
package correlate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Event is one event of the identity provider's log.
type Event struct {
	ID      string // the provider's; makes taking it twice harmless
	Type    string // such as "user.session.start"
	At      time.Time
	Success bool
	Actor   Party
	Targets []Party
	Session string            // of the person at the provider
	Debug   map[string]string // such as "clientId", "grantedScopes"
}

// Party is who did something, or to whom or what it was done.
type Party struct{ ID, Type, Login, Name string }

// SystemLog is the provider's log, read forward. An empty cursor begins where the implementation was told to. There is always a next cursor; no
// events means that there are none yet. An error with a method RetryAfter() time.Duration says when to come back, one that wraps ErrCursor that the cursor
// is too old.
type SystemLog interface {
	Page(ctx context.Context, cursor string) (events []Event, next string, err error)
}

// ErrCursor: the provider does not know the cursor any more. The log is read from the beginning again; what was taken has the ids that it had.
var ErrCursor = errors.New("the cursor is not valid any more")

// Config are the settings of a poller.
type Config struct {
	Log    SystemLog
	State  string                                                          // file that keeps the cursor and the events taken last
	Issuer string                                                          // whose tokens name these people: their principal is "user:ISSUER|ID"
	Record func(ctx context.Context, e audit.Entry) (id string, err error) // durable
	// Lifecycle also records who joined, left and changed groups. Leave it out where revocation, which hears of those sooner, records them.
	Lifecycle bool
	Every     time.Duration // between two looks when there is nothing new. Default 10s
	Logger    *slog.Logger  // default discards
}

// keepTaken is how many events are remembered. The provider repeats and reorders within minutes.
const keepTaken = 5000

// state is what the file keeps.
type state struct {
	Version int      `json:"v"`
	Cursor  string   `json:"cursor"`
	Taken   []string `json:"taken"` // the newest last
}

// Poller takes the provider's log into ours.
type Poller struct {
	cfg   Config
	state state
	taken map[string]bool
}

// Open reads where a poller stopped.
func Open(cfg Config) (*Poller, error) {
	if cfg.Log == nil || cfg.Record == nil || cfg.State == "" || cfg.Issuer == "" {
		return nil, errors.New("opening the correlation: log, record, state file and issuer are needed")
	}
	if cfg.Every <= 0 {
		cfg.Every = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Poller{cfg: cfg, state: state{Version: 1}, taken: map[string]bool{}}
	raw, err := os.ReadFile(cfg.State)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the correlation's cursor: %w", err)
	}
	if err := json.Unmarshal(raw, &p.state); err != nil || p.state.Version != 1 {
		return nil, fmt.Errorf("reading the correlation's cursor: %s is not one of version 1; remove it to begin anew: %w", cfg.State, err)
	}
	for _, id := range p.state.Taken {
		p.taken[id] = true
	}
	return p, nil
}

// Run polls until ctx ends. Failures are logged and tried again: the provider is not needed for any decision.
func (p *Poller) Run(ctx context.Context) {
	pause := time.Second
	for ctx.Err() == nil {
		n, err := p.Take(ctx)
		wait := p.cfg.Every
		switch {
		case err != nil && ctx.Err() == nil:
			wait, pause = pause, min(2*pause, 2*time.Minute)
			if later, ok := errors.AsType[interface {
				error
				RetryAfter() time.Duration
			}](err); ok && later.RetryAfter() > 0 {
				wait = later.RetryAfter()
			}
			p.cfg.Logger.WarnContext(ctx, "the identity provider's log could not be read; trying again", "after", wait, "error", err)
		case err == nil:
			pause = time.Second
			if n > 0 {
				continue // there may be more
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// Take takes one page and returns how many events were new. The cursor is kept after their entries are durable: a crash between leaves entries that
// are written again under the same ids.
func (p *Poller) Take(ctx context.Context) (fresh int, err error) {
	events, next, err := p.cfg.Log.Page(ctx, p.state.Cursor)
	if errors.Is(err, ErrCursor) && p.state.Cursor != "" {
		p.cfg.Logger.WarnContext(ctx, "the identity provider does not know any more where its log was read to; it is read again", "error", err)
		events, next, err = p.cfg.Log.Page(ctx, "")
	}
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		if e.ID == "" || p.taken[e.ID] {
			continue
		}
		if entry, ok := p.entry(e); ok {
			if _, err := p.cfg.Record(ctx, entry); err != nil {
				return fresh, fmt.Errorf("recording event %.80q: %w", e.ID, err)
			}
		}
		p.taken[e.ID] = true
		p.state.Taken = append(p.state.Taken, e.ID)
		fresh++
	}
	if fresh == 0 && next == p.state.Cursor {
		return 0, nil
	}
	if over := len(p.state.Taken) - keepTaken; over > 0 {
		for _, id := range p.state.Taken[:over] {
			delete(p.taken, id)
		}
		p.state.Taken = append([]string(nil), p.state.Taken[over:]...)
	}
	p.state.Cursor = next
	raw, err := json.Marshal(p.state)
	if err != nil {
		return fresh, err
	}
	if err := durable.WriteFile(p.cfg.State, raw, 0o600); err != nil {
		return fresh, fmt.Errorf("keeping the correlation's cursor: %w", err)
	}
	return fresh, nil
}

// Names of what an entry of kind directory says in detail "event".
const (
	EventLogin = "login" // a session began
	// EventAuthenticated is one step of a login, such as a factor, or the way into one application: several belong to one login, and are not logins.
	EventAuthenticated = "authenticated"
	EventGrant         = "token_granted"
	detailEvent        = "event"
)

// lifecycles maps the provider's types to ours.
var lifecycles = map[string]string{
	"user.lifecycle.create": "joined", "user.lifecycle.activate": "joined", "user.lifecycle.reactivate": "restored", "user.lifecycle.unsuspend": "restored",
	"user.lifecycle.suspend": "suspended", "user.lifecycle.deactivate": "left", "user.lifecycle.delete.initiated": "left",
	"group.user_membership.add": "group_added", "group.user_membership.remove": "group_removed",
}

// entry says what an event is in our log; false for one that is none of ours.
func (p *Poller) entry(e Event) (audit.Entry, bool) {
	user, isPerson := e.person()
	out := audit.Entry{ID: EntryID(e), Kind: audit.KindDirectory, Detail: map[string]string{
		"source": "system_log", "source_event": e.ID, "source_time": e.At.UTC().Format(time.RFC3339Nano), "session": e.session(), "type": e.Type,
	}}
	if isPerson {
		out.Actor = audit.Party{Principal: "user:" + p.cfg.Issuer + "|" + user.ID, Login: user.Login}
		out.Detail["subject"], out.Detail["login"] = out.Actor.Principal, user.Login
	}
	switch event, lifecycle := lifecycles[e.Type]; {
	case !e.Success:
		return out, false
	case e.Type == "user.session.start":
		out.Detail[detailEvent] = EventLogin
		return out, isPerson
	case strings.HasPrefix(e.Type, "user.authentication.") && e.Type != "user.authentication.universal_logout":
		out.Detail[detailEvent] = EventAuthenticated
		return out, isPerson
	case strings.HasPrefix(e.Type, "app.oauth2.as.token.grant") || strings.HasPrefix(e.Type, "app.oauth2.token.grant"):
		for _, t := range e.Targets {
			if t.Type == "access_token" {
				out.Actor.TokenID = t.ID
			}
		}
		out.Actor.ClientID = e.Debug["clientId"]
		if out.Actor.ClientID == "" {
			out.Actor.ClientID = e.Actor.ID
		}
		if !isPerson {
			out.Actor.Principal = "client:" + p.cfg.Issuer + "|" + out.Actor.ClientID
		}
		out.Detail[detailEvent], out.Detail["token"], out.Detail["client"], out.Detail["scopes"] = EventGrant, out.Actor.TokenID, out.Actor.ClientID, e.Debug["grantedScopes"]
		out.Detail["subject"] = out.Actor.Principal
		drop(out.Detail)
		return out, out.Actor.TokenID != "" // of the tokens granted together, the access token is the one that calls are made with
	case lifecycle && p.cfg.Lifecycle:
		out.Detail[detailEvent] = event
		for _, t := range e.Targets {
			if t.Type == "UserGroup" {
				out.Detail["group"] = t.Name
			}
		}
		// Actor is who did it; whom it happened to is in the detail.
		out.Actor = audit.Party{Login: e.Actor.Login}
		if e.Actor.Type == "User" {
			out.Actor.Principal = "user:" + p.cfg.Issuer + "|" + e.Actor.ID
		}
		drop(out.Detail)
		return out, isPerson
	}
	return out, false
}

func drop(detail map[string]string) {
	for k, v := range detail {
		if v == "" {
			delete(detail, k)
		}
	}
}

// person is the user whom an event is about: the target, or who acted.
func (e Event) person() (Party, bool) {
	for _, t := range e.Targets {
		if t.Type == "User" {
			return t, t.ID != ""
		}
	}
	return e.Actor, e.Actor.Type == "User" && e.Actor.ID != ""
}

func (e Event) session() string {
	if e.Session == "unknown" {
		return ""
	}
	return e.Session
}

// EntryID makes the id of an event's entry: a UUIDv7 of its time, the rest from its own id, so that one event has one id.
func EntryID(e Event) string {
	sum := sha256.Sum256([]byte("bailiwick-correlate|" + e.ID))
	ms := uint64(max(e.At.UnixMilli(), 0))
	b := sum[:16]
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
