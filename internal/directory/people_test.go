package directory_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/directory/orgsource"
)

// A listing is of a whole copy only, has everybody once with what was asked for and no more, and says how old it is.
func TestPeople(t *testing.T) {
	w := newWorld(t, nil, devorg.Crowd{People: 60, Groups: 12, Each: 3})
	d := w.open(orgsource.Source{Client: w.client})
	list := func(l directory.Listing) (people []directory.Listed, asOf time.Time, err error) {
		err = d.People(t.Context(), l, func(at time.Time) error { asOf = at; return nil }, func(p directory.Listed) error { people = append(people, p); return nil })
		return people, asOf, err
	}
	if people, _, err := list(directory.Listing{}); !errors.Is(err, directory.ErrNotWhole) || len(people) != 0 {
		t.Fatalf("before the first full sync: %d people, %v", len(people), err)
	}
	s := w.sync(d)
	all, asOf, err := list(directory.Listing{})
	if err != nil || int64(len(all)) != s.Users || !asOf.Equal(s.AsOf) {
		t.Fatalf("%d people of %d as of %v, want %v (%v)", len(all), s.Users, asOf, s.AsOf, err)
	}
	memberships := 0
	for i, p := range all {
		f, has, err := d.Copy(t.Context(), p.ID)
		if err != nil || !has {
			t.Fatal(p.ID, has, err)
		}
		var names []string
		for _, g := range f.Groups {
			names = append(names, g.Name)
		}
		slices.Sort(names)
		if !slices.Equal(names, p.Groups) || p.Login != f.User.Login || p.Active != f.User.Active || p.Profile != nil || i > 0 && all[i-1].ID >= p.ID {
			t.Errorf("%+v, want %+v", p, f)
		}
		memberships += len(p.Groups)
	}
	if int64(memberships) != s.Memberships {
		t.Errorf("%d memberships, want %d", memberships, s.Memberships)
	}
	if some, _, err := list(directory.Listing{Active: true, Attributes: []string{"costCenter"}}); err != nil || int64(len(some)) != s.Active || s.Active == s.Users {
		t.Errorf("%d active people, want %d of %d (%v)", len(some), s.Active, s.Users, err)
	} else if i := slices.IndexFunc(some, func(p directory.Listed) bool { return p.ID == "00ucrowd000000000007" }); i < 0 || len(some[i].Profile) != 1 || string(some[i].Profile["costCenter"]) != `"1007"` {
		t.Errorf("person 7 with an attribute: %v", some)
	}
	some, _, err := list(directory.Listing{Groups: regexp.MustCompile(`^temporal:deploy:`)})
	if err != nil || len(some) == 0 || len(some) >= len(all) {
		t.Fatalf("%d people in groups of deploy (%v)", len(some), err)
	}
	for _, p := range some {
		if len(p.Groups) == 0 || slices.ContainsFunc(p.Groups, func(g string) bool { return !regexp.MustCompile(`^temporal:deploy:`).MatchString(g) }) {
			t.Errorf("%+v", p)
		}
	}
	stop := errors.New("stop")
	if err := d.People(t.Context(), directory.Listing{}, func(time.Time) error { return nil }, func(directory.Listed) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
	// While one reads, others write.
	first := true
	err = d.People(t.Context(), directory.Listing{}, func(time.Time) error { return nil }, func(directory.Listed) error {
		if !first {
			return nil
		}
		first = false
		if err := w.client.Suspend(t.Context(), "00ucrowd000000000008"); err != nil {
			return err
		}
		return d.Sync(t.Context())
	})
	if f, _, copied := d.Copy(t.Context(), "00ucrowd000000000008"); err != nil || copied != nil || f.User.Active {
		t.Error(fmt.Errorf("%w, %w: %+v", err, copied, f.User))
	}
}
