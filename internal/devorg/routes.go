package devorg

import (
	"net"
	"net/http"
	"strings"
)

// route is one row of the table: who may call what, what it counts against, and the handler that serves it.
type route struct {
	method, path string
	family       string // rate limit family; "": not limited
	scope        string // okta.* scope of the management API; "": not part of it
	serve        func(*call) error
}

// routes is the whole surface of the org.
func (o *Org) routes() []route {
	const (
		usersRead, usersManage   = "okta.users.read", "okta.users.manage"
		groupsRead, groupsManage = "okta.groups.read", "okta.groups.manage"
		appsRead, appsManage     = "okta.apps.read", "okta.apps.manage"
		asRead, asManage         = "okta.authorizationServers.read", "okta.authorizationServers.manage"
		hooksRead, hooksManage   = "okta.eventHooks.read", "okta.eventHooks.manage"
		grantsRead, grantsManage = "okta.appGrants.read", "okta.appGrants.manage"
		rolesRead, rolesManage   = "okta.roles.read", "okta.roles.manage"
		devOnly                  = "dev.faults" // no app can be granted it
	)
	return append(o.signalRoutes(), []route{
		// Pages for people.
		{"GET", "/{$}", "pages", "", o.home},
		{"GET", "/assets/org.css", "", "", o.stylesheet},
		{"GET", "/login", "pages", "", o.loginPage},
		{"POST", "/login", "login", "", o.login},
		{"POST", "/signout", "pages", "", o.signOut},
		{"GET", "/activate", "pages", "", o.activatePage},
		{"POST", "/activate", "login", "", o.activate},

		// The org authorization server: management tokens only.
		{"GET", "/.well-known/openid-configuration", "", "", o.orgMetadata},
		{"GET", "/.well-known/oauth-authorization-server", "", "", o.orgMetadata},
		{"GET", "/oauth2/v1/keys", "", "", o.orgKeys},
		{"POST", "/oauth2/v1/token", "token", "", o.orgToken},
		{"POST", "/oauth2/v1/introspect", "oauth2", "", o.orgIntrospect},
		{"POST", "/oauth2/v1/revoke", "oauth2", "", o.orgRevoke},

		// Custom authorization servers.
		{"GET", "/oauth2/{as}/.well-known/openid-configuration", "", "", o.serverMetadata},
		{"GET", "/oauth2/{as}/.well-known/oauth-authorization-server", "", "", o.serverMetadata},
		{"GET", "/oauth2/{as}/v1/keys", "", "", o.serverKeys},
		{"GET", "/oauth2/{as}/v1/authorize", "authorize", "", o.authorize},
		{"POST", "/oauth2/{as}/v1/authorize", "authorize", "", o.authorize},
		{"POST", "/oauth2/{as}/v1/device/authorize", "oauth2", "", o.deviceAuthorize},
		{"POST", "/oauth2/{as}/v1/token", "token", "", o.token},
		{"POST", "/oauth2/{as}/v1/introspect", "oauth2", "", o.introspect},
		{"POST", "/oauth2/{as}/v1/revoke", "oauth2", "", o.revoke},
		{"GET", "/oauth2/{as}/v1/userinfo", "oauth2", "", o.userinfo},
		{"POST", "/oauth2/{as}/v1/userinfo", "oauth2", "", o.userinfo},
		{"GET", "/oauth2/{as}/v1/logout", "oauth2", "", o.logout},
		{"POST", "/oauth2/{as}/v1/logout", "oauth2", "", o.logout},

		// Management: people.
		{"GET", "/api/v1/users", "users", usersRead, o.listUsers},
		{"POST", "/api/v1/users", "users", usersManage, o.createUser},
		{"GET", "/api/v1/users/{user}", "users", usersRead, o.getUser},
		{"POST", "/api/v1/users/{user}", "users", usersManage, o.updateUser},
		{"DELETE", "/api/v1/users/{user}", "users", usersManage, o.deleteUser},
		{"GET", "/api/v1/users/{user}/groups", "users", usersRead, o.listUserGroups},
		{"GET", "/api/v1/users/{user}/factors", "users", usersRead, o.listFactors},
		{"DELETE", "/api/v1/users/{user}/sessions", "users", usersManage, o.clearSessions},
		{"POST", "/api/v1/users/{user}/lifecycle/{step}", "users", usersManage, o.changeLifecycle},

		// Management: groups.
		{"GET", "/api/v1/groups", "groups", groupsRead, o.listGroups},
		{"POST", "/api/v1/groups", "groups", groupsManage, o.createGroup},
		{"GET", "/api/v1/groups/{group}", "groups", groupsRead, o.getGroup},
		{"PUT", "/api/v1/groups/{group}", "groups", groupsManage, o.updateGroup},
		{"DELETE", "/api/v1/groups/{group}", "groups", groupsManage, o.deleteGroup},
		{"GET", "/api/v1/groups/{group}/users", "groups", groupsRead, o.listMembers},
		{"PUT", "/api/v1/groups/{group}/users/{user}", "groups", groupsManage, o.addMember},
		{"DELETE", "/api/v1/groups/{group}/users/{user}", "groups", groupsManage, o.removeMember},

		// Management: apps and their credentials.
		{"GET", "/api/v1/apps", "apps", appsRead, o.listApps},
		{"POST", "/api/v1/apps", "apps", appsManage, o.createApp},
		{"GET", "/api/v1/apps/{app}", "apps", appsRead, o.getApp},
		{"PUT", "/api/v1/apps/{app}", "apps", appsManage, o.replaceApp},
		{"DELETE", "/api/v1/apps/{app}", "apps", appsManage, o.deleteApp},
		{"POST", "/api/v1/apps/{app}/lifecycle/{step}", "apps", appsManage, o.changeApp},
		{"GET", "/api/v1/apps/{app}/groups", "apps", appsRead, o.listAppGroups},
		{"PUT", "/api/v1/apps/{app}/groups/{group}", "apps", appsManage, o.assignGroup},
		{"DELETE", "/api/v1/apps/{app}/groups/{group}", "apps", appsManage, o.unassignGroup},
		{"GET", "/api/v1/apps/{app}/grants", "apps", grantsRead, o.listGrants},
		{"POST", "/api/v1/apps/{app}/grants", "apps", grantsManage, o.addGrant},
		{"DELETE", "/api/v1/apps/{app}/grants/{grant}", "apps", grantsManage, o.deleteGrant},
		{"GET", "/api/v1/apps/{app}/credentials/jwks", "apps", appsRead, o.listClientKeys},
		{"POST", "/api/v1/apps/{app}/credentials/jwks", "apps", appsManage, o.addClientKey},
		{"GET", "/api/v1/apps/{app}/credentials/jwks/{key}", "apps", appsRead, o.getClientKey},
		{"DELETE", "/api/v1/apps/{app}/credentials/jwks/{key}", "apps", appsManage, o.deleteClientKey},
		{"POST", "/api/v1/apps/{app}/credentials/jwks/{key}/lifecycle/{step}", "apps", appsManage, o.changeClientKey},
		{"GET", "/api/v1/apps/{app}/credentials/secrets", "apps", appsRead, o.listSecrets},
		{"POST", "/api/v1/apps/{app}/credentials/secrets", "apps", appsManage, o.addSecret},
		{"GET", "/api/v1/apps/{app}/credentials/secrets/{secret}", "apps", appsRead, o.getSecret},
		{"DELETE", "/api/v1/apps/{app}/credentials/secrets/{secret}", "apps", appsManage, o.deleteSecret},
		{"POST", "/api/v1/apps/{app}/credentials/secrets/{secret}/lifecycle/{step}", "apps", appsManage, o.changeSecret},

		// Management: authorization servers.
		{"GET", "/api/v1/authorizationServers", "authorizationServers", asRead, o.listServers},
		{"POST", "/api/v1/authorizationServers", "authorizationServers", asManage, o.createServer},
		{"GET", "/api/v1/authorizationServers/{as}", "authorizationServers", asRead, o.getServer},
		{"PUT", "/api/v1/authorizationServers/{as}", "authorizationServers", asManage, o.putServer},
		{"GET", "/api/v1/authorizationServers/{as}/scopes", "authorizationServers", asRead, scopeParts.list(o)},
		{"POST", "/api/v1/authorizationServers/{as}/scopes", "authorizationServers", asManage, scopeParts.create(o)},
		{"GET", "/api/v1/authorizationServers/{as}/scopes/{part}", "authorizationServers", asRead, scopeParts.get(o)},
		{"PUT", "/api/v1/authorizationServers/{as}/scopes/{part}", "authorizationServers", asManage, scopeParts.replace(o)},
		{"GET", "/api/v1/authorizationServers/{as}/claims", "authorizationServers", asRead, claimParts.list(o)},
		{"POST", "/api/v1/authorizationServers/{as}/claims", "authorizationServers", asManage, claimParts.create(o)},
		{"GET", "/api/v1/authorizationServers/{as}/claims/{part}", "authorizationServers", asRead, claimParts.get(o)},
		{"PUT", "/api/v1/authorizationServers/{as}/claims/{part}", "authorizationServers", asManage, claimParts.replace(o)},
		{"GET", "/api/v1/authorizationServers/{as}/policies", "authorizationServers", asRead, policyParts.list(o)},
		{"POST", "/api/v1/authorizationServers/{as}/policies", "authorizationServers", asManage, policyParts.create(o)},
		{"GET", "/api/v1/authorizationServers/{as}/policies/{part}", "authorizationServers", asRead, policyParts.get(o)},
		{"PUT", "/api/v1/authorizationServers/{as}/policies/{part}", "authorizationServers", asManage, policyParts.replace(o)},
		{"POST", "/api/v1/authorizationServers/{as}/policies/{part}/lifecycle/{step}", "authorizationServers", asManage, policyParts.lifecycle(o)},
		{"GET", "/api/v1/authorizationServers/{as}/policies/{policy}/rules", "authorizationServers", asRead, ruleParts.list(o)},
		{"POST", "/api/v1/authorizationServers/{as}/policies/{policy}/rules", "authorizationServers", asManage, ruleParts.create(o)},
		{"GET", "/api/v1/authorizationServers/{as}/policies/{policy}/rules/{part}", "authorizationServers", asRead, ruleParts.get(o)},
		{"PUT", "/api/v1/authorizationServers/{as}/policies/{policy}/rules/{part}", "authorizationServers", asManage, ruleParts.replace(o)},
		{"POST", "/api/v1/authorizationServers/{as}/policies/{policy}/rules/{part}/lifecycle/{step}", "authorizationServers", asManage, ruleParts.lifecycle(o)},
		{"GET", "/api/v1/authorizationServers/{as}/credentials/keys", "authorizationServers", asRead, o.listSigningKeys},
		{"POST", "/api/v1/authorizationServers/{as}/credentials/lifecycle/keyRotate", "authorizationServers", asManage, o.rotateSigningKeys},

		// Management: admin roles of service apps.
		{"GET", "/oauth2/v1/clients/{app}/roles", "oauth2", rolesRead, o.listRoles},
		{"POST", "/oauth2/v1/clients/{app}/roles", "oauth2", rolesManage, o.addRole},
		{"DELETE", "/oauth2/v1/clients/{app}/roles/{role}", "oauth2", rolesManage, o.deleteRole},

		// Management: the System Log.
		{"GET", "/api/v1/logs", "logs", "okta.logs.read", o.listLogs},

		// Management: event hooks.
		{"GET", "/api/v1/eventHooks", "eventHooks", hooksRead, o.listHooks},
		{"POST", "/api/v1/eventHooks", "eventHooks", hooksManage, o.createHook},
		{"GET", "/api/v1/eventHooks/{hook}", "eventHooks", hooksRead, o.getHook},
		{"PUT", "/api/v1/eventHooks/{hook}", "eventHooks", hooksManage, o.replaceHook},
		{"DELETE", "/api/v1/eventHooks/{hook}", "eventHooks", hooksManage, o.deleteHook},
		{"POST", "/api/v1/eventHooks/{hook}/lifecycle/{step}", "eventHooks", hooksManage, o.changeHook},

		// Not Okta's: faults on request, by the SSWS token alone.
		{"GET", "/dev/faults", "", devOnly, o.listFaults},
		{"POST", "/dev/faults", "", devOnly, o.addFault},
		{"DELETE", "/dev/faults", "", devOnly, o.clearFaults},
	}...)
}

