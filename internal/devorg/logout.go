package devorg

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// logout serves GET and POST /oauth2/{as}/v1/logout (OpenID Connect RP-Initiated Logout): ends the browser's org session
// if the ID token is about its person, and returns to a registered address.
func (o *Org) logout(c *call) error {
	params, err := c.authorizeParams()
	if err != nil {
		return &pageError{http.StatusBadRequest, "Malformed request", err.Error()}
	}
	to := params.Get("post_logout_redirect_uri")
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		app, subject, err := o.checkHint(tx, as, params.Get("id_token_hint"))
		if err != nil {
			return err
		}
		if to != "" && !slices.Contains(app.Settings.LogoutURIs, to) {
			return &pageError{http.StatusBadRequest, "Redirect address not allowed",
				"The 'post_logout_redirect_uri' parameter must be one of the addresses registered for " + app.Label + ", exactly."}
		}
		s, _, err := o.session(tx, c)
		if err != nil || s == nil || s.UserID != subject {
			return err
		}
		return o.endSession(tx, c)
	})
	if err != nil {
		return err
	}
	if to == "" {
		c.redirect("/login")
		return nil
	}
	if state := params.Get("state"); state != "" {
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		to += sep + url.Values{"state": {state}}.Encode()
	}
	c.redirect(to)
	return nil
}

// checkHint finds the client and the person that an ID token was about. It may have expired.
func (o *Org) checkHint(tx *store.Tx, as server, raw string) (store.App, string, error) {
	bad := &pageError{http.StatusBadRequest, "Cannot sign out", "The 'id_token_hint' parameter must be an ID token that this authorization server issued."}
	t, err := o.openToken(tx, as.ID, raw)
	if err != nil || t.claim("iss") != as.issuer || !strings.HasPrefix(t.claim("jti"), "ID.") {
		return store.App{}, "", bad
	}
	app, err := tx.App(t.claim("aud"))
	if errors.Is(err, store.ErrNotFound) {
		return app, "", bad
	}
	return app, t.claim("sub"), err
}
