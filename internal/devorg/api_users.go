package devorg

import (
	"errors"
	"net/http"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// showUser is Okta's User object.
func (o *Org) showUser(u store.User) any {
	self := o.base.String() + "/api/v1/users/" + u.ID
	return map[string]any{
		"id": u.ID, "status": u.Status, "created": stamp(u.Created), "activated": stampOrNull(u.Activated), "statusChanged": stampOrNull(u.StatusChanged),
		"lastLogin": stampOrNull(u.LastLogin), "lastUpdated": stamp(u.LastUpdated), "passwordChanged": stampOrNull(u.PasswordChanged),
		"type": map[string]any{"id": "otydevorg00000000001"}, "profile": u.Profile,
		"credentials": map[string]any{"provider": map[string]any{"type": "OKTA", "name": "OKTA"}},
		"_links":      map[string]any{"self": map[string]any{"href": self}},
	}
}

// findUser resolves an id or a login.
func findUser(tx *store.Tx, idOrLogin string) (store.User, error) {
	u, err := tx.User(idOrLogin)
	if errors.Is(err, store.ErrNotFound) {
		u, err = tx.UserByLogin(idOrLogin)
	}
	return u, orMissing(err, printable(idOrLogin), "User")
}

// userAttribute is what filter and search expressions can name.
func userAttribute(u store.User) func(string) []string {
	return func(name string) []string {
		switch name {
		case "id":
			return []string{u.ID}
		case "status":
			return []string{u.Status}
		case "created":
			return []string{stamp(u.Created)}
		case "lastUpdated":
			return []string{stamp(u.LastUpdated)}
		}
		if attribute, ok := strings.CutPrefix(name, "profile."); ok && u.Attribute(attribute) != "" {
			return []string{u.Attribute(attribute)}
		}
		return nil
	}
}

// listUsers serves GET /api/v1/users with search or filter or q. Without any of them, deprovisioned people are left out, as at Okta.
func (o *Org) listUsers(c *call) error {
	p, err := c.paging(200, 200)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	expression := q.Get("search")
	if expression == "" {
		expression = q.Get("filter")
	}
	match, err := parseFilter(expression)
	if err != nil {
		return invalid("search", "search: "+err.Error())
	}
	start := strings.ToLower(q.Get("q"))
	keep := func(u store.User) bool {
		switch {
		case expression != "":
			return match(userAttribute(u))
		case start != "":
			return strings.HasPrefix(strings.ToLower(u.Attribute("firstName")), start) || strings.HasPrefix(strings.ToLower(u.Attribute("lastName")), start) ||
				strings.HasPrefix(strings.ToLower(u.Attribute("email")), start)
		}
		return u.Status != store.Deprovisioned
	}
	users, err := o.usersAfter(c, p, keep)
	if err != nil {
		return err
	}
	c.json(http.StatusOK, pageOf(c, p, users, func(u store.User) string { return u.ID }, func(store.User) bool { return true }, o.showUser))
	return nil
}

// usersAfter finds one person more than a page takes, reading no more of the org than that needs.
func (o *Org) usersAfter(c *call, p pageParams, keep func(store.User) bool) (out []store.User, err error) {
	err = o.view(c.r.Context(), func(tx *store.Tx) error {
		for after, batch := p.after, p.limit+1; len(out) <= p.limit; batch = 1000 {
			users, err := tx.UsersAfter(after, batch)
			if err != nil {
				return err
			}
			for _, u := range users {
				if keep(u) {
					out = append(out, u)
				}
			}
			if len(users) < batch {
				return nil
			}
			after = users[len(users)-1].ID
		}
		return nil
	})
	return out, err
}

// getUser serves GET /api/v1/users/{idOrLogin}.
func (o *Org) getUser(c *call) error {
	var u store.User
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { u, err = findUser(tx, c.r.PathValue("user")); return err }); err != nil {
		return err
	}
	c.json(http.StatusOK, o.showUser(u))
	return nil
}

// userBody is the body of create and update.
type userBody struct {
	Profile     map[string]any `json:"profile"`
	Credentials struct {
		Password struct {
			Value string `json:"value"`
		} `json:"password"`
	} `json:"credentials"`
	GroupIDs []string `json:"groupIds"`
}

