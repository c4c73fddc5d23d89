package devorg

import (
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

const (
	policyType = "OAUTH_AUTHORIZATION_POLICY"
	ruleType   = "RESOURCE_ACCESS"
)

// errPolicy is what Okta says when no rule lets a client have what it asks for.
var errPolicy = badRequest("access_denied", "Policy evaluation failed for this request, please check the policy configurations.")

// errUnassigned is what Okta says to people who sign in to an app that is not theirs.
var errUnassigned = badRequest("access_denied", "User is not assigned to the client application.")

// ruleFor finds the first rule, by priority of the policies and within them, that lets a client have tokens. user is nil where there is none; kind is the
// grant type, by which a refresh is whatever the person once signed in with.
func (o *Org) ruleFor(tx *store.Tx, as server, app store.App, user *store.User, kind string, scopes []string) (asRule, error) {
	var groups []string
	if user != nil {
		of, err := tx.GroupsOf(user.ID)
		if err != nil {
			return asRule{}, err
		}
		for _, g := range of {
			groups = append(groups, g.ID)
		}
	}
	for _, p := range as.policies {
		if clients := p.Conditions.Clients.Include; !p.active || !slices.Contains(clients, "ALL_CLIENTS") && !slices.Contains(clients, app.ID) {
			continue
		}
		for _, r := range p.rules {
			if r.active && r.allows(user, groups, kind, scopes) {
				return r, nil
			}
		}
	}
	return asRule{}, errPolicy
}

func (r *asRule) allows(user *store.User, groups []string, kind string, scopes []string) bool {
	grants := r.Conditions.GrantTypes.Include
	if kind == grantRefresh {
		if !slices.Contains(grants, grantCode) && !slices.Contains(grants, grantDevice) {
			return false
		}
	} else if !slices.Contains(grants, kind) {
		return false
	}
	if allowed := r.Conditions.Scopes.Include; !slices.Contains(allowed, "*") {
		for _, s := range scopes {
			if !slices.Contains(allowed, s) {
				return false
			}
		}
	}
	if user == nil {
		return true // client credentials have no people
	}
	people := r.Conditions.People
	if people.Users != nil && slices.Contains(people.Users.Exclude, user.ID) || slices.ContainsFunc(people.Groups.Exclude, func(g string) bool { return slices.Contains(groups, g) }) {
		return false
	}
	return slices.Contains(people.Groups.Include, "EVERYONE") || people.Users != nil && slices.Contains(people.Users.Include, user.ID) ||
		slices.ContainsFunc(people.Groups.Include, func(g string) bool { return slices.Contains(groups, g) })
}

func (r *asRule) accessLife() time.Duration {
	return time.Duration(r.Actions.Token.AccessMinutes) * time.Minute
}

func (r *asRule) refreshWindow() time.Duration {
	return time.Duration(r.Actions.Token.WindowMinutes) * time.Minute
}

// checkAssigned reports whether a person may use an app: by a group of theirs, or because the app is everybody's.
func (o *Org) checkAssigned(tx *store.Tx, app store.App, user *store.User) error {
	if !app.Settings.Made || user == nil {
		return nil
	}
	assigned, err := tx.AppGroups(app.ID)
	if err != nil {
		return err
	}
	of, err := tx.GroupsOf(user.ID)
	if err != nil {
		return err
	}
	for _, a := range assigned {
		if slices.ContainsFunc(of, func(g store.Group) bool { return g.ID == a.GroupID }) {
			return nil
		}
	}
	return errUnassigned
}
