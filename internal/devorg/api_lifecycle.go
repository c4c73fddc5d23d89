package devorg

import (
	"net/http"
	"slices"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// lifecycleStep is one move of a person's status. Leaving ACTIVE ends sessions and kills tokens at once.
type lifecycleStep struct {
	from          []string
	to            string
	kind, message string
	wrong         *apiError // the answer from any other status
}

func lifecycleSteps() map[string]lifecycleStep {
	return map[string]lifecycleStep{
		"activate": {[]string{store.Staged, store.Deprovisioned}, store.Active, "user.lifecycle.activate", "Activate Okta user",
			&apiError{Status: http.StatusForbidden, Code: "E0000016", Summary: "Activation failed because the user is already active"}},
		"deactivate": {[]string{store.Staged, store.Active, store.Suspended, store.Deprovisioned}, store.Deprovisioned, "user.lifecycle.deactivate", "Deactivate Okta user", nil},
		"suspend": {[]string{store.Active}, store.Suspended, "user.lifecycle.suspend", "Suspend Okta user",
			invalid("status", "status: Cannot suspend a user that is not active")},
		"unsuspend": {[]string{store.Suspended}, store.Active, "user.lifecycle.unsuspend", "Unsuspend Okta user",
			invalid("status", "status: Cannot unsuspend a user that is not suspended")},
	}
}

// changeLifecycle serves POST /api/v1/users/{idOrLogin}/lifecycle/{activate,deactivate,suspend,unsuspend}.
func (o *Org) changeLifecycle(c *call) error {
	if c.r.PathValue("step") == "reset_password" {
		return o.resetPassword(c)
	}
	step, ok := lifecycleSteps()[c.r.PathValue("step")]
	if !ok {
		return missing(printable(c.r.URL.Path), "this development org does not serve it")
	}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		u, err := findUser(tx, c.r.PathValue("user"))
		if err != nil {
			return err
		}
		return o.moveUser(tx, c, u, step)
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, struct{}{})
	return nil
}

func (o *Org) moveUser(tx *store.Tx, c *call, u store.User, step lifecycleStep) error {
	if !slices.Contains(step.from, u.Status) {
		return step.wrong
	}
	if u.Status == step.to {
		return nil // deactivating twice is not an error
	}
	u.Status, u.StatusChanged, u.LastUpdated = step.to, c.now, c.now
	if step.to == store.Active && u.Activated.IsZero() {
		u.Activated = c.now
	}
	if err := tx.PutUser(u); err != nil {
		return err
	}
	if step.to != store.Active {
		if err := tx.DeleteSessionsOf(u.ID); err != nil {
			return err
		}
		if err := tx.RevokeTokensOf(u.ID); err != nil {
			return err
		}
	}
	return o.record(tx, c, event{kind: step.kind, message: step.message, actor: c.api.party, targets: []logParty{userParty(u)}})
}

// deleteUser serves DELETE /api/v1/users/{idOrLogin}: the first call deactivates, the second deletes for good.
func (o *Org) deleteUser(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		u, err := findUser(tx, c.r.PathValue("user"))
		if err != nil {
			return err
		}
		if u.Status != store.Deprovisioned {
			return o.moveUser(tx, c, u, lifecycleSteps()["deactivate"])
		}
		if err := tx.RevokeTokensOf(u.ID); err != nil {
			return err
		}
		if err := tx.DeleteUser(u.ID); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "user.lifecycle.delete.initiated", message: "Delete Okta user", actor: c.api.party, targets: []logParty{userParty(u)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// clearSessions serves DELETE /api/v1/users/{idOrLogin}/sessions?oauthTokens=true.
func (o *Org) clearSessions(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		u, err := findUser(tx, c.r.PathValue("user"))
		if err != nil {
			return err
		}
		if err := tx.DeleteSessionsOf(u.ID); err != nil {
			return err
		}
		if c.r.URL.Query().Get("oauthTokens") == "true" {
			if err := tx.RevokeTokensOf(u.ID); err != nil {
				return err
			}
			if err := o.record(tx, c, event{kind: "app.oauth2.as.token.revoke", message: "OAuth2 token revocation request", actor: c.api.party, targets: []logParty{userParty(u)}}); err != nil {
				return err
			}
		}
		return o.record(tx, c, event{kind: "user.session.clear", message: "Clear user session", actor: c.api.party, targets: []logParty{userParty(u)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
