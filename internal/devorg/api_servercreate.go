package devorg

import (
	"net/http"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// createServer serves POST /api/v1/authorizationServers. A new server has OpenID Connect's scopes and nobody may use it: it has no policy.
func (o *Org) createServer(c *call) error {
	var in struct {
		Name        string   `json:"name"`
		Description string   `json:"description"`
		Audiences   []string `json:"audiences"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(in.Name) == "":
		return invalid("name", "name: The field cannot be left blank")
	case len(in.Audiences) != 1 || in.Audiences[0] == "":
		return invalid("audiences", "audiences: Exactly one audience is required")
	}
	var out any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		all, err := tx.AuthServers()
		if err != nil {
			return err
		}
		for _, other := range all {
			if other.Name == in.Name {
				return invalid("name", "name: An object with this field already exists in the current organization")
			}
		}
		row := store.AuthServer{ID: newID("aus"), Name: in.Name, Description: in.Description, Audience: in.Audiences[0], RotationMode: "AUTO", LastRotated: c.now, Created: c.now, LastUpdated: c.now}
		if err := tx.PutAuthServer(row); err != nil {
			return err
		}
		if err := o.plantSystem(tx, row.ID); err != nil {
			return err
		}
		if err := o.record(tx, c, event{kind: "app.oauth2.as.created", message: "OAuth2 authorization server created", actor: c.api.party, targets: []logParty{serverParty(row)}}); err != nil {
			return err
		}
		out, err = o.readServer(tx, c, row.ID)
		return err
	})
	if err != nil {
		return err
	}
	c.json(http.StatusCreated, out)
	return nil
}