// mount builds the handler from the table.
func (o *Org) mount() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range o.routes() {
		mux.Handle(rt.method+" "+rt.path, o.handle(rt))
	}
	mux.Handle("/api/v1/", o.handle(route{family: "", serve: func(c *call) error { return unserved(mux, c) }}))
	return o.guardHost(mux)
}

// handle runs the steps that every request shares: id, headers, rate limit, management authentication, then the handler.
func (o *Org) handle(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{o: o, w: w, r: r, id: newID("req"), now: o.now()}
		h := w.Header()
		h.Set("X-Okta-Request-Id", c.id)
		h.Set("X-Content-Type-Options", "nosniff")
		// Rate limits are waited out by comparing Reset with Date, so Date must come from the same clock.
		h.Set("Date", c.now.Format(http.TimeFormat))
		if rt.family != "" && !o.limits.take(h, rt.family, c.now) {
			c.fail(errLimit)
			return
		}
		if rt.scope != "" {
			if err := o.authorizeAPI(c, rt.scope); err != nil {
				c.fail(err)
				return
			}
		}
		if !c.api.all && o.faults.strike(c, rt) { // the operator's own token is spared: it must be able to end them
			return
		}
		if err := rt.serve(c); err != nil {
			c.fail(err)
		}
	})
}

// unserved answers management calls that the table does not have: 405 where another method would be served, else 404.
func unserved(mux *http.ServeMux, c *call) error {
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		probe := c.r.Clone(c.r.Context())
		probe.Method = method
		if _, pattern := mux.Handler(probe); strings.HasPrefix(pattern, method+" ") {
			return errMethod
		}
	}
	return missing(printable(c.r.URL.Path), "this development org does not serve it")
}

// guardHost refuses requests for foreign host names: a web page that rebinds its own name to this address must not be
// able to read the org through a developer's browser.
func (o *Org) guardHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !strings.EqualFold(host, o.base.Hostname()) && !loopback(strings.Trim(host, "[]")) {
			http.Error(w, "this development org is at "+o.base.String(), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
