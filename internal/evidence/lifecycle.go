package evidence

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// step is one recorded step of something that goes on for longer.
type step struct {
	Ref
	Kind, Event, Subject, Detail string
	Who                          person
}

// request is an access request with all that happened to it.
type request struct {
	ID, Role, Namespace, Actions, Backend string
	Requester                             person
	Reason                                string
	Seconds                               int64
	BreakGlass                            bool
	Grant                                 string
	Asked, Decided, Activated, Reviewed   Ref
	ReviewedBy                            person
	Approvers                             []person
	ApprovalRefs                          []Ref
	Outcome                               string
	Ended                                 Ref
	Expires                               string
	First                                 Ref // the first entry about it
	Uses                                  span
}

// keyEvent is a step in a key's life.
type keyEvent struct {
	Ref
	Gate, Event, Use, KID, Previous string
}

// policyChange is a change of the policy set that a gate follows.
type policyChange struct {
	Ref
	Gate, From, To string
	Refused        bool   // the new set could not be used; the old one stayed
	Added, Removed int    // lines
	Files          []diff // empty when a text was not kept
	Kept           bool
}

// report is a check of the record itself.
type report struct {
	Ref
	From, To          string
	Bypasses, Orphans int
}

// lifecycle takes one entry that is not a decision.
func (f *facts) lifecycle(r Ref, e *audit.Entry) {
	d := e.Detail
	switch e.Kind {
	case audit.KindAccess:
		f.access(r, e)
	case audit.KindRevocation, audit.KindDirectory:
		f.movement(r, e)
	case audit.KindKey:
		f.keys = append(f.keys, keyEvent{r, e.Gate, d["event"], d["use"], d["kid"], d["previous"]})
	case audit.KindGate:
		if kid := d["attestation_key"]; kid != "" && f.gateKeys[e.Gate] != kid {
			f.keys = append(f.keys, keyEvent{r, e.Gate, "in use", "attestation", kid, f.gateKeys[e.Gate]})
			f.gateKeys[e.Gate] = kid
		}
		f.policySet(r, e)
	case audit.KindPolicy:
		f.policySet(r, e)
	case audit.KindReport:
		bypasses, _ := strconv.Atoi(d["bypasses"])
		orphans, _ := strconv.Atoi(d["orphans"])
		f.reports = append(f.reports, report{r, d["from"], d["to"], bypasses, orphans})
	case audit.KindLost:
		f.lost = append(f.lost, r)
	case audit.KindAdmin:
		if l := f.settings.Directory; l != nil && e.ID == l.Entry && d["event"] == "directory_listed" {
			f.listingEntry, f.listingSum = r, d["sha256"]
		}
		f.admin = append(f.admin, step{Ref: r, Kind: string(e.Kind), Event: d["event"], Subject: d["subject"], Who: person{e.Actor.Principal, e.Actor.Login, e.Actor.ClientID}})
	}
}

func (f *facts) policySet(r Ref, e *audit.Entry) {
	digest := e.Detail["policy_digest"]
	if digest == "" {
		return
	}
	was, known := f.inForce[e.Gate]
	refused := e.Detail["error_digest"] != ""
	if known && was == digest && !refused {
		return
	}
	f.inForce[e.Gate] = digest
	f.policies = append(f.policies, &policyChange{Ref: r, Gate: e.Gate, From: was, To: digest, Refused: refused})
	f.sample("CC8.1").offer(r)
}

// access takes one step of an access request.
func (f *facts) access(r Ref, e *audit.Entry) {
	d := e.Detail
	id := d["request"]
	if id == "" {
		id = "grant:" + e.Grant
	}
	q := f.requests[id]
	if q == nil {
		q = &request{ID: id, First: r, Outcome: "open"}
		f.requests[id] = q
		f.requestList = append(f.requestList, q)
	}
	who := person{e.Actor.Principal, e.Actor.Login, e.Actor.ClientID}
	f.name(who)
	if d["requester"] != "" {
		q.Requester = person{Principal: d["requester"], Login: d["requester_login"]}
		f.name(q.Requester)
	}
	set := func(into *string, value string) {
		if value != "" {
			*into = value
		}
	}
	set(&q.Role, d["role"])
	set(&q.Actions, strings.ReplaceAll(d["actions"], ",", ", "))
	set(&q.Backend, d["backend"])
	set(&q.Expires, d["expires"])
	set(&q.Namespace, e.Resource.Namespace)
	set(&q.Grant, e.Grant)
	if n, err := strconv.ParseInt(d["seconds"], 10, 64); err == nil {
		q.Seconds = n
	}
	q.BreakGlass = q.BreakGlass || d["break_glass"] == "true"
	event := d["event"]
	switch event {
	case "requested":
		q.Asked = r
		set(&q.Reason, e.Reason)
		if q.Requester.Principal == "" {
			q.Requester = who
		}
	case "approved":
		q.Decided = r
		q.Approvers = append(q.Approvers, who)
		q.ApprovalRefs = append(q.ApprovalRefs, r)
		q.Outcome = "approved"
	case "denied", "refused":
		q.Decided, q.Outcome = r, event
	case "activated", "extended":
		q.Outcome = "granted"
		if q.Activated.ID == "" {
			q.Activated = r
		}
	case "withdrawn", "expired", "returned", "revoked", "ended":
		q.Outcome, q.Ended = event, r
	case "reviewed":
		q.Reviewed, q.ReviewedBy = r, who
	}
	f.steps = append(f.steps, step{Ref: r, Kind: string(e.Kind), Event: event, Subject: id, Who: who, Detail: e.Reason})
	f.sample("CC6.2").offer(r)
	if q.BreakGlass {
		f.sample("CC7.3").offer(r)
	}
}

