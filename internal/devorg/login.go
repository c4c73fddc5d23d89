package devorg

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// loginPage serves GET /login?fromURI=…&username=….
func (o *Org) loginPage(c *call) error {
	q, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return &pageError{http.StatusBadRequest, "Malformed request", "The address of this page is not well-formed."}
	}
	return o.showLogin(c, http.StatusOK, q.Get("fromURI"), q.Get("username"), "")
}

// showLogin shows the form. Where it leads is checked here already, so that the page can say whom it signs in to and
// the browser's form-action policy can allow exactly that application's address.
func (o *Org) showLogin(c *call, status int, from, username, problem string) error {
	p := page{Title: "Sign in", CSRF: o.csrfToken(c), FromURI: from, Username: username, Problem: problem}
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		target, err := o.checkReturn(tx, from)
		if err != nil {
			return err
		}
		if target != nil {
			p.App, p.FormAction = target.app.Label, origin(target.redirect)
		}
		p.People, err = o.hints(tx)
		return err
	})
	if err != nil {
		return err
	}
	p.Password = o.seed.Password
	c.page(status, "login", p)
	return nil
}

// checkReturn accepts only the places that the login page may lead back to: the start page, the device page and the
// authorize endpoint with a request that is good in itself. Anything else would be an open redirect.
func (o *Org) checkReturn(tx *store.Tx, from string) (*authRequest, error) {
	if from == "" {
		return nil, nil
	}
	bad := &pageError{http.StatusBadRequest, "Malformed request", "The page to return to after signing in is not one of this org's."}
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || strings.ContainsAny(from, "\\\r\n\t") {
		return nil, bad
	}
	if u.Path == "/activate" && u.RawPath == "" {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(u.Path, "/oauth2/")
	as, ok2 := strings.CutSuffix(rest, "/v1/authorize")
	if !ok || !ok2 || as == "" || strings.Contains(as, "/") || u.RawPath != "" {
		return nil, bad
	}
	params, err := parseParams(u.RawQuery)
	if err != nil {
		return nil, bad
	}
	a, err := o.parseAuthorize(tx, as, params)
	var toClient *redirectError
	if errors.As(err, &toClient) {
		return a, nil // the authorize endpoint will tell the client
	}
	return a, err
}

// origin is scheme and host of a registered redirect URI, or just the scheme of a custom one, as CSP writes them.
func origin(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil || strings.ContainsAny(u.Host, "; ,'") {
		return ""
	}
	if u.Host == "" {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// hints are the people that a developer can sign in as.
func (o *Org) hints(tx *store.Tx) ([]hint, error) {
	var out []hint
	for _, p := range o.seed.People {
		u, err := tx.User(p.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && u.Status != store.Active {
			continue
		}
		if err != nil {
			return nil, err
		}
		groups, err := tx.GroupsOf(u.ID)
		if err != nil {
			return nil, err
		}
		h := hint{Login: u.Login, Name: u.DisplayName()}
		for _, g := range groups {
			if g.Name != everyone {
				h.Groups = append(h.Groups, g.Name)
			}
		}
		out = append(out, h)
	}
	return out, nil
}

// login serves POST /login with the fields csrf, fromURI, username and password.
func (o *Org) login(c *call) error {
	form, err := c.form()
	if err != nil {
		return &pageError{http.StatusBadRequest, "Malformed request", err.Error()}
	}
	if err := o.checkForm(c, form.Get("csrf")); err != nil {
		return err
	}
	from, username := form.Get("fromURI"), strings.TrimSpace(form.Get("username"))
	ok := false
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		if _, err := o.checkReturn(tx, from); err != nil {
			return err
		}
		user, err := tx.UserByLogin(username)
		found := err == nil
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		hash := user.Password
		if !found {
			hash = noPassword
		}
		ok = checkPassword(hash, form.Get("password")) && found && user.Status == store.Active
		if ok {
			return o.startSession(tx, c, user)
		}
		who := logParty{ID: "unknown", Type: "User", AlternateID: printable(username), DisplayName: "unknown"}
		if found {
			who = userParty(user)
		}
		return o.record(tx, c, event{kind: "user.session.start", message: "User login to Okta", failure: "INVALID_CREDENTIALS", actor: who})
	})
	if err != nil {
		return err
	}
	if !ok {
		return o.showLogin(c, http.StatusUnauthorized, from, username, "Unable to sign in. Check the username and the password.")
	}
	if from == "" {
		from = "/"
	}
	c.redirect(from)
	return nil
}

// signOut serves POST /signout: ends the org session, not the applications'.
func (o *Org) signOut(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	if err := o.checkForm(c, form.Get("csrf")); err != nil {
		return err
	}
	if err := o.update(c.r.Context(), func(tx *store.Tx) error { return o.endSession(tx, c) }); err != nil {
		return err
	}
	c.redirect("/")
	return nil
}

// endSession ends the browser's session, if it has one.
func (o *Org) endSession(tx *store.Tx, c *call) error {
	s, user, err := o.session(tx, c)
	if err != nil || s == nil {
		return err
	}
	if err := tx.DeleteSession(s.SecretHash); err != nil {
		return err
	}
	o.setCookie(c, sessionCookie, "", -1)
	return o.record(tx, c, event{kind: "user.session.end", message: "User logout from Okta", actor: userParty(*user), session: s.ID,
		targets: []logParty{userParty(*user)}})
}

// home serves GET /: where things are, and who is signed in.
func (o *Org) home(c *call) error {
	p := page{Title: o.seed.Org, CSRF: o.csrfToken(c)}
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		servers, err := tx.AuthServers()
		if err != nil {
			return err
		}
		for _, as := range servers {
			p.Issuers = append(p.Issuers, o.Issuer(as.ID))
		}
		_, user, err := o.session(tx, c)
		if user != nil {
			p.User = user.Login
		}
		if err == nil {
			p.People, err = o.hints(tx)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.page(http.StatusOK, "home", p)
	return nil
}
