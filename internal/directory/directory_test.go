package directory_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/directory/orgsource"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// world is a development org behind HTTP, and a clock that sleeping moves.
type world struct {
	t      *testing.T
	client *okta.Client
	now    atomic.Int64 // Unix milliseconds
	asked  atomic.Int64 // requests of lists and of people
	down   atomic.Bool  // the org answers with 503
	file   string
}

func newWorld(t *testing.T, limits map[string]int, crowd devorg.Crowd) *world {
	t.Helper()
	w := &world{t: t, file: filepath.Join(t.TempDir(), "directory.db")}
	w.now.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli())
	base, org := orgtest.Start(t, devorg.Config{Clock: w.clock, Seed: devorg.Acme(), RateLimits: limits}, func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.asked.Add(1)
			if w.down.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			inner.ServeHTTP(rw, r)
		})
	})
	err := org.Fill(t.Context(), crowd)
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken), Share: 0.5, MaxWait: time.Hour, Attempts: 2, Clock: w.clock, Sleep: w.sleep}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) clock() time.Time { return time.UnixMilli(w.now.Load()).UTC() }

func (w *world) sleep(ctx context.Context, d time.Duration) error {
	w.now.Add(d.Milliseconds() + 1)
	return ctx.Err()
}

func (w *world) open(source directory.Source) *directory.Directory {
	w.t.Helper()
	d, err := directory.Open(w.t.Context(), directory.Config{File: w.file, Source: source, Live: orgsource.Source{Client: w.client}, Clock: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

func (w *world) sync(d *directory.Directory) directory.Status {
	w.t.Helper()
	if err := d.Sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return w.status(d)
}

func (w *world) status(d *directory.Directory) directory.Status {
	w.t.Helper()
	s, err := d.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// groups are the names that the copy has of somebody.
func (w *world) groups(d *directory.Directory, id string) map[string]bool {
	w.t.Helper()
	f, has, err := d.Copy(w.t.Context(), id)
	if err != nil || !has {
		w.t.Fatalf("%s: %v, %v", id, has, err)
	}
	out := map[string]bool{}
	for _, g := range f.Groups {
		out[g.Name] = true
	}
	return out
}

// The copy holds everybody and their groups, keeps within the share of the limit, and then follows the log.
func TestSync(t *testing.T) {
	w := newWorld(t, map[string]int{"groups": 100, "users": 100, "logs": 100}, devorg.Crowd{People: 250, Groups: 60, Each: 3})
	d := w.open(orgsource.Source{Client: w.client.Within(0.3)})
	s := w.sync(d)
	acme := int64(len(devorg.Acme().People))
	if s.Users != 250+acme || s.Groups < 61 || s.Memberships < 4*250 || s.Active >= s.Users || s.Phase != "" || s.AsOf.IsZero() {
		t.Fatalf("after a full sync: %+v", s)
	}
	for _, u := range w.client.Usage() {
		if u.Limit == 100 && u.Most > 30 {
			t.Errorf("%s: %d requests in one window, of 30 allowed", u.Family, u.Most)
		}
	}
	f, has, err := d.Copy(t.Context(), "PERSON-7@crowd.example")
	if err != nil || !has || f.User.ID != "00ucrowd000000000007" || string(f.User.Profile["costCenter"]) != `"1007"` || len(f.Groups) != 4 {
		t.Fatalf("%+v, %v, %v", f, has, err)
	}

	// What changes afterwards comes by the log, for a few requests.
	before := w.asked.Load()
	if s = w.sync(d); w.asked.Load()-before > 3 {
		t.Errorf("nothing changed and it took %d requests", w.asked.Load()-before)
	}
	g, err := w.client.CreateGroup(t.Context(), "temporal:new:write", "")
	if err != nil {
		t.Fatal(err)
	}
	const id = "00ucrowd000000000007"
	for _, err := range []error{
		w.client.AddMember(t.Context(), g.ID, id), w.client.RemoveMember(t.Context(), f.Groups[1].ID, id), w.client.Suspend(t.Context(), "00ucrowd000000000008"),
		w.client.Deactivate(t.Context(), "00ucrowd000000000009"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.sync(d)
	if in := w.groups(d, id); !in["temporal:new:write"] || in[f.Groups[1].Name] {
		t.Errorf("groups of %s: %v", id, in)
	}
	for id, status := range map[string]string{"00ucrowd000000000008": "SUSPENDED", "00ucrowd000000000009": "DEPROVISIONED"} {
		if f, _, err := d.Copy(t.Context(), id); err != nil || f.User.Status != status || f.User.Active {
			t.Errorf("%s: %+v, %v", id, f.User, err)
		}
	}
	if err := w.client.DeleteGroup(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	w.sync(d)
	if in := w.groups(d, id); in["temporal:new:write"] {
		t.Error("a group that was deleted is still there")
	}
}

// cut fails every request from the nth on, as a kill does.
type cut struct {
	directory.Source
	left int
}

var errCut = errors.New("killed")

func (c *cut) step() error {
	if c.left--; c.left < 0 {
		return errCut
	}
	return nil
}

func (c *cut) Users(ctx context.Context, cursor string) ([]directory.User, string, error) {
	if err := c.step(); err != nil {
		return nil, "", err
	}
	return c.Source.Users(ctx, cursor)
}

func (c *cut) Groups(ctx context.Context, cursor string) ([]directory.Group, string, error) {
	if err := c.step(); err != nil {
		return nil, "", err
	}
	return c.Source.Groups(ctx, cursor)
}

func (c *cut) Members(ctx context.Context, group, cursor string) ([]string, string, error) {
	if err := c.step(); err != nil {
		return nil, "", err
	}
	return c.Source.Members(ctx, group, cursor)
}

// However often it is killed, a full sync goes on with the page after the last one that it kept, and ends in the same copy.
func TestKilled(t *testing.T) {
	w := newWorld(t, nil, devorg.Crowd{People: 210, Groups: 20, Each: 2})
	source := orgsource.Source{Client: w.client}
	whole := w.open(source)
	want := w.sync(whole)
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	w.file = filepath.Join(t.TempDir(), "again.db")
	runs := 0
	for {
		if runs++; runs > 100 {
			t.Fatal("it never ends")
		}
		d, err := directory.Open(t.Context(), directory.Config{File: w.file, Source: &cut{source, 3}, Live: source, Clock: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Sync(t.Context())
		got := w.status(d)
		if err != nil && (!errors.Is(err, errCut) || got.Phase == "" || !got.AsOf.IsZero() || got.Error == "") {
			t.Fatalf("run %d: %v, %+v", runs, err, got)
		}
		if err == nil && (got.Users != want.Users || got.Groups != want.Groups || got.Memberships != want.Memberships || got.Requests != want.Requests) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if e := d.Close(); e != nil {
			t.Fatal(e)
		}
		if err == nil {
			break
		}
	}
	if runs < 5 {
		t.Errorf("it was killed only %d times", runs-1)
	}
}

// What the log did not tell is found by the next full sync, and only what is gone is dropped.
func TestFullSyncIsTheNet(t *testing.T) {
	w := newWorld(t, nil, devorg.Crowd{People: 10, Groups: 5, Each: 2})
	source := &silent{Source: orgsource.Source{Client: w.client}}
	d := w.open(source)
	first := w.sync(d)
	g, err := w.client.CreateGroup(t.Context(), "untold", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.AddMember(t.Context(), g.ID, "00ucrowd000000000001"); err != nil {
		t.Fatal(err)
	}
	if s := w.sync(d); s.Groups != first.Groups {
		t.Fatalf("a log that is silent told of a group: %+v", s)
	}
	w.now.Add((25 * time.Hour).Milliseconds())
	if s := w.sync(d); s.Groups != first.Groups+1 || s.Memberships != first.Memberships+1 {
		t.Errorf("after the next full sync: %+v, first %+v", s, first)
	}
	if err := w.client.DeleteGroup(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Wake(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if s := w.sync(d); s.Groups != first.Groups || s.Memberships != first.Memberships || s.Users != first.Users {
		t.Errorf("after a full sync that was asked for: %+v, first %+v", s, first)
	}

	// A cursor that the org has forgotten: everything is read anew.
	source.forgotten.Store(true)
	if s := w.sync(d); !s.Full.After(first.Full) || s.Error != "" {
		t.Errorf("after a lost cursor: %+v", s)
	}
}

// silent is an org whose log tells nothing.
type silent struct {
	directory.Source
	forgotten atomic.Bool
}

func (s *silent) Log(_ context.Context, cursor string, _ time.Time) (directory.Changes, error) {
	if cursor != "" && s.forgotten.Swap(false) {
		return directory.Changes{}, fmt.Errorf("%w: from long ago", directory.ErrCursor)
	}
	return directory.Changes{Next: "here"}, nil
}

// One person is asked of the org itself; while it does not answer, of the copy, with the copy's age; nobody is made up.
func TestLook(t *testing.T) {
	w := newWorld(t, nil, devorg.Crowd{People: 10, Groups: 5, Each: 2})
	d := w.open(orgsource.Source{Client: w.client})
	const id = "00ucrowd000000000003"
	f, err := d.Look(t.Context(), id)
	if err != nil || f.From != "org" || f.User.Login != "person-3@crowd.example" || len(f.Groups) != 3 || !f.AsOf.Equal(w.clock()) {
		t.Fatalf("%+v, %v", f, err)
	}
	w.down.Store(true)
	if _, err := d.Look(t.Context(), id); err == nil {
		t.Error("the org is down, there is no copy, and somebody was told")
	}
	w.down.Store(false)
	w.sync(d)
	copied := w.clock()
	w.down.Store(true)
	w.now.Add(time.Hour.Milliseconds())
	if f, err := d.Look(t.Context(), id); err != nil || f.From != "copy" || len(f.Groups) != 3 || f.AsOf.After(copied) {
		t.Errorf("%+v, %v; the copy is of %s", f, err, copied)
	}
	if err := d.Sync(t.Context()); err == nil {
		t.Error("a sync while the org is down")
	}
	if s := w.status(d); s.AsOf.After(copied) || s.Error == "" {
		t.Errorf("%+v", s)
	}
	w.down.Store(false)
	people := directory.Persons{Directory: d, Issuer: "https://acme/oauth2/default"}
	if p, err := people.Person(t.Context(), "user:https://acme/oauth2/default|"+id); err != nil || !p.Active || len(p.Groups) != 3 || string(p.Profile["department"]) != `"department 3"` {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := people.Person(t.Context(), "user:https://acme/oauth2/default|00unobody"); err != nil || p.Active || p.Principal == "" {
		t.Errorf("who is gone: %+v, %v", p, err)
	}
	if _, err := people.Person(t.Context(), "user:https://other|"+id); !errors.Is(err, directory.ErrForeign) {
		t.Errorf("another issuer's: %v", err)
	}
	// An id is an id: nobody is found by a login in its place.
	if p, err := people.Person(t.Context(), "user:https://acme/oauth2/default|person-3@crowd.example"); err == nil && p.Active {
		t.Errorf("found by login: %+v", p)
	}
}