// move is a change of somebody's place: joined, left, into or out of a group.
type move struct {
	Kind    string // "joined", "left", "suspended", "group_added", "group_removed"
	Subject person
	Group   string
	Source  string
	Entry   Ref       // the first entry that told of it
	At      time.Time // when, as the identity provider says
	Bar     Ref       // the entry of the revocation, when there was one
	Undone  time.Time

	FirstAllowed, LastAllowed, FirstRefused Ref
	AllowedAfter                            uint64
}

// lasted is how long access remained after the identity provider took it away; ok is false when nothing shows that it ended.
func (m *move) lasted() (d time.Duration, ok bool) {
	var end time.Time
	switch {
	case m.Bar.ID != "":
		end = m.Bar.Time
	case m.FirstRefused.ID != "":
		end = m.FirstRefused.Time
	}
	if m.LastAllowed.ID != "" && m.LastAllowed.Time.After(end) {
		end = m.LastAllowed.Time
	}
	if end.IsZero() {
		return 0, false
	}
	return max(end.Sub(m.At), 0), true
}

// takesAway reports whether the move ends access.
func (m *move) takesAway() bool {
	return m.Kind == "left" || m.Kind == "suspended" || m.Kind == "group_removed"
}

// sameMove maps events of revocations and of the directory to what happened.
var sameMove = map[string]string{
	"joined": "joined", "restored": "joined", "left": "left", "suspended": "suspended", "group_added": "group_added", "group_removed": "group_removed",
	"user_deactivated": "left", "user_suspended": "suspended",
}

func (f *facts) movement(r Ref, e *audit.Entry) {
	d := e.Detail
	subject := person{Principal: d["subject"], Login: d["login"]}
	f.name(subject)
	event := d["event"]
	if e.Kind == audit.KindRevocation {
		f.steps = append(f.steps, step{Ref: r, Kind: string(e.Kind), Event: event, Subject: d["subject"], Who: subject, Detail: strings.TrimSpace(d["source"] + " " + d["effect"])})
		f.sample("CC7.3").offer(r)
	}
	kind, ok := sameMove[event]
	if !ok || subject.Principal == "" {
		return
	}
	at := r.Time
	if t, err := time.Parse(time.RFC3339Nano, d["source_time"]); err == nil {
		at = t
	}
	// One event at the identity provider arrives by several ways; its id joins them.
	key := kind + "|" + subject.Principal + "|" + d["group"] + "|"
	if id := d["source_event"]; id != "" {
		key += id
	} else {
		key += at.UTC().Format(time.RFC3339)
	}
	if kind == "joined" || kind == "group_added" {
		for _, m := range f.movesBy[subject.Principal] {
			if m.Group == d["group"] && m.takesAway() && m.Undone.IsZero() && m.At.Before(at) {
				m.Undone = at
			}
		}
	}
	m := f.moveByKey[key]
	if m == nil {
		m = &move{Kind: kind, Subject: subject, Group: d["group"], Source: d["source"], Entry: r, At: at}
		f.moveByKey[key] = m
		f.moves = append(f.moves, m)
		f.movesBy[subject.Principal] = append(f.movesBy[subject.Principal], m)
		f.sample("CC6.2").offer(r)
	}
	if e.Kind == audit.KindRevocation && m.Bar.ID == "" {
		m.Bar = r
	}
}

// movesSee holds a decision against the moves of its person. A loss of a group concerns calls that the group's namespace is in.
func (f *facts) movesSee(r Ref, e *audit.Entry) {
	for _, m := range f.movesBy[e.Actor.Principal] {
		if r.Time.Before(m.At) || !m.Undone.IsZero() && r.Time.After(m.Undone) {
			continue
		}
		switch {
		case !m.takesAway():
			if e.Decision.Allow && m.FirstAllowed.ID == "" {
				m.FirstAllowed = r
			}
			continue
		case m.Kind == "group_removed":
			namespace, _, known := f.roleOf(m.Group)
			if e.Decision.Allow && !slices.Contains(e.Actor.Groups, m.Group) || known && namespace != e.Resource.Namespace {
				continue // allowed by something else, or elsewhere
			}
		}
		if !e.Decision.Allow {
			if m.FirstRefused.ID == "" || r.Time.Before(m.FirstRefused.Time) {
				m.FirstRefused = r
			}
			continue
		}
		m.AllowedAfter++
		if m.LastAllowed.ID == "" || r.Time.After(m.LastAllowed.Time) {
			m.LastAllowed = r
		}
	}
}
