package devorg

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// userinfo serves GET and POST /oauth2/{as}/v1/userinfo (OpenID Connect Core section 5.3).
func (o *Org) userinfo(c *call) error {
	raw, ok := bearer(c.r)
	if !ok {
		return &bearerError{http.StatusUnauthorized, "invalid_token", "The access token is missing."}
	}
	var out map[string]any
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		t, row, err := o.liveAccess(tx, c, as, raw)
		if err != nil || row.UserID == "" {
			return &bearerError{http.StatusUnauthorized, "invalid_token", "The access token is invalid."}
		}
		var scopes []string
		_ = json.Unmarshal(t.claims["scp"], &scopes) // absent in an agent's token, which then has no openid scope
		if !slices.Contains(scopes, "openid") {
			return &bearerError{http.StatusForbidden, "insufficient_scope", "The access token must provide access to the 'openid' scope."}
		}
		user, err := tx.User(row.UserID)
		if err != nil {
			return err
		}
		out = describeUser(user, scopes)
		if slices.Contains(scopes, "groups") {
			claims, err := o.groupsClaims(tx, issue{as: as, user: &user, scopes: scopes}, "IDENTITY")
			if err != nil {
				return err
			}
			for name, groups := range claims {
				out[name] = groups
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.json(200, out)
	return nil
}

// describeUser lists the standard claims of the scopes (OpenID Connect Core section 5.4).
func describeUser(u store.User, scopes []string) map[string]any {
	out := map[string]any{"sub": u.ID}
	if slices.Contains(scopes, "profile") {
		out["name"], out["preferred_username"] = u.DisplayName(), u.Login
		out["given_name"], out["family_name"] = u.Attribute("firstName"), u.Attribute("lastName")
		out["locale"], out["zoneinfo"], out["updated_at"] = "en_US", "America/Los_Angeles", u.LastUpdated.Unix()
	}
	if slices.Contains(scopes, "email") {
		out["email"], out["email_verified"] = u.Attribute("email"), true
	}
	return out
}

// bearer takes the token out of exactly one Authorization header of the scheme Bearer.
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	return raw, ok && strings.EqualFold(scheme, "Bearer") && raw != ""
}
