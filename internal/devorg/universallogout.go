package devorg

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// universal is where Universal Logout calls (draft-parecki-oauth-global-token-revocation). At Okta an admin sets it on the app.
type universal struct {
	Endpoint string `json:"endpoint"` // "": nobody is called
	Client   string `json:"client_id"`
	Format   string `json:"format"` // of the subject: email or iss_sub
	Sent     int64  `json:"sent,omitempty"`
}

const metaLogout = "universal_logout"

// logoutKinds are what ends everything of a person.
var logoutKinds = []string{"user.session.clear", "user.lifecycle.suspend", "user.lifecycle.deactivate", "user.account.reset_password"}

// getLogout serves GET /dev/logout.
func (o *Org) getLogout(c *call) error {
	var u universal
	if err := o.view(c.r.Context(), func(tx *store.Tx) error { return metaJSON(tx, metaLogout, &u) }); err != nil {
		return err
	}
	c.json(http.StatusOK, u)
	return nil
}

// putLogout serves PUT /dev/logout. It tells what happens from now on.
func (o *Org) putLogout(c *call) error {
	var u universal
	if err := c.body(&u); err != nil {
		return err
	}
	switch {
	case u.Endpoint != "" && !checkHookURI(u.Endpoint):
		return invalid("endpoint", "endpoint: an https URL (or http on loopback) is needed")
	case u.Endpoint != "" && u.Client == "":
		return invalid("client_id", "client_id: the app whose tokens end is needed")
	case u.Format != "" && u.Format != "email" && u.Format != "iss_sub":
		return invalid("format", "format: email or iss_sub")
	}
	if u.Format == "" {
		u.Format = "email"
	}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		var before universal
		err := metaJSON(tx, metaLogout, &before)
		if err == nil && before.Endpoint != "" {
			u.Sent = before.Sent
		} else if err == nil {
			u.Sent, err = lastLog(tx)
		}
		if err != nil {
			return err
		}
		return setMetaJSON(tx, metaLogout, u)
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, u)
	return nil
}

// tellLogout calls for everybody who was signed out since.
func (t *teller) tellLogout(ctx context.Context) error {
	for {
		var u universal
		if err := t.o.view(ctx, func(tx *store.Tx) error { return metaJSON(tx, metaLogout, &u) }); err != nil || u.Endpoint == "" {
			return err
		}
		events, end, err := told(ctx, t.o, u.Sent, func(e logEvent) bool { return slices.Contains(logoutKinds, e.Type) })
		if err != nil || end == u.Sent {
			return err
		}
		f := t.o.faults.way("logout", t.o.now())
		if err := t.deliver(ctx, f, events, func(ctx context.Context, e logEvent, cut bool) error { return t.signOut(ctx, u, e, cut) }); err != nil {
			return err
		}
		err = t.o.store.Update(ctx, func(tx *store.Tx) error {
			var now universal
			if err := metaJSON(tx, metaLogout, &now); err != nil {
				return err
			}
			now.Sent = end
			return setMetaJSON(tx, metaLogout, now)
		})
		if err != nil {
			return err
		}
	}
}

// signOut asks the endpoint to end somebody's tokens.
func (t *teller) signOut(ctx context.Context, u universal, e logEvent, cut bool) error {
	who, ok := e.user()
	if !ok {
		return nil
	}
	key, err := t.o.signing(ctx)
	if err != nil {
		return err
	}
	base := t.o.base.String()
	at, err := time.Parse(time.RFC3339, e.Published) // the token is of the event's time: one that comes late ends nothing that came after
	if now := t.o.now(); err != nil || now.Sub(at) > 4*time.Minute {
		at = now
	}
	raw, err := signTyped(key.key, key.kid, "global-token-revocation+jwt", map[string]any{
		"iss": base, "sub": u.Client, "aud": u.Endpoint, "jti": digest(u.Client + e.UUID)[:32], "iat": at.Unix(), "exp": at.Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		return err
	}
	subject := map[string]any{"format": "email", "email": who.AlternateID}
	if u.Format == "iss_sub" {
		subject = map[string]any{"format": "iss_sub", "iss": base, "sub": who.ID}
	}
	body, err := json.Marshal(map[string]any{"sub_id": subject})
	if err != nil {
		return err
	}
	if cut {
		body = body[:len(body)/2]
	}
	return t.post(ctx, u.Endpoint, "application/json", "Bearer "+raw, string(body))
}

// resetPassword serves POST /api/v1/users/{idOrLogin}/lifecycle/reset_password. Sessions end; the password stays, because nobody reads mail here.
func (o *Org) resetPassword(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		u, err := findUser(tx, c.r.PathValue("user"))
		if err != nil {
			return err
		}
		if u.Status != store.Active {
			return notAllowed("This operation is not allowed in the user's current status.")
		}
		if err := tx.DeleteSessionsOf(u.ID); err != nil {
			return err
		}
		if err := tx.RevokeTokensOf(u.ID); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "user.account.reset_password", message: "User reset password for Okta", actor: c.api.party, targets: []logParty{userParty(u)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, map[string]string{"resetPasswordUrl": o.base.String() + "/login"})
	return nil
}
