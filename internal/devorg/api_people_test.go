package devorg

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

var nextLink = regexp.MustCompile(`<([^>]*)>; rel="next"`)

func next(a answer) string {
	for _, l := range a.header.Values("Link") {
		if m := nextLink.FindStringSubmatch(l); m != nil {
			return m[1]
		}
	}
	return ""
}

func logins(users []map[string]any) string {
	var out []string
	for _, u := range users {
		out = append(out, strings.TrimSuffix(u["profile"].(map[string]any)["login"].(string), "@acme.example"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestListUsers(t *testing.T) {
	o := newTestOrg(t)
	for query, want := range map[string]string{
		"": "alice bob carol dave erin",
		`search=profile.login eq "ALICE@acme.example"`:                       "alice",
		`search=profile.lastName sw "D" or profile.firstName eq "Bob"`:       "bob dave",
		`search=status eq "DEPROVISIONED"`:                                   "frank",
		`search=(status eq "ACTIVE" and profile.login co "ar") or id eq "x"`: "carol",
		`filter=lastUpdated gt "2027-01-01T00:00:00.000Z"`:                   "",
		`search=profile.nickName pr`:                                         "",
		`q=ca`:                                                               "carol",
	} {
		name, value, _ := strings.Cut(query, "=")
		if got := logins(o.api("GET", "/api/v1/users?"+formOf(name, value).Encode(), nil).want(200).list()); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, bad := range []string{`profile.login`, `profile.login eq`, `profile.login eq x`, `eq "x"`, `a eq "x`, `a eq "x" b`, `(a eq "x"`, `a is "x"`, strings.Repeat("(", 100)} {
		o.api("GET", "/api/v1/users?"+formOf("search", bad).Encode(), nil).wantAPI(400, "E0000001")
	}
	for _, bad := range []string{"0", "201", "-1", "x"} {
		o.api("GET", "/api/v1/users?limit="+bad, nil).wantAPI(400, "E0000001")
	}

	var all []map[string]any
	pages, path := 0, "/api/v1/users?limit=2&"+formOf("search", `status eq "ACTIVE"`).Encode()
	for path != "" {
		a := o.api("GET", strings.TrimPrefix(path, o.url), nil).want(200)
		if !strings.Contains(a.header.Get("Link"), `rel="self"`) {
			t.Error("no self link")
		}
		all, path = append(all, a.list()...), next(a)
		pages++
	}
	if logins(all) != "alice bob carol dave erin" || pages != 3 {
		t.Errorf("%d pages: %s", pages, logins(all))
	}
}

func TestUserLifecycle(t *testing.T) {
	o := newTestOrg(t)
	body := func(login string) map[string]any {
		return map[string]any{
			"profile":     map[string]any{"login": login, "email": login, "firstName": "Gina", "lastName": "Grau"},
			"credentials": map[string]any{"password": map[string]any{"value": "a long password"}},
		}
	}
	g := o.api("POST", "/api/v1/users?activate=false", body("gina@acme.example")).want(200).json()
	id := g["id"].(string)
	if got, want := keysOf(g), "_links activated created credentials id lastLogin lastUpdated passwordChanged profile status statusChanged type"; got != want {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	if g["status"] != "STAGED" || len(id) != 20 || !strings.HasPrefix(id, "00u") || strings.Contains(fmt.Sprint(g), "long password") {
		t.Errorf("created %v", g)
	}
	login := func() error {
		p, err := devorgtest.NewBrowser().SignIn(t.Context(), o.url+"/login", "gina@acme.example", "a long password")
		if err == nil && p.Status != 200 {
			err = fmt.Errorf("status %d", p.Status)
		}
		return err
	}
	step := func(name string) answer {
		return o.api("POST", "/api/v1/users/"+id+"/lifecycle/"+name, nil)
	}
	status := func() any { return o.api("GET", "/api/v1/users/gina@acme.example", nil).want(200).json()["status"] }
	if login() == nil {
		t.Error("a staged person could sign in")
	}
	step("suspend").wantAPI(400, "E0000001")
	step("activate").want(200)
	step("activate").wantAPI(403, "E0000016")
	if err := login(); err != nil {
		t.Error(err)
	}
	step("unsuspend").wantAPI(400, "E0000001")
	step("suspend").want(200)
	if login() == nil || status() != "SUSPENDED" {
		t.Errorf("suspended: %v", status())
	}
	step("unsuspend").want(200)
	step("deactivate").want(200)
	step("deactivate").want(200)
	if status() != "DEPROVISIONED" {
		t.Errorf("status %v", status())
	}
	step("activate").want(200)

	// A login can change, the id does not; logins are unique without regard to case.
	o.api("POST", "/api/v1/users/"+id, map[string]any{"profile": map[string]any{"login": "gina.grau@acme.example"}}).want(200)
	if got := o.api("GET", "/api/v1/users/gina.grau@acme.example", nil).want(200).json()["id"]; got != id {
		t.Errorf("id %v", got)
	}
	o.api("GET", "/api/v1/users/gina@acme.example", nil).wantAPI(404, "E0000007")
	o.api("POST", "/api/v1/users/"+id, map[string]any{"profile": map[string]any{"login": "ALICE@acme.example"}}).wantAPI(400, "E0000001")
	o.api("POST", "/api/v1/users", body("Alice@acme.example")).wantAPI(400, "E0000001")
	for name, change := range map[string]any{"login": "", "email": "", "firstName": nil, "lastName": 7} {
		b := body("new@acme.example")
		b["profile"].(map[string]any)[name] = change
		o.api("POST", "/api/v1/users", b).wantAPI(400, "E0000001")
	}
	for _, login := range []string{"noat", "a b@x", "a@b/c"} {
		o.api("POST", "/api/v1/users", body(login)).wantAPI(400, "E0000001")
	}
	short := body("new@acme.example")
	short["credentials"] = map[string]any{"password": map[string]any{"value": "short"}}
	o.api("POST", "/api/v1/users", short).wantAPI(400, "E0000001")
	o.request("POST", "/api/v1/users", "{", "Authorization", "SSWS "+APIToken).wantAPI(400, "E0000003")
	o.request("POST", "/api/v1/users", strings.Repeat(" ", maxBody+1), "Authorization", "SSWS "+APIToken).wantAPI(413, "E0000003")

	o.api("DELETE", "/api/v1/users/"+id, nil).want(204)
	o.api("DELETE", "/api/v1/users/"+id, nil).want(204)
	o.api("DELETE", "/api/v1/users/"+id, nil).wantAPI(404, "E0000007")
	for _, kind := range []string{"create", "activate", "suspend", "unsuspend", "deactivate", "delete.initiated"} {
		o.wantEvent("user.lifecycle." + kind)
	}
}

func TestMemberships(t *testing.T) {
	o := newTestOrg(t)
	g := o.api("POST", "/api/v1/groups", map[string]any{"profile": map[string]any{"name": "temporal:deploy:extra", "description": "d"}}).want(200).json()
	if got, want := keysOf(g), "_links created id lastMembershipUpdated lastUpdated objectClass profile type"; got != want || g["type"] != "OKTA_GROUP" {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	const alice = "00ualice000000000001"
	path := "/api/v1/groups/" + g["id"].(string)
	o.api("PUT", path+"/users/"+alice, nil).want(204)
	o.api("PUT", path+"/users/"+alice, nil).want(204)
	if got := logins(o.api("GET", path+"/users", nil).list()); got != "alice" {
		t.Errorf("members %q", got)
	}
	if _, claims := o.verified(o.login("alice@acme.example")["access_token"]); fmt.Sprint(claims["groups"]) != "[temporal:deploy:extra temporal:deploy:write temporal:payments:read]" {
		t.Errorf("groups %v", claims["groups"])
	}
	var names []string
	for _, g := range o.api("GET", "/api/v1/users/alice@acme.example/groups", nil).want(200).list() {
		names = append(names, g["profile"].(map[string]any)["name"].(string))
	}
	if got := strings.Join(names, " "); got != "Everyone temporal:deploy:extra temporal:deploy:write temporal:payments:read" {
		t.Errorf("alice's groups: %s", got)
	}
	o.api("DELETE", path+"/users/"+alice, nil).want(204)
	o.api("DELETE", path+"/users/"+alice, nil).want(204)
	adds, removes := 0, 0
	for _, e := range o.events() {
		switch e {
		case "group.user_membership.add":
			adds++
		case "group.user_membership.remove":
			removes++
		}
	}
	if adds != 1 || removes != 1 {
		t.Errorf("%d add and %d remove events, want one each", adds, removes)
	}

	o.api("PUT", path+"/users/00unobody", nil).wantAPI(404, "E0000007")
	o.api("PUT", "/api/v1/groups/00gnone/users/"+alice, nil).wantAPI(404, "E0000007")
	o.api("POST", "/api/v1/groups", map[string]any{"profile": map[string]any{"name": "temporal:deploy:extra"}}).wantAPI(400, "E0000001")
	o.api("POST", "/api/v1/groups", map[string]any{"profile": map[string]any{"name": " "}}).wantAPI(400, "E0000001")
	all := o.api("GET", "/api/v1/groups?q=everyone", nil).want(200).list()
	if len(all) != 1 || all[0]["type"] != "BUILT_IN" {
		t.Fatalf("Everyone: %v", all)
	}
	built := "/api/v1/groups/" + all[0]["id"].(string)
	o.api("DELETE", built+"/users/"+alice, nil).wantAPI(403, "E0000006")
	o.api("DELETE", built, nil).wantAPI(403, "E0000006")
	if n := len(o.api("GET", built+"/users?limit=1000", nil).list()); n != 6 {
		t.Errorf("%d people in Everyone", n)
	}
	if got := len(o.api("GET", "/api/v1/groups?"+url.Values{"search": {`type eq "OKTA_GROUP" and profile.name sw "temporal:payments"`}}.Encode(), nil).want(200).list()); got != 4 {
		t.Errorf("%d groups found", got)
	}
	o.api("DELETE", path, nil).want(204)
	o.api("GET", path, nil).wantAPI(404, "E0000007")
	o.wantEvent("group.lifecycle.create")
	o.wantEvent("group.lifecycle.delete")
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{`a eq "b"`, `(a eq "b" or c pr) and d co "\"x"`, `((((`, `a eq "`, "\"\\", `not a eq "b"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		match, err := parseFilter(raw)
		if (match == nil) == (err == nil) {
			t.Fatal("neither a filter nor an error, or both")
		}
		if err == nil {
			match(func(string) []string { return []string{"b"} })
		}
	})
}
