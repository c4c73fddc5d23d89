package correlate

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
)

// Link is one entry that stands behind a decision.
type Link struct {
	What  string    `json:"what"` // "login", "authentication" (a step of the login), "token", "group", "access"
	Index uint64    `json:"index"`
	ID    string    `json:"id"`
	Time  time.Time `json:"time"` // when it happened, as the source says
	By    string    `json:"by"`   // what ties it to the decision: "token id", "session", "login time", "group", "grant", "time"
	Sure  bool      `json:"sure"` // an identifier ties it; else it only fits
	Text  string    `json:"text"`
	Entry string    `json:"source_event,omitempty"` // the provider's id of the event
}

// Chain is what stands behind a decision, the first cause first.
type Chain struct {
	Decision string `json:"decision"`
	Index    uint64 `json:"index"`
	Links    []Link `json:"links"`
}

// Login returns the link to the login, if there is one.
func (c Chain) Login() (Link, bool) {
	i := slices.IndexFunc(c.Links, func(l Link) bool { return l.What == "login" })
	if i < 0 {
		return Link{}, false
	}
	return c.Links[i], true
}

const (
	loginLasts  = 30 * 24 * time.Hour // how long before a decision its login may be
	tokenLasts  = 25 * time.Hour      // and the grant of its token: the longest lifetime at Okta, and clocks
	loginSlack  = 2 * time.Minute     // between a token's auth_time and the login's event
	lookedAt    = 500                 // entries looked at for one link
	memberships = 180 * 24 * time.Hour
)

// Trace finds what stands behind a decision. The provider's log comes late: the login of a decision that was just made may be missing for a
// minute.
func Trace(ctx context.Context, x *index.Index, row index.Row) (Chain, error) {
	e := &row.Entry
	c := Chain{Decision: e.ID, Index: row.Index, Links: []Link{}}
	if e.Actor.Principal == "" {
		return c, nil
	}
	grant, ok, err := tokenGrant(ctx, x, e)
	if err != nil {
		return c, err
	}
	session := ""
	if ok {
		session = grant.session
	}
	login, err := loginOf(ctx, x, e, session)
	if err != nil {
		return c, err
	}
	groups, err := groupsOf(ctx, x, e)
	if err != nil {
		return c, err
	}
	access, err := accessOf(ctx, x, e)
	if err != nil {
		return c, err
	}
	c.Links = append(c.Links, groups...)
	c.Links = append(c.Links, login...)
	if ok {
		c.Links = append(c.Links, grant.Link)
	}
	c.Links = append(c.Links, access...)
	slices.SortStableFunc(c.Links, func(a, b Link) int { return a.Time.Compare(b.Time) })
	return c, nil
}

type grantLink struct {
	Link
	session string
}

// tokenGrant finds the grant of the token by its id, else the newest one to this person and client.
func tokenGrant(ctx context.Context, x *index.Index, e *audit.Entry) (grantLink, bool, error) {
	find := func(f index.Filter, by string, sure bool) (grantLink, bool, error) {
		f.Kind, f.Limit = []audit.Kind{audit.KindDirectory}, lookedAt
		rows, _, err := x.Query(ctx, f)
		for _, r := range rows {
			d := r.Entry.Detail
			if d[detailEvent] != EventGrant || r.Entry.Actor.Principal != e.Actor.Principal || happened(&r.Entry).After(e.Time.Add(loginSlack)) {
				continue
			}
			l := link("token", r, by, sure, "token granted to client "+d["client"])
			if d["scopes"] != "" {
				l.Text += " with scopes " + d["scopes"]
			}
			return grantLink{l, d["session"]}, true, nil
		}
		return grantLink{}, false, err
	}
	if e.Actor.TokenID != "" {
		if l, ok, err := find(index.Filter{Token: []string{e.Actor.TokenID}}, "token id", true); ok || err != nil {
			return l, ok, err
		}
	}
	f := index.Filter{Originator: []string{e.Actor.Principal}, From: e.Time.Add(-tokenLasts), To: e.Time.Add(time.Hour)}
	if e.Actor.ClientID != "" {
		f.Client = []string{e.Actor.ClientID}
	}
	return find(f, "time", false)
}

