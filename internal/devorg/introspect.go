package devorg

import (
	"encoding/json"
	"errors"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

var inactive = map[string]any{"active": false}

// introspect serves POST /oauth2/{as}/v1/introspect (RFC 7662).
func (o *Org) introspect(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	answer := inactive
	// A write transaction because authenticating may spend an assertion.
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		app, err := o.authenticate(tx, c, form, as.endpoint("introspect"), as.endpoint("token"))
		if err != nil {
			return err
		}
		if !form.Has("token") {
			return badRequest("invalid_request", "The introspection request must specify a 'token'.")
		}
		answer, err = o.describeToken(tx, c, as, app, form.Get("token"))
		return err
	})
	if err != nil {
		return err
	}
	c.json(200, answer)
	return nil
}

// describeToken says what a token is. token_type_hint is not needed: the kinds cannot be confused.
func (o *Org) describeToken(tx *store.Tx, c *call, as server, app store.App, raw string) (map[string]any, error) {
	if t, row, err := o.liveAccess(tx, c, as, raw); err == nil {
		// A public client proves nothing about itself, so it may ask about its own tokens only.
		if app.Settings.AuthMethod == authNone && row.ClientID != app.ID {
			return inactive, nil
		}
		return describeAccess(t), nil
	}
	if t, err := o.openToken(tx, as.ID, raw); err == nil {
		exp, ok := t.seconds("exp")
		if ok && exp > c.now.Unix() && t.claim("aud") == app.ID && len(t.claim("jti")) > 3 && t.claim("jti")[:3] == "ID." {
			return describeClaims(t, nil), nil
		}
		return inactive, nil
	}
	row, family, err := findRefresh(tx, raw)
	if errors.Is(err, store.ErrNotFound) || err == nil && (family.ClientID != app.ID || family.Revoked || !row.Rotated.IsZero() || !c.now.Before(row.Expires)) {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	user, err := o.liveUser(tx, family.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"active": true, "token_type": "Bearer", "scope": joinScopes(family.Scopes), "client_id": family.ClientID, "username": user.Login,
		"iat": row.Created.Unix(), "exp": row.Expires.Unix(), "sub": user.Login, "uid": user.ID, "aud": as.Audience, "iss": as.issuer, "jti": row.ID,
	}, nil
}

func findRefresh(tx *store.Tx, raw string) (store.RefreshToken, store.Family, error) {
	row, err := tx.RefreshToken(digest(raw))
	if err != nil {
		return row, store.Family{}, err
	}
	family, err := tx.Family(row.FamilyID)
	return row, family, err
}

func describeAccess(t *jws) map[string]any {
	out := describeClaims(t, map[string]any{"token_type": "Bearer", "client_id": t.claim("cid"), "username": t.claim("sub")})
	var scp []string
	if json.Unmarshal(t.claims["scp"], &scp) == nil {
		out["scope"] = joinScopes(scp)
	}
	delete(out, "scp")
	delete(out, "ver")
	delete(out, "cid")
	return out
}

func describeClaims(t *jws, out map[string]any) map[string]any {
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range t.claims {
		out[name] = value
	}
	out["active"] = true
	return out
}