// createUser serves POST /api/v1/users?activate=true|false.
func (o *Org) createUser(c *call) error {
	var in userBody
	if err := c.body(&in); err != nil {
		return err
	}
	u := store.User{ID: newID("00u"), Status: store.Staged, Profile: in.Profile, Created: c.now, StatusChanged: c.now, LastUpdated: c.now}
	if err := checkProfile(&u); err != nil {
		return err
	}
	if c.r.URL.Query().Get("activate") != "false" {
		u.Status, u.Activated = store.Active, c.now
	}
	if err := setPassword(c, &u, in); err != nil {
		return err
	}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		if err := putUser(tx, u); err != nil {
			return err
		}
		if err := o.record(tx, c, event{kind: "user.lifecycle.create", message: "Create Okta user", actor: c.api.party, targets: []logParty{userParty(u)}}); err != nil {
			return err
		}
		if u.Status == store.Active {
			if err := o.record(tx, c, event{kind: "user.lifecycle.activate", message: "Activate Okta user", actor: c.api.party, targets: []logParty{userParty(u)}}); err != nil {
				return err
			}
		}
		all, err := tx.GroupByName(everyone)
		if err != nil {
			return err
		}
		if _, err := tx.AddMember(all.ID, u.ID, c.now); err != nil {
			return err
		}
		for _, id := range in.GroupIDs {
			if err := o.join(tx, c, id, u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showUser(u))
	return nil
}

// updateUser serves POST /api/v1/users/{idOrLogin}: a partial update. A login can change; the id never does.
func (o *Org) updateUser(c *call) error {
	var in userBody
	if err := c.body(&in); err != nil {
		return err
	}
	var u store.User
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		var err error
		if u, err = findUser(tx, c.r.PathValue("user")); err != nil {
			return err
		}
		for k, v := range in.Profile {
			u.Profile[k] = v
		}
		u.LastUpdated = c.now
		if err := checkProfile(&u); err != nil {
			return err
		}
		if err := setPassword(c, &u, in); err != nil {
			return err
		}
		if err := putUser(tx, u); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "user.account.update_profile", message: "Update user profile for Okta", actor: c.api.party, targets: []logParty{userParty(u)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showUser(u))
	return nil
}

// checkProfile requires what Okta requires and takes the login out of the profile.
func checkProfile(u *store.User) error {
	var causes []string
	for _, name := range []string{"login", "email", "firstName", "lastName"} {
		if u.Attribute(name) == "" {
			causes = append(causes, name+": The field cannot be left blank")
		}
	}
	if causes != nil {
		return invalid(strings.Split(causes[0], ":")[0], causes...)
	}
	if u.Login = u.Attribute("login"); !strings.Contains(u.Login, "@") || len(u.Login) > 100 || strings.ContainsAny(u.Login, "/ \t\r\n") {
		return invalid("login", "login: Username must be in the form of an email address")
	}
	return nil
}

func setPassword(c *call, u *store.User, in userBody) error {
	password := in.Credentials.Password.Value
	if password == "" {
		return nil
	}
	if len(password) < 8 {
		return invalid("password", "password: Password requirements were not met. It must be at least 8 characters.")
	}
	hash, err := hashPassword(password)
	u.Password, u.PasswordChanged = hash, c.now
	return err
}

func putUser(tx *store.Tx, u store.User) error {
	err := tx.PutUser(u)
	if errors.Is(err, store.ErrExists) {
		return invalid("login", "login: An object with this field already exists in the current organization")
	}
	return err
}

// listUserGroups serves GET /api/v1/users/{idOrLogin}/groups.
func (o *Org) listUserGroups(c *call) error {
	var groups []store.Group
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		u, err := findUser(tx, c.r.PathValue("user"))
		if err == nil {
			groups, err = tx.GroupsOf(u.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	out := []any{}
	for _, g := range groups {
		out = append(out, o.showGroup(g))
	}
	c.links("")
	c.json(http.StatusOK, out)
	return nil
}
