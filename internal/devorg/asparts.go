package devorg

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// asScope is a scope of an authorization server, as Okta's API has it.
type asScope struct {
	Name            string `json:"name"`
	DisplayName     string `json:"displayName"`
	Description     string `json:"description"`
	System          bool   `json:"system"`
	Default         bool   `json:"default"`
	MetadataPublish string `json:"metadataPublish"` // ALL_CLIENTS or NO_CLIENTS
	Consent         string `json:"consent"`         // IMPLICIT, REQUIRED or FLEXIBLE
	Optional        bool   `json:"optional"`
}

// asClaim is a claim of an authorization server. The org computes GROUPS claims; EXPRESSION claims are kept and shown.
type asClaim struct {
	Name        string   `json:"name"`
	ClaimType   string   `json:"claimType"` // RESOURCE (access token) or IDENTITY (ID token)
	ValueType   string   `json:"valueType"` // EXPRESSION, GROUPS or SYSTEM
	Value       string   `json:"value"`
	GroupFilter string   `json:"group_filter_type,omitempty"` // STARTS_WITH, EQUALS, CONTAINS or REGEX
	Conditions  asScopes `json:"conditions"`
	System      bool     `json:"system"`
	Always      bool     `json:"alwaysIncludeInToken"`
}

type asScopes struct {
	Scopes []string `json:"scopes"`
}

// matches reports whether a GROUPS claim lists a group of that name.
func (c *asClaim) matches(group string) bool {
	switch c.GroupFilter {
	case "STARTS_WITH":
		return strings.HasPrefix(group, c.Value)
	case "EQUALS":
		return group == c.Value
	case "CONTAINS":
		return strings.Contains(group, c.Value)
	case "REGEX":
		filter, err := regexp.Compile("^(?:" + c.Value + ")$") // the whole name, as at Okta
		return err == nil && filter.MatchString(group)
	}
	return false
}

// included reports whether a token with these scopes carries the claim.
func (c *asClaim) included(scopes []string) bool {
	if len(c.Conditions.Scopes) == 0 {
		return c.Always || c.ClaimType == "RESOURCE"
	}
	return slices.ContainsFunc(c.Conditions.Scopes, func(s string) bool { return slices.Contains(scopes, s) })
}

// asPolicy is an access policy: which clients its rules are for.
type asPolicy struct {
	Type        string `json:"type"` // OAUTH_AUTHORIZATION_POLICY
	Name        string `json:"name"`
	Description string `json:"description"`
	System      bool   `json:"system"`
	Conditions  struct {
		Clients includes `json:"clients"` // client ids, or ALL_CLIENTS
	} `json:"conditions"`

	id     string
	active bool
	rules  []asRule
}

type includes struct {
	Include []string `json:"include"`
	Exclude []string `json:"exclude,omitempty"`
}

// asRule is a rule of an access policy: who gets which scopes by which grant, for how long.
type asRule struct {
	Type       string `json:"type"` // RESOURCE_ACCESS
	Name       string `json:"name"`
	System     bool   `json:"system"`
	Conditions struct {
		People struct {
			Users  *includes `json:"users,omitempty"`
			Groups includes  `json:"groups"` // group ids, or EVERYONE
		} `json:"people"`
		GrantTypes includes `json:"grantTypes"`
		Scopes     includes `json:"scopes"` // names, or *
	} `json:"conditions"`
	Actions struct {
		Token struct {
			AccessMinutes  int `json:"accessTokenLifetimeMinutes"`
			RefreshMinutes int `json:"refreshTokenLifetimeMinutes"` // 0: unlimited
			WindowMinutes  int `json:"refreshTokenWindowMinutes"`
		} `json:"token"`
	} `json:"actions"`

	active bool
}

// load reads what the server is made of.
func (as *server) load(tx *store.Tx) error {
	rows, err := tx.ServerParts(as.ID)
	if err != nil {
		return err
	}
	var rules []store.ServerPart
	for _, row := range rows {
		switch row.Kind {
		case store.ScopePart:
			var s asScope
			err = json.Unmarshal([]byte(row.Doc), &s)
			as.scopes = append(as.scopes, s)
		case store.ClaimPart:
			var c asClaim
			err = json.Unmarshal([]byte(row.Doc), &c)
			if row.Status == store.Active {
				as.claims = append(as.claims, c)
			}
		case store.PolicyPart:
			p := asPolicy{id: row.ID, active: row.Status == store.Active}
			err = json.Unmarshal([]byte(row.Doc), &p)
			as.policies = append(as.policies, p)
		case store.RulePart:
			rules = append(rules, row)
		}
		if err != nil {
			return fmt.Errorf("reading authorization server %s: %w", as.ID, err)
		}
	}
	for _, row := range rules {
		i := slices.IndexFunc(as.policies, func(p asPolicy) bool { return p.id == row.Parent })
		if i < 0 {
			continue
		}
		r := asRule{active: row.Status == store.Active}
		if err := json.Unmarshal([]byte(row.Doc), &r); err != nil {
			return fmt.Errorf("reading authorization server %s: %w", as.ID, err)
		}
		as.policies[i].rules = append(as.policies[i].rules, r)
	}
	return nil
}

