package oktasetup

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// strangers looks for policies and rules of our server that let in others than ours.
func (d *doctor) strangers(ctx context.Context) error {
	server := d.id("server")
	if server == "" {
		return nil
	}
	found := false
	at := okta.Path("/api/v1/authorizationServers/%s/policies", server)
	policies, err := d.Org.Documents(ctx, at, nil)
	if err != nil {
		return err
	}
	for _, p := range policies {
		if p.Text("status") == "INACTIVE" {
			continue
		}
		if !d.ours(p.Text("id")) {
			found = true
			d.add(Wrong, "policy_stranger", "policy "+p.Text("name"), "deactivate it in the admin console, or move its clients to an authorization server of their own",
				"it is not Bailiwick's, and lets %s have tokens that gates accept if the client is listed there", show(p.Texts("conditions.clients.include")))
			continue
		}
		rules, err := d.Org.Documents(ctx, at+okta.Path("/%s/rules", p.Text("id")), nil)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.Text("status") != "INACTIVE" && !d.ours(r.Text("id")) {
				found = true
				d.add(Warning, "rule_stranger", "rule "+r.Text("name"), "deactivate it in the admin console unless it is meant", "a rule that set-up did not make, in the policy %s: its lifetimes and people count too", p.Text("name"))
			}
		}
	}
	if !found {
		d.add(Good, "strangers", "", "", "the access policies let our clients in, and no one else")
	}
	return nil
}

// id is the id of what was set up; empty if it is not there.
func (d *doctor) id(key string) string {
	if d.plan == nil {
		return ""
	}
	return d.plan.known[key]
}

func (d *doctor) ours(id string) bool {
	return slices.ContainsFunc(d.plan.Items, func(i Item) bool { return i.ID == id })
}

// groups counts the groups that tokens would carry: nobody can be in more than all of them.
func (d *doctor) groups(ctx context.Context) error {
	if d.plan == nil {
		return nil
	}
	filter, err := regexp.Compile("^(?:" + d.plan.spec.GroupFilter() + ")$")
	if err != nil {
		return err
	}
	prefix, _, _ := strings.Cut(d.plan.spec.Pattern, "{")
	all, err := d.Org.Documents(ctx, "/api/v1/groups", url.Values{"q": {prefix}, "limit": {"200"}})
	if err != nil {
		return err
	}
	n := len(d.plan.spec.MoreGroups)
	for _, g := range all {
		if filter.MatchString(g.Text("profile.name")) {
			n++
		}
	}
	if n > groupsMost {
		d.add(Warning, "groups_may_overflow", "", "nobody should be in more than 100 of them; else look groups up through the API, or use an authorization server for each part of the company",
			"%d groups match the claim's filter; Okta refuses a token to whoever is in more than %d of them", n, groupsMost)
		return nil
	}
	d.add(Good, "groups", "", "", "%d groups match the claim's filter, and %d fit into a token", n, groupsMost)
	return nil
}

// right is a call that the control plane makes, tried without changing anything.
type right struct {
	scope, path string
	query       url.Values
}

// rights tries every call that the control plane's app needs, as that app.
func (d *doctor) rights(ctx context.Context) error {
	if d.Control == nil {
		d.add(Unknown, "rights_untried", "control plane", "run it where the app's key is (keys/control.pem beside okta.json)", "what its app may do was not tried: its private key is not here")
		return nil
	}
	one := url.Values{"limit": {"1"}}
	calls := []right{
		{"okta.logs.read", "/api/v1/logs", one}, {"okta.users.read", "/api/v1/users", one}, {"okta.groups.read", "/api/v1/groups", one}, {"okta.eventHooks.read", "/api/v1/eventHooks", nil},
		{"okta.apps.read", "/api/v1/apps", one}, {"okta.authorizationServers.read", "/api/v1/authorizationServers", one},
	}
	bad := false
	for _, call := range calls {
		as, err := d.Control(call.scope)
		if err != nil {
			return err
		}
		if err := as.TryDocuments(ctx, call.path, call.query); err != nil {
			bad = true
			level, fix := Wrong, "grant the scope "+call.scope+" and the role READ_ONLY_ADMIN: bailiwick okta setup"
			if !okta.IsForbidden(err) && !okta.IsBadRequest(err) {
				level, fix = Unknown, "run it again"
			}
			d.add(level, "right_missing", call.scope, fix, "the control plane's app can't read %s: %v", call.path, err)
		}
	}
	if !bad {
		d.add(Good, "rights", "control plane", "", "its app may make all %d calls that it needs to read", len(calls))
	}
	return nil
}

// excess looks for rights of the control plane's app that set-up did not give.
func (d *doctor) excess(ctx context.Context) error {
	app := d.id("app/control")
	if app == "" {
		return nil
	}
	found := false
	for _, kind := range []struct {
		code, path, name string
		wanted           []Right
	}{
		{"role_excess", okta.Path("/oauth2/v1/clients/%s/roles", app), "type", d.plan.spec.ControlRoles()},
		{"grant_excess", okta.Path("/api/v1/apps/%s/grants", app), "scopeId", d.plan.spec.ControlScopes()},
	} {
		have, err := d.Org.Documents(ctx, kind.path, nil)
		if err != nil {
			return err
		}
		for _, h := range have {
			if name := h.Text(kind.name); !slices.ContainsFunc(kind.wanted, func(r Right) bool { return r.Name == name }) {
				found = true
				d.add(Warning, kind.code, name, "take it away in the admin console unless something else needs it", "the control plane's app has it, and does not need it")
			}
		}
	}
	if !found {
		d.add(Good, "least_rights", "control plane", "", "its app has the scopes and roles that it needs, and no more")
	}
	return nil
}

