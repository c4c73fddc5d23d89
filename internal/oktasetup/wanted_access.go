package oktasetup

import "net/url"

// policies let our clients have tokens, each by its own grants and scopes, and nobody else: a new server has no other policy.
func (s Spec) policies() []resource {
	var policies, rules []resource
	add := func(key, label, why string, clients, grants, scopes []string, people string, access, refresh, window int) {
		policies = append(policies, resource{
			kind: "policy", key: "policy/" + key, name: s.label(label), why: why, list: "/api/v1/authorizationServers/{server}/policies", named: "name", marked: "description",
			fixed:  map[string]any{"type": "OAUTH_AUTHORIZATION_POLICY", "name": s.label(label), "description": s.described("policy/"+key, why+".")},
			fields: []field{{"conditions.clients.include", "clients", clients, bigger}, {"status", "status", "ACTIVE", active}},
		})
		rules = append(rules, resource{
			kind: "rule", key: "rule/" + key, name: s.label(label + " rule"), why: why, list: "/api/v1/authorizationServers/{server}/policies/{policy/" + key + "}/rules", named: "name",
			fixed: map[string]any{"type": "RESOURCE_ACCESS", "name": s.label(label + " rule")},
			fields: []field{
				{"conditions.people.groups.include", "people", []string{people}, bigger}, {"conditions.grantTypes.include", "grants", grants, bigger}, {"conditions.scopes.include", "scopes", scopes, bigger},
				{"actions.token.accessTokenLifetimeMinutes", "access token, minutes", access, bigger}, {"actions.token.refreshTokenLifetimeMinutes", "login, minutes", refresh, endless},
				{"actions.token.refreshTokenWindowMinutes", "login without use, minutes", window, bigger}, {"status", "status", "ACTIVE", active},
			},
		})
	}
	people := "{people}"
	if s.People == "Everyone" {
		people = "EVERYONE"
	}
	add("cli", "CLI", "the command line, for people", []string{"{app/cli}"}, []string{grantCode, grantDevice}, personScopes(), people, personAccess, personRefresh, personWindow)
	if len(s.Console) > 0 {
		add("console", "web UI", "the web UI, for people", []string{"{app/console}"}, []string{grantCode}, personScopes(), people, personAccess, personRefresh, personWindow)
	}
	// Services have no people, and no refresh tokens; Okta asks for both settings all the same.
	add("workflows", "workflows", "Bailiwick's own workflows", []string{"{app/workflows}"}, []string{grantClient}, []string{ScopePeople}, "EVERYONE", serviceAccess, serviceAccess, serviceAccess)
	if len(s.Workers) > 0 {
		var clients []string
		for _, w := range s.Workers {
			clients = append(clients, "{app/worker/"+w+"}")
		}
		add("workers", "workers", "workers, which take tasks", clients, []string{grantClient}, []string{ScopeWorker}, "EVERYONE", serviceAccess, serviceAccess, serviceAccess)
	}
	return append(policies, rules...)
}

// Right is a scope of Okta's API or an admin role, and what the control plane needs it for.
type Right struct{ Name, Why string }

// ControlScopes are the scopes of Okta's API that the control plane's service app is granted, one by one.
func (s Spec) ControlScopes() []Right {
	all := []Right{
		{"okta.logs.read", "reads the System Log: who lost access takes effect even when no event hook came"},
		{"okta.users.read", "asks whether somebody is still active"},
		{"okta.groups.read", "asks which groups somebody is in, when that does not fit into a token"},
		{"okta.eventHooks.read", "checks that its event hook is active"},
		{"okta.apps.read", "checks the apps and the ages of their keys"},
		{"okta.authorizationServers.read", "checks the authorization server, and which key comes next"},
	}
	if s.Membership {
		all = append(all, Right{"okta.groups.manage", "puts people into groups, and takes them out, as approved"})
	}
	if s.Rotation {
		all = append(all, Right{"okta.authorizationServers.manage", "rotates the signing keys"}, Right{"okta.apps.manage", "rotates clients' keys and secrets"})
	}
	return all
}

// ControlRoles are the standard admin roles of the service app: a scope says what an app may ask for, a role what it is then given.
func (s Spec) ControlRoles() []Right {
	all := []Right{{"READ_ONLY_ADMIN", "the smallest standard role that reads people, groups, apps, authorization servers and the System Log"}}
	if s.Membership {
		all = append(all, Right{"GROUP_MEMBERSHIP_ADMIN", "the smallest standard role that changes who is in a group; it makes no groups and no people"})
	}
	if s.Rotation {
		all = append(all, Right{"API_ACCESS_MANAGEMENT_ADMIN", "the smallest standard role that rotates signing keys"}, Right{"APP_ADMIN", "the smallest standard role that changes clients' keys; narrow it to Bailiwick's apps in the admin console"})
	}
	return all
}

// control is what the control plane's service app may do.
func (s Spec) control(org string) (all []resource) {
	for _, scope := range s.ControlScopes() {
		all = append(all, resource{kind: "grant", key: "grant/" + scope.Name, name: scope.Name, why: scope.Why, list: "/api/v1/apps/{app/control}/grants", query: url.Values{"limit": {"200"}}, named: "scopeId",
			fixed: map[string]any{"scopeId": scope.Name, "issuer": org}})
	}
	for _, role := range s.ControlRoles() {
		all = append(all, resource{kind: "role", key: "role/" + role.Name, name: role.Name, why: role.Why, list: "/oauth2/v1/clients/{app/control}/roles", named: "type", fixed: map[string]any{"type": role.Name}})
	}
	return all
}

// hook brings events to the control plane. Okta shows its secret to nobody, so that it is written when the hook is made and not compared.
func (s Spec) hook() resource {
	return resource{
		kind: "event hook", key: "hook", name: s.label("events"), why: "who loses access is known within a second or two, instead of with the next look into the System Log",
		list: "/api/v1/eventHooks", named: "name", proof: "channel.config.uri",
		fixed:  map[string]any{"name": s.label("events"), "events.type": "EVENT_TYPE", "channel.type": "HTTP", "channel.version": "1.0.0"},
		fields: []field{{"channel.config.uri", "address", s.HookURI, plain}, {"events.items", "events", s.HookTypes, plain}, {"status", "status", "ACTIVE", active}},
	}
}
