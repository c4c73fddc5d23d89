package access

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"

	"github.com/bailiwick-dev/bailiwick/standing"
)

func (f *fakeTemporal) QueryWorkflow(_ context.Context, id, _, _ string, _ ...any) (converter.EncodedValue, error) {
	for _, r := range f.runs {
		if r.Asked.ID == id {
			return known{r}, nil
		}
	}
	return nil, serviceerror.NewNotFound("no such run")
}

type known struct{ r Request }

func (k known) HasValue() bool { return true }
func (k known) Get(to any) error {
	*to.(*Request) = k.r
	return nil
}

// request is one in some state, which ended an hour ago if it has.
func request(id string, s State, edit func(*Request)) Request {
	r := Request{Asked: Asked{ID: id, Principal: alice.Principal(), Login: alice.Login, Namespace: "payments", Role: "write"}, State: s, Backend: Native, Settled: true}
	if s.Ended() {
		r.Ended = time.Now().Add(-time.Hour)
	}
	if edit != nil {
		edit(&r)
	}
	return r
}

// The janitor revokes live grants that no request stands behind, and leaves the others alone.
func TestJanitorRevokesOrphans(t *testing.T) {
	w := newWorld()
	s := w.service(t)
	justNow := func(r *Request) { r.Ended = time.Now() }
	w.temporal.runs = []Request{request("ar-activeactive", Active, nil), request("ar-revokedgrant", Revoked, nil), request("ar-settlinggran", Returned, justNow), request("ar-terminatedab", Active, nil)}
	w.temporal.closed = map[string]bool{"ar-terminatedab": true}
	now := time.Now()
	for _, id := range []string{"ar-activeactive", "ar-revokedgrant", "ar-settlinggran", "ar-unknownabcde", "ar-terminatedab"} {
		asked := Asked{ID: id, Principal: alice.Principal(), Namespace: "payments", Role: "write"}
		if _, err := w.Put(t.Context(), standing.Event{ID: id + "/1", Kind: standing.EventGrant, At: now, Grant: asked.grant("d", nil, now, now.Add(time.Hour))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Put(t.Context(), standing.Event{ID: "x", Kind: standing.EventGrant, At: now, Grant: &standing.Grant{ID: "by-hand", Principal: alice.Principal(), Namespace: "payments", Role: "read", Expires: now.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	got, err := (&activities{s}).sweep(t.Context())
	if err != nil || got.Grants != 6 || len(got.Orphans) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	left := map[string]bool{}
	for _, g := range w.state.Live(now) {
		left[g.ID] = true
	}
	if len(left) != 3 || !left["grant-activeactive"] || !left["grant-settlinggran"] || !left["by-hand"] {
		t.Errorf("left %v", left)
	}
	if len(w.entries) != 3 || w.entries[0].Detail["code"] != "orphan" {
		t.Errorf("entries %+v", w.entries)
	}
	if again, err := (&activities{s}).sweep(t.Context()); err != nil || len(again.Orphans) != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// A member whom somebody's sync brings back after the grant's end is removed; one who was a member before, or is one by another request, stays.
func TestJanitorRemovesWhoCameBack(t *testing.T) {
	const group = "payments-writers"
	okta := func(listed bool) func(*Request) {
		return func(r *Request) { r.Backend, r.Group, r.Listed = Okta, group, listed }
	}
	for name, c := range map[string]struct {
		runs []Request
		left int
	}{
		"came back":          {[]Request{request("ar-a", Expired, okta(true))}, 0},
		"was a member":       {[]Request{request("ar-a", Expired, okta(false))}, 1},
		"holds another":      {[]Request{request("ar-b", Active, okta(true)), request("ar-a", Expired, okta(true))}, 1},
		"other is approved":  {[]Request{request("ar-b", Approved, okta(true)), request("ar-a", Revoked, okta(true))}, 1},
		"is being taken out": {[]Request{request("ar-a", Expired, func(r *Request) { okta(true)(r); r.Settled = false })}, 1},
		"never active":       {[]Request{request("ar-a", Denied, okta(false))}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.temporal.runs = c.runs
			w.members[group] = []string{alice.ID}
			got, err := (&activities{w.service(t)}).sweep(t.Context())
			if err != nil || len(w.members[group]) != c.left || len(got.Memberships) != 1-c.left {
				t.Errorf("%+v, %v, members %v", got, err, w.members)
			}
		})
	}
}

// A retry of an activity that comes when all is over must not bring the member back.
func TestLateRetryAddsNobody(t *testing.T) {
	w := newWorld()
	a := &activities{w.service(t)}
	if err := a.groupAdd(t.Context(), Membership{Request: "ar-a", Group: "g", User: "u", Until: time.Now()}); err != nil || len(w.members["g"]) != 0 {
		t.Errorf("%v, %v", err, w.members)
	}
}

// Membership: who was a member before stays one, whatever the request does.
func TestMembershipFromBefore(t *testing.T) {
	for _, before := range []bool{false, true} {
		r := newRun(t, func(c *Case) { c.Backend, c.Group = Okta, "g" })
		if before {
			r.members["g"] = []string{alice.ID}
		}
		r.approve(time.Minute, bob)
		during := 0
		r.after(5*time.Minute, func() { r.set(func() { during = len(r.members["g"]) }) })
		out := r.result()
		r.wants(during, 1, "members during the grant")
		r.wants(len(r.members["g"]) == 1, before, "member afterwards")
		r.wants(out.Listed, !before, "listed")
		member := alice
		member.Groups, member.IssuedAt = []string{"g"}, out.Activated
		r.wants(len(r.state.GroupsLost(&member, r.env.Now())) == 1, !before, "group taken out of tokens issued meanwhile")
	}
}

// Two requests hold one membership: the first to end leaves it, the last ends it.
func TestTwoRequestsOneMembership(t *testing.T) {
	w := newWorld()
	a := &activities{w.service(t)}
	okta := func(r *Request) { r.Backend, r.Group = Okta, "g" }
	w.temporal.runs = []Request{request("ar-b", Active, okta), request("ar-a", Expired, okta)}
	w.members["g"] = []string{alice.ID}
	if ours, err := a.groupBefore(t.Context(), Membership{Request: "ar-c", Group: "g", User: alice.ID}); err != nil || !ours {
		t.Errorf("a third: %v, %v", ours, err)
	}
	if removed, err := a.groupRemove(t.Context(), Membership{Request: "ar-a", Group: "g", User: alice.ID}); err != nil || removed || len(w.members["g"]) != 1 {
		t.Errorf("the first: %v, %v", removed, err)
	}
	w.temporal.runs = w.temporal.runs[1:]
	if removed, err := a.groupRemove(t.Context(), Membership{Request: "ar-b", Group: "g", User: alice.ID}); err != nil || !removed || len(w.members["g"]) != 0 {
		t.Errorf("the last: %v, %v", removed, err)
	}
}