// loginOf finds the login by the token's session, else by the time at which the token says that it was.
// The steps of it that are known follow it.
func loginOf(ctx context.Context, x *index.Index, e *audit.Entry, session string) ([]Link, error) {
	if !strings.HasPrefix(e.Actor.Principal, "user:") {
		return nil, nil
	}
	at := e.Actor.AuthTime
	f := index.Filter{Originator: []string{e.Actor.Principal}, Kind: []audit.Kind{audit.KindDirectory}, From: e.Time.Add(-loginLasts), To: e.Time.Add(time.Hour), Limit: lookedAt}
	rows, _, err := x.Query(ctx, f) // the newest first
	if err != nil {
		return nil, err
	}
	var inSession, fits, last *index.Row
	// A login stands in Okta's log as the session's start and as steps of it: the start is the login, wherever it is found.
	better := func(have *index.Row, r *index.Row) *index.Row {
		if have == nil || have.Entry.Detail[detailEvent] == EventAuthenticated && r.Entry.Detail[detailEvent] == EventLogin {
			return r
		}
		return have
	}
	for i := range rows {
		r := &rows[i]
		t := happened(&r.Entry)
		if event := r.Entry.Detail[detailEvent]; event != EventLogin && event != EventAuthenticated || t.After(e.Time.Add(loginSlack)) {
			continue
		}
		if session != "" && stepOf(r, session) {
			inSession = better(inSession, r)
		}
		if !at.IsZero() && t.Sub(at).Abs() <= loginSlack {
			fits = better(fits, r)
		}
		last = better(last, r)
	}
	switch {
	case inSession != nil:
		links := []Link{link("login", *inSession, "session", true, "logged in, session "+session)}
		for _, r := range rows {
			if len(links) <= maxSteps && r.Index != inSession.Index && r.Entry.Detail[detailEvent] == EventAuthenticated && stepOf(&r, session) && !happened(&r.Entry).After(e.Time.Add(loginSlack)) {
				links = append(links, link("authentication", r, "session", true, strings.TrimPrefix(r.Entry.Detail["type"], "user.authentication.")))
			}
		}
		return links, nil
	case fits != nil:
		return []Link{link("login", *fits, "login time", false, "logged in at the time that the token states")}, nil
	case last != nil && at.IsZero():
		return []Link{link("login", *last, "time", false, "the last login before it")}, nil
	}
	return nil, nil
}

// maxSteps is how many steps of a login are told.
const maxSteps = 5

// stepOf reports whether an event is of how the session began. Ways from it into applications are not.
func stepOf(r *index.Row, session string) bool {
	return r.Entry.Detail["session"] == session && r.Entry.Detail["type"] != "user.authentication.sso"
}

// groupsOf finds how the person came into the groups of the call's namespace.
func groupsOf(ctx context.Context, x *index.Index, e *audit.Entry) ([]Link, error) {
	var links []Link
	seen := map[string]bool{}
	f := index.Filter{Kind: []audit.Kind{audit.KindDirectory}, From: e.Time.Add(-memberships), To: e.Time.Add(time.Hour), Limit: lookedAt}
	rows, _, err := x.Query(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		d := r.Entry.Detail
		if d["subject"] != e.Actor.Principal || d[detailEvent] != "group_added" || seen[d["group"]] || !slices.Contains(e.Actor.Groups, d["group"]) || happened(&r.Entry).After(e.Time) ||
			e.Resource.Namespace != "" && !strings.Contains(d["group"], e.Resource.Namespace) {
			continue
		}
		seen[d["group"]] = true
		text := "put into group " + d["group"]
		if by := r.Entry.Actor.Login; by != "" {
			text += " by " + by
		}
		links = append(links, link("group", r, "group", true, text))
	}
	return links, nil
}

// accessOf finds the access request behind the grant that was used.
func accessOf(ctx context.Context, x *index.Index, e *audit.Entry) ([]Link, error) {
	if e.Grant == "" {
		return nil, nil
	}
	rows, _, err := x.Query(ctx, index.Filter{Kind: []audit.Kind{audit.KindAccess}, Grant: []string{e.Grant}, Oldest: true, Limit: 50})
	var links []Link
	for _, r := range rows {
		if r.Entry.Grant != e.Grant || r.Entry.Time.After(e.Time.Add(loginSlack)) {
			continue
		}
		text := "access " + r.Entry.Detail[detailEvent]
		if r.Entry.Actor.Login != "" {
			text += " by " + r.Entry.Actor.Login
		}
		if r.Entry.Reason != "" {
			text += ": " + r.Entry.Reason
		}
		links = append(links, link("access", r, "grant", true, text))
	}
	return links, err
}

func link(what string, r index.Row, by string, sure bool, text string) Link {
	return Link{What: what, Index: r.Index, ID: r.Entry.ID, Time: happened(&r.Entry), By: by, Sure: sure, Text: text, Entry: r.Entry.Detail["source_event"]}
}

// happened is when an event was, as its source says.
func happened(e *audit.Entry) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, e.Detail["source_time"]); err == nil {
		return t
	}
	return e.Time
}
