package devorg

import (
	"crypto/sha256"
	"net/http"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// maxSecrets is how many secrets an app can have, so that one can be rotated into the other.
const maxSecrets = 2

// showSecret is Okta's client secret object.
func (o *Org) showSecret(s store.ClientSecret) any {
	self := o.base.String() + "/api/v1/apps/" + s.AppID + "/credentials/secrets/" + s.ID
	hash := sha256.Sum256([]byte(s.Secret))
	links := map[string]any{"deactivate": map[string]any{"href": self + "/lifecycle/deactivate", "hints": map[string]any{"allow": []string{"POST"}}}}
	if s.Status != store.Active {
		links = map[string]any{
			"activate": map[string]any{"href": self + "/lifecycle/activate", "hints": map[string]any{"allow": []string{"POST"}}},
			"delete":   map[string]any{"href": self, "hints": map[string]any{"allow": []string{"DELETE"}}},
		}
	}
	return map[string]any{
		"id": s.ID, "status": s.Status, "client_secret": s.Secret, "secret_hash": b64.EncodeToString(hash[:16]),
		"created": stamp(s.Created), "lastUpdated": stamp(s.LastUpdated), "_links": links,
	}
}

// listSecrets serves GET /api/v1/apps/{id}/credentials/secrets.
func (o *Org) listSecrets(c *call) error {
	var secrets []store.ClientSecret
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err == nil {
			secrets, err = tx.ClientSecrets(a.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	out := []any{}
	for _, s := range secrets {
		out = append(out, o.showSecret(s))
	}
	c.json(http.StatusOK, out)
	return nil
}

// addSecret serves POST /api/v1/apps/{id}/credentials/secrets: the body may bring a secret of one's own.
func (o *Org) addSecret(c *call) error {
	var in struct {
		Secret string `json:"client_secret"`
		Status string `json:"status"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	switch {
	case in.Status != "" && in.Status != store.Active && in.Status != store.Inactive:
		return invalid("status", "status: Must be ACTIVE or INACTIVE")
	case in.Secret != "" && (len(in.Secret) < 14 || len(in.Secret) > 100):
		return invalid("client_secret", "client_secret: Must have 14 to 100 characters")
	}
	if in.Secret == "" {
		in.Secret = newSecret()
	}
	if in.Status == "" {
		in.Status = store.Active
	}
	s := store.ClientSecret{ID: newID("ocs"), AppID: c.r.PathValue("app"), Secret: in.Secret, Status: in.Status, Created: c.now, LastUpdated: c.now}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if a.Settings.AuthMethod != authSecret {
			return invalid("client_secret", "client_secret: The app does not authenticate with a secret")
		}
		secrets, err := tx.ClientSecrets(a.ID)
		if err != nil {
			return err
		}
		if len(secrets) >= maxSecrets {
			return invalid("client_secret", "client_secret: You've reached the maximum number of client secrets per client; deactivate and delete one first")
		}
		if err := tx.PutClientSecret(s); err != nil {
			return err
		}
		return o.recordCredential(tx, c, a, "create", s.ID, "client_secret")
	})
	if err != nil {
		return err
	}
	c.json(http.StatusCreated, o.showSecret(s))
	return nil
}

// getSecret serves GET /api/v1/apps/{id}/credentials/secrets/{secretId}.
func (o *Org) getSecret(c *call) error {
	var s store.ClientSecret
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { s, err = pathSecret(tx, c); return err }); err != nil {
		return err
	}
	c.json(http.StatusOK, o.showSecret(s))
	return nil
}

func pathSecret(tx *store.Tx, c *call) (store.ClientSecret, error) {
	s, err := tx.ClientSecret(c.r.PathValue("app"), c.r.PathValue("secret"))
	return s, orMissing(err, printable(c.r.PathValue("secret")), "OAuth2ClientSecret")
}

// changeSecret serves POST /api/v1/apps/{id}/credentials/secrets/{secretId}/lifecycle/{activate,deactivate}.
func (o *Org) changeSecret(c *call) error {
	status, err := credentialStatus(c)
	if err != nil {
		return err
	}
	var s store.ClientSecret
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if s, err = pathSecret(tx, c); err != nil || s.Status == status {
			return err
		}
		if status == store.Inactive {
			secrets, err := tx.ClientSecrets(a.ID)
			if err != nil {
				return err
			}
			active := 0
			for _, other := range secrets {
				if other.Status == store.Active {
					active++
				}
			}
			if active <= 1 {
				return invalid("status", "status: The only active client secret cannot be deactivated; add another first")
			}
		}
		s.Status, s.LastUpdated = status, c.now
		if err := tx.PutClientSecret(s); err != nil {
			return err
		}
		return o.recordCredential(tx, c, a, c.r.PathValue("step"), s.ID, "client_secret")
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showSecret(s))
	return nil
}

// deleteSecret serves DELETE /api/v1/apps/{id}/credentials/secrets/{secretId}: only inactive secrets.
func (o *Org) deleteSecret(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		s, err := pathSecret(tx, c)
		if err != nil {
			return err
		}
		if s.Status == store.Active {
			return invalid("status", "status: An active client secret cannot be deleted; deactivate it first")
		}
		if err := tx.DeleteClientSecret(a.ID, s.ID); err != nil {
			return err
		}
		return o.recordCredential(tx, c, a, "delete", s.ID, "client_secret")
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
