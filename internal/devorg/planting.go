package devorg

import (
	"context"
	"errors"
	"fmt"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// everyone is the built-in group that each person is in.
const everyone = "Everyone"

// plant brings the database up to the seed: all of it when the database is new, only the configuration otherwise.
func (o *Org) plant(ctx context.Context) error {
	return o.store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Meta("planted")
		fresh := errors.Is(err, store.ErrNotFound)
		if err != nil && !fresh {
			return err
		}
		if err := o.plantServers(tx); err != nil {
			return err
		}
		if err := o.plantApps(tx, fresh); err != nil {
			return err
		}
		if fresh {
			if err := o.plantPeople(tx); err != nil {
				return err
			}
			if err := tx.SetMeta("csrf_key", newSecret()); err != nil {
				return err
			}
			if err := tx.SetMeta("planted", stamp(o.now())); err != nil {
				return err
			}
		}
		key, err := tx.Meta("csrf_key")
		o.csrfKey = []byte(key)
		return err
	})
}

func (o *Org) plantServers(tx *store.Tx) error {
	now := o.now()
	for _, as := range o.seed.AuthServers {
		_, err := tx.AuthServer(as.ID)
		if err == nil { // rotation mode and names may have been changed through the API
			if err := o.plantParts(tx, as); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		row := store.AuthServer{
			ID: as.ID, Name: as.Name, Description: as.Description, Audience: as.Audience, RotationMode: "AUTO",
			LastRotated: now, Created: now, LastUpdated: now,
		}
		if err := tx.PutAuthServer(row); err != nil {
			return err
		}
		if err := o.plantParts(tx, as); err != nil {
			return err
		}
	}
	return nil
}

func (o *Org) plantApps(tx *store.Tx, fresh bool) error {
	now := o.now()
	for _, a := range o.seed.Apps {
		row := store.App{ID: a.ID, Label: a.Label, Status: store.Active, Created: now, LastUpdated: now, Settings: store.AppSettings{
			Type: a.Type, AuthMethod: a.AuthMethod, GrantTypes: a.GrantTypes, RedirectURIs: a.RedirectURIs, LogoutURIs: a.LogoutURIs,
			RotateRefresh: !a.StaticTokens, LeewaySeconds: a.Leeway, PKCERequired: a.PKCE || a.AuthMethod == authNone,
			Agent: a.Agent, OrgServer: len(a.OktaScopes) > 0,
		}}
		before, err := tx.App(a.ID)
		isNew := errors.Is(err, store.ErrNotFound)
		if err != nil && !isNew {
			return err
		}
		if !isNew {
			row.Status, row.Created, row.LastUpdated = before.Status, before.Created, before.LastUpdated
		}
		if err := tx.PutApp(row); err != nil {
			return err
		}
		if !isNew && !fresh {
			continue // its secrets and granted scopes belong to the database now
		}
		if a.Secret != "" {
			if err := tx.PutClientSecret(store.ClientSecret{ID: newID("ocs"), AppID: a.ID, Secret: a.Secret, Status: store.Active, Created: now, LastUpdated: now}); err != nil {
				return err
			}
		}
		for _, scope := range a.OktaScopes {
			if err := tx.AddAppGrant(store.AppGrant{ID: newID("oag"), AppID: a.ID, Scope: scope, Issuer: o.base.String(), Created: now}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Org) plantPeople(tx *store.Tx) error {
	now := o.now()
	groups := map[string]string{} // name → id
	add := func(name, kind, description string) error {
		if _, ok := groups[name]; ok {
			return nil
		}
		g := store.Group{ID: newID("00g"), Type: kind, Name: name, Description: description, Created: now, LastUpdated: now, LastMembershipUpdated: now}
		groups[name] = g.ID
		return tx.PutGroup(g)
	}
	if err := add(everyone, store.BuiltInGroup, "All users in your organization"); err != nil {
		return err
	}
	for _, name := range o.seed.Groups {
		if err := add(name, store.OktaGroup, ""); err != nil {
			return err
		}
	}
	// One hash for all: they share the password, and starting must be quick.
	password, err := hashPassword(o.seed.Password)
	if err != nil {
		return err
	}
	for _, p := range o.seed.People {
		u := store.User{ID: p.ID, Status: store.Active, Login: p.Login, Password: password,
			Profile: map[string]any{"firstName": p.FirstName, "lastName": p.LastName, "email": p.Login, "login": p.Login, "mobilePhone": nil, "secondEmail": nil},
			Created: now, Activated: now, StatusChanged: now, LastUpdated: now, PasswordChanged: now}
		if p.Deprovisioned {
			u.Status = store.Deprovisioned
		}
		if err := tx.PutUser(u); err != nil {
			return fmt.Errorf("adding %s: %w", p.Login, err)
		}
		for _, name := range append([]string{everyone}, p.Groups...) {
			if err := add(name, store.OktaGroup, ""); err != nil {
				return err
			}
			if _, err := tx.AddMember(groups[name], u.ID, now); err != nil {
				return err
			}
		}
	}
	return nil
}
