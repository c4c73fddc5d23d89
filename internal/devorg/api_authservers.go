package devorg

import (
	"errors"
	"net/http"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// showServer is Okta's AuthorizationServer object.
func (o *Org) showServer(tx *store.Tx, as server) (any, error) {
	signing := map[string]any{"rotationMode": as.RotationMode, "lastRotated": stamp(as.LastRotated), "use": "sig"}
	if key, err := tx.SigningKey(as.ID, store.Active); err == nil {
		signing["kid"] = key.KID
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if as.RotationMode == "AUTO" {
		signing["nextRotation"] = stamp(as.LastRotated.Add(rotationPeriod))
	}
	self := o.base.String() + "/api/v1/authorizationServers/" + as.ID
	return map[string]any{
		"id": as.ID, "name": as.Name, "description": as.Description, "audiences": []string{as.Audience}, "issuer": as.issuer, "issuerMode": "ORG_URL",
		"status": store.Active, "default": as.ID == "default", "created": stamp(as.Created), "lastUpdated": stamp(as.LastUpdated),
		"credentials": map[string]any{"signing": signing},
		"_links": map[string]any{
			"self": map[string]any{"href": self}, "scopes": map[string]any{"href": self + "/scopes"}, "claims": map[string]any{"href": self + "/claims"},
			"policies": map[string]any{"href": self + "/policies"}, "rotateKey": map[string]any{"href": self + "/credentials/lifecycle/keyRotate"},
		},
	}, nil
}

// listServers serves GET /api/v1/authorizationServers.
func (o *Org) listServers(c *call) error {
	out := []any{}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		rows, err := tx.AuthServers()
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !strings.Contains(strings.ToLower(row.Name), strings.ToLower(c.r.URL.Query().Get("q"))) {
				continue
			}
			shown, err := o.readServer(tx, c, row.ID)
			if err != nil {
				return err
			}
			out = append(out, shown)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

// readServer shows a server, making its first key if it has none so that the answer has a kid.
func (o *Org) readServer(tx *store.Tx, c *call, id string) (any, error) {
	if _, err := o.server(tx, id); err != nil {
		return nil, err
	}
	if _, err := o.activeKey(tx, c, id); err != nil {
		return nil, err
	}
	as, err := o.server(tx, id) // again: activeKey may have rotated
	if err != nil {
		return nil, err
	}
	return o.showServer(tx, as)
}

// getServer serves GET /api/v1/authorizationServers/{id}.
func (o *Org) getServer(c *call) error {
	var out any
	err := o.update(c.r.Context(), func(tx *store.Tx) (err error) {
		out, err = o.readServer(tx, c, c.r.PathValue("as"))
		return err
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

// putServer serves PUT /api/v1/authorizationServers/{id}: name, description, audience and rotation mode.
func (o *Org) putServer(c *call) error {
	var in struct {
		Name        string   `json:"name"`
		Description string   `json:"description"`
		Audiences   []string `json:"audiences"`
		Credentials struct {
			Signing struct {
				RotationMode string `json:"rotationMode"`
			} `json:"signing"`
		} `json:"credentials"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	mode := in.Credentials.Signing.RotationMode
	switch {
	case in.Name == "":
		return invalid("name", "name: The field cannot be left blank")
	case len(in.Audiences) != 1 || in.Audiences[0] == "":
		return invalid("audiences", "audiences: Exactly one audience is required")
	case mode != "" && mode != "AUTO" && mode != "MANUAL":
		return invalid("credentials.signing.rotationMode", "rotationMode: Must be AUTO or MANUAL")
	}
	var out any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		row := as.AuthServer
		row.Name, row.Description, row.Audience, row.LastUpdated = in.Name, in.Description, in.Audiences[0], c.now
		if mode != "" {
			row.RotationMode = mode
		}
		if err := tx.PutAuthServer(row); err != nil {
			return err
		}
		if err := o.record(tx, c, event{kind: "app.oauth2.as.updated", message: "OAuth2 authorization server updated", actor: c.api.party, targets: []logParty{serverParty(row)}}); err != nil {
			return err
		}
		out, err = o.readServer(tx, c, row.ID)
		return err
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

func serverParty(as store.AuthServer) logParty {
	return logParty{ID: as.ID, Type: "AuthorizationServer", AlternateID: "unknown", DisplayName: as.Name}
}

// listSigningKeys serves GET /api/v1/authorizationServers/{id}/credentials/keys.
func (o *Org) listSigningKeys(c *call) error {
	var out []any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		if _, err := o.activeKey(tx, c, as.ID); err != nil {
			return err
		}
		// Asking for the keys is what prepares the next one.
		if _, err := o.ensureKey(tx, c.now, as.ID, store.Next); err != nil {
			return err
		}
		out, err = o.showSigningKeys(tx, as.ID)
		return err
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

// rotateSigningKeys serves POST /api/v1/authorizationServers/{id}/credentials/lifecycle/keyRotate.
func (o *Org) rotateSigningKeys(c *call) error {
	var in struct {
		Use string `json:"use"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if in.Use != "sig" {
		return invalid("rotateKeys", "use: Must be sig")
	}
	var out []any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		if err := o.rotateKeys(tx, c, as.AuthServer, c.api.party); err != nil {
			return err
		}
		out, err = o.showSigningKeys(tx, as.ID)
		return err
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

func (o *Org) showSigningKeys(tx *store.Tx, as string) ([]any, error) {
	rows, err := tx.SigningKeys(as)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, row := range rows {
		key, err := o.parseKey(row)
		if err != nil {
			return nil, err
		}
		e, n := jwkNumbers(&key.PublicKey)
		self := o.base.String() + "/api/v1/authorizationServers/" + as + "/credentials/keys/" + row.KID
		out = append(out, map[string]any{
			"status": row.Status, "alg": "RS256", "e": e, "n": n, "kid": row.KID, "kty": "RSA", "use": "sig",
			"created": stamp(row.Created), "lastUpdated": stamp(row.LastUpdated),
			"_links": map[string]any{"self": map[string]any{"href": self, "hints": map[string]any{"allow": []string{"GET"}}}},
		})
	}
	return out, nil
}