// customScopes are the names of the server's own scopes, besides OpenID Connect's.
func (as *server) customScopes() (names []string) {
	for _, s := range as.scopes {
		if !s.System {
			names = append(names, s.Name)
		}
	}
	return names
}

// published are the names of the scopes that the discovery document lists.
func (as *server) published() (names []string) {
	for _, s := range as.scopes {
		if s.MetadataPublish == "ALL_CLIENTS" {
			names = append(names, s.Name)
		}
	}
	return names
}

// plantParts makes the scopes, claims, policy and rule of a seeded server. They follow the seed until somebody changes them.
func (o *Org) plantParts(tx *store.Tx, seed AuthServer) error {
	put := func(kind, id, parent, slot string, doc any) error {
		return o.seedPart(tx, seed.ID, kind, id, parent, slot, doc)
	}
	for _, name := range seed.Scopes {
		if err := put(store.ScopePart, "scp"+seed.ID+"-"+name, "", name, asScope{Name: name, DisplayName: name, MetadataPublish: "ALL_CLIENTS", Consent: "IMPLICIT"}); err != nil {
			return err
		}
	}
	if err := o.plantSystem(tx, seed.ID); err != nil {
		return err
	}
	if seed.GroupsRegex != "" {
		claim := asClaim{Name: "groups", ClaimType: "RESOURCE", ValueType: "GROUPS", Value: seed.GroupsRegex, GroupFilter: "REGEX", Conditions: asScopes{[]string{}}, Always: true}
		if err := put(store.ClaimPart, "ocl"+seed.ID+"-RESOURCE-groups", "", "RESOURCE groups", claim); err != nil {
			return err
		}
		claim.ClaimType, claim.Always, claim.Conditions.Scopes = "IDENTITY", false, []string{"groups"}
		if err := put(store.ClaimPart, "ocl"+seed.ID+"-IDENTITY-groups", "", "IDENTITY groups", claim); err != nil {
			return err
		}
	}
	policy := asPolicy{Type: policyType, Name: "Default Policy", Description: "All clients"}
	policy.Conditions.Clients.Include = []string{"ALL_CLIENTS"}
	id := "00p" + seed.ID + "policy"
	if err := put(store.PolicyPart, id, "", policy.Name, policy); err != nil {
		return err
	}
	rule := asRule{Type: ruleType, Name: "Default Policy Rule"}
	rule.Conditions.People.Groups.Include = []string{"EVERYONE"}
	rule.Conditions.GrantTypes.Include = []string{grantCode, grantClient, grantDevice, grantExchange}
	rule.Conditions.Scopes.Include = []string{"*"}
	rule.Actions.Token.AccessMinutes, rule.Actions.Token.WindowMinutes = seed.accessMinutes(), seed.refreshWindowMinutes()
	return put(store.RulePart, "0pr"+seed.ID+"rule", id, rule.Name, rule)
}

// plantSystem makes what every authorization server has: OpenID Connect's scopes and the sub claim.
func (o *Org) plantSystem(tx *store.Tx, as string) error {
	for _, name := range oidcScopes {
		if err := o.seedPart(tx, as, store.ScopePart, "scp"+as+"-"+name, "", name, asScope{Name: name, DisplayName: name, System: true, MetadataPublish: "ALL_CLIENTS", Consent: "IMPLICIT"}); err != nil {
			return err
		}
	}
	sub := asClaim{Name: "sub", ClaimType: "RESOURCE", ValueType: "EXPRESSION", Value: "(appuser != null) ? appuser.userName : app.clientId", Conditions: asScopes{[]string{}}, System: true, Always: true}
	return o.seedPart(tx, as, store.ClaimPart, "ocl"+as+"-RESOURCE-sub", "", "RESOURCE sub", sub)
}

// seedPart makes a part of a server with an id of its own, or brings it up to date unless somebody has changed it.
func (o *Org) seedPart(tx *store.Tx, as, kind, id, parent, slot string, doc any) error {
	now := o.now()
	row := store.ServerPart{ID: id, AuthServer: as, Kind: kind, Parent: parent, Slot: slot, Status: store.Active, Priority: 1, Created: now, LastUpdated: now}
	before, err := tx.ServerPart(as, kind, id)
	switch {
	case err == nil && !before.LastUpdated.Equal(before.Created):
		return nil
	case err == nil:
		row.Created, row.LastUpdated = before.Created, before.LastUpdated
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	row.Doc = string(raw)
	err = tx.PutServerPart(row)
	if errors.Is(err, store.ErrExists) {
		return nil // made through the API before the seed had it
	}
	return err
}
