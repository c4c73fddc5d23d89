package devorg

import (
	"context"
	"fmt"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// Crowd is how many invented people and groups Fill adds.
type Crowd struct {
	People int
	Groups int
	Each   int // groups that each person is in, besides Everyone
}

// Fill adds people and groups straight to the database, for trying sizes that would take the API hours. Nobody of them can log in, and the log does
// not tell of them. Their ids, logins and memberships follow from their numbers alone.
func (o *Org) Fill(ctx context.Context, c Crowd) error {
	if c.People < 0 || c.Groups < 0 || c.Each < 0 || c.Each > c.Groups || c.People > 1e7 || c.Groups > 1e7 {
		return fmt.Errorf("filling the development org: %+v: at most 10 million of each, and nobody is in more groups than there are", c)
	}
	now := o.now()
	return o.store.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.GroupByName(everyone)
		if err != nil {
			return err
		}
		for i := range c.Groups {
			g := store.Group{ID: crowdID("00g", i), Type: store.OktaGroup, Name: fmt.Sprintf("temporal:crowd-%d:read", i), Created: now, LastUpdated: now, LastMembershipUpdated: now}
			if err := tx.PutGroup(g); err != nil {
				return err
			}
		}
		for i := range c.People {
			login := fmt.Sprintf("person-%d@crowd.example", i)
			u := store.User{ID: crowdID("00u", i), Login: login, Status: store.Active, Created: now, Activated: now, StatusChanged: now, LastUpdated: now, Profile: map[string]any{
				"login": login, "email": login, "firstName": "Person", "lastName": fmt.Sprint(i), "department": fmt.Sprintf("department %d", i%97), "costCenter": fmt.Sprint(1000 + i%500),
			}}
			if i%50 == 49 {
				u.Status = store.Deprovisioned
			}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			in := make([]string, 0, c.Each+1)
			in = append(in, all.ID)
			for k := range c.Each {
				in = append(in, crowdID("00g", (i*7+k*(c.Groups/max(c.Each, 1)))%c.Groups))
			}
			if err := tx.Join(u.ID, in); err != nil {
				return err
			}
		}
		return nil
	})
}

func crowdID(prefix string, n int) string { return fmt.Sprintf("%scrowd%012d", prefix, n) }