// hook looks at what Okta does with the event hook.
func (d *doctor) hook(ctx context.Context) error {
	id := d.id("hook")
	switch {
	case d.plan == nil:
		return nil
	case d.plan.spec.HookURI == "":
		d.add(Warning, "hook_none", "event hook", "bailiwick okta setup --hook https://control.acme.com --hook-secret FILE", "there is none: who lost access is known with the next look into the System Log")
		return nil
	case id == "":
		return nil // said already
	}
	h, err := d.Org.Document(ctx, okta.Path("/api/v1/eventHooks/%s", id))
	if err != nil {
		return err
	}
	if v := h.Text("verificationStatus"); v != "VERIFIED" {
		d.add(Wrong, "hook_unverified", h.Text("name"), "let Okta reach the control plane at "+d.plan.spec.HookURI+", then verify the hook in the admin console", "its address has not answered Okta's challenge (%s): nothing is delivered", strings.ToLower(v))
		return nil
	}
	d.add(Good, "hook", h.Text("name"), "", "verified, and delivers to %s", clip(h.Text("channel.config.uri")))
	return nil
}

// admins asks whether those who administer a namespace have a second factor.
func (d *doctor) admins(ctx context.Context) error {
	if d.plan == nil {
		return nil
	}
	asked, without := map[string]bool{}, 0
	for _, item := range d.plan.Items {
		if item.Kind != "group" || item.ID == "" || !strings.HasSuffix(item.Key, "/admin") {
			continue
		}
		for user, err := range d.Org.Members(ctx, item.ID) {
			if err != nil {
				return err
			}
			if asked[user.ID] || !user.Active() {
				continue
			}
			if len(asked) == adminsMost {
				d.add(Unknown, "mfa_unknown", "admins", "", "more than %d people administer a namespace; the others were not asked about", adminsMost)
				return nil
			}
			asked[user.ID] = true
			factors, err := d.Org.Documents(ctx, okta.Path("/api/v1/users/%s/factors", user.ID), nil)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(factors, func(f okta.Document) bool { return f.Text("status") == "ACTIVE" }) {
				without++
				d.add(Warning, "admin_without_mfa", user.Profile.Login, "have them enrol a factor, and require one in the app's authentication policy", "may administer a namespace (%s), and has no second factor", item.Name)
			}
		}
	}
	if without == 0 {
		d.add(Good, "mfa", "admins", "", "all %d people who administer a namespace have a second factor", len(asked))
	}
	return nil
}

// signing looks at the authorization server's own keys.
func (d *doctor) signing(ctx context.Context) error {
	server := d.id("server")
	if server == "" {
		return nil
	}
	as, err := d.Org.AuthServer(ctx, server)
	if err != nil {
		return err
	}
	keys, err := d.Org.SigningKeys(ctx, server)
	if err != nil {
		return err
	}
	mode, last := as.Credentials.Signing.RotationMode, as.Credentials.Signing.LastRotated
	age := d.Clock().Sub(last)
	auto := mode == "AUTO" && d.plan.spec.Rotation
	if auto {
		d.add(Warning, "rotation_by_okta", as.Name, "bailiwick keys rotate issuer: the first rotation sets it to MANUAL; or set it in the admin console",
			"the mode is AUTO: Okta changes the signing key too, about each quarter, and waits for no verifier")
	}
	switch {
	case mode == "MANUAL" && !d.plan.spec.Rotation:
		d.add(Warning, "rotation_by_nobody", as.Name, "set it to AUTO in the admin console, or run set-up with --rotation", "signing keys are rotated by hand only, last %s ago", days(age))
	case !last.IsZero() && age > signingOld:
		d.add(Warning, "rotation_overdue", as.Name, "bailiwick keys rotate, or rotate in the admin console", "the signing key is %s old", days(age))
	case !auto:
		d.add(Good, "rotation", as.Name, "", "mode %s, last rotated %s ago", mode, days(age))
	}
	if !slices.ContainsFunc(keys, func(k okta.SigningKey) bool { return k.Status == "NEXT" }) {
		d.add(Warning, "next_key_missing", as.Name, "Okta makes it with the next look at the keys; run it again", "no next key is published: a rotation now would meet gates that have not seen it")
	}
	return nil
}

// clientKeys looks at how old the keys of services are, and whether those that are here are registered.
func (d *doctor) clientKeys(ctx context.Context) error {
	for _, c := range append(slices.Clone(d.Setup.Services), d.Setup.Control) {
		keys, err := d.Org.ClientKeys(ctx, c.ClientID)
		if okta.IsNotFound(err) {
			continue // said already
		}
		if err != nil {
			return err
		}
		var newest time.Time
		active, registered := 0, false
		for _, k := range keys {
			if k.Status == "ACTIVE" {
				active++
				registered = registered || k.KeyID == c.KeyID
				if k.Created.After(newest) {
					newest = k.Created
				}
			}
		}
		switch age := d.Clock().Sub(newest); {
		case active == 0:
			d.add(Wrong, "key_none", c.Name, "register the public half of "+c.KeyFile, "the app has no active key: it gets no tokens")
		case c.KeyID != "" && !registered:
			d.add(Wrong, "key_unknown", c.Name, "register its public half, or use the key that is registered", "the key in %s is none of the app's %d active ones", c.KeyFile, active)
		case age > keyOld:
			d.add(Warning, "key_old", c.Name, "bailiwick keys rotate", "its newest key is %s old", days(age))
		default:
			d.add(Good, "key", c.Name, "", "%d active, the newest %s old", active, days(age))
		}
	}
	return nil
}

func days(d time.Duration) string {
	n := int(d.Hours() / 24)
	if n == 1 {
		return "1 day"
	}
	return show(n) + " days"
}
