package devorg

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// maxClientKeys is how many keys an app can have.
const maxClientKeys = 50

// showClientKey is a key with the link to its next lifecycle step.
func (o *Org) showClientKey(k store.ClientKey) any {
	self := o.base.String() + "/api/v1/apps/" + k.AppID + "/credentials/jwks/" + k.ID
	links := map[string]any{}
	link := func(name, href, method string) {
		links[name] = map[string]any{"href": href, "hints": map[string]any{"allow": []string{method}}}
	}
	if k.Status == store.Active {
		link("deactivate", self+"/lifecycle/deactivate", "POST")
	} else {
		link("activate", self+"/lifecycle/activate", "POST")
		link("delete", self, "DELETE")
	}
	return map[string]any{
		"id": k.ID, "kid": k.KID, "status": k.Status, "kty": "RSA", "alg": "RS256", "use": "sig", "e": k.E, "n": k.N,
		"created": stamp(k.Created), "lastUpdated": stamp(k.LastUpdated), "_links": links,
	}
}

// listClientKeys serves GET /api/v1/apps/{id}/credentials/jwks.
func (o *Org) listClientKeys(c *call) error {
	var keys []store.ClientKey
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err == nil {
			keys, err = tx.ClientKeys(a.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	out := []any{}
	for _, k := range keys {
		out = append(out, o.showClientKey(k))
	}
	c.json(http.StatusOK, out)
	return nil
}

// addClientKey serves POST /api/v1/apps/{id}/credentials/jwks.
func (o *Org) addClientKey(c *call) error {
	var in struct {
		KID    string  `json:"kid"`
		Kty    string  `json:"kty"`
		Alg    string  `json:"alg"`
		Use    string  `json:"use"`
		E      string  `json:"e"`
		N      string  `json:"n"`
		Status string  `json:"status"`
		D      *string `json:"d"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	switch {
	case in.D != nil:
		return invalid("jwk", "d: A private key must never be sent. Send the public part only, and make a new key: this one has been disclosed")
	case in.Kty != "RSA" || in.Alg != "" && in.Alg != "RS256" || in.Use != "" && in.Use != "sig":
		return invalid("jwk", "kty, alg, use: Only RSA signing keys for RS256 are supported")
	case in.Status != "" && in.Status != store.Active && in.Status != store.Inactive:
		return invalid("status", "status: Must be ACTIVE or INACTIVE")
	case len(in.KID) > 255:
		return invalid("kid", "kid: At most 255 characters")
	}
	if _, err := parsePublic(in.E, in.N); err != nil {
		return invalid("jwk", "jwk: "+err.Error())
	}
	if in.KID == "" {
		in.KID = newSecret()
	}
	if in.Status == "" {
		in.Status = store.Active
	}
	k := store.ClientKey{ID: newID("pks"), AppID: c.r.PathValue("app"), KID: in.KID, Status: in.Status, E: in.E, N: in.N, Created: c.now, LastUpdated: c.now}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		keys, err := tx.ClientKeys(a.ID)
		if err != nil {
			return err
		}
		if len(keys) >= maxClientKeys {
			return invalid("jwks", fmt.Sprintf("jwks: An app can have at most %d keys; delete an inactive one first", maxClientKeys))
		}
		err = tx.PutClientKey(k)
		if errors.Is(err, store.ErrExists) {
			return invalid("kid", "kid: The app already has a key with this kid")
		}
		if err != nil {
			return err
		}
		return o.recordCredential(tx, c, a, "create", k.ID, "JWK")
	})
	if err != nil {
		return err
	}
	c.json(http.StatusCreated, o.showClientKey(k))
	return nil
}

// getClientKey serves GET /api/v1/apps/{id}/credentials/jwks/{keyId}.
func (o *Org) getClientKey(c *call) error {
	var k store.ClientKey
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { k, err = pathClientKey(tx, c); return err }); err != nil {
		return err
	}
	c.json(http.StatusOK, o.showClientKey(k))
	return nil
}

func pathClientKey(tx *store.Tx, c *call) (store.ClientKey, error) {
	k, err := tx.ClientKey(c.r.PathValue("app"), c.r.PathValue("key"))
	return k, orMissing(err, printable(c.r.PathValue("key")), "OAuth2ClientJsonWebKey")
}

// changeClientKey serves POST /api/v1/apps/{id}/credentials/jwks/{keyId}/lifecycle/{activate,deactivate}.
func (o *Org) changeClientKey(c *call) error {
	status, err := credentialStatus(c)
	if err != nil {
		return err
	}
	var k store.ClientKey
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if k, err = pathClientKey(tx, c); err != nil || k.Status == status {
			return err
		}
		k.Status, k.LastUpdated = status, c.now
		if err := tx.PutClientKey(k); err != nil {
			return err
		}
		return o.recordCredential(tx, c, a, c.r.PathValue("step"), k.ID, "JWK")
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showClientKey(k))
	return nil
}

// deleteClientKey serves DELETE /api/v1/apps/{id}/credentials/jwks/{keyId}: only inactive keys.
func (o *Org) deleteClientKey(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		k, err := pathClientKey(tx, c)
		if err != nil {
			return err
		}
		if k.Status == store.Active {
			return invalid("status", "status: An active key cannot be deleted; deactivate it first")
		}
		if err := tx.DeleteClientKey(a.ID, k.ID); err != nil {
			return err
		}
		return o.recordCredential(tx, c, a, "delete", k.ID, "JWK")
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// credentialStatus reads the lifecycle step in the path.
func credentialStatus(c *call) (string, error) {
	switch c.r.PathValue("step") {
	case "activate":
		return store.Active, nil
	case "deactivate":
		return store.Inactive, nil
	}
	return "", missing(printable(c.r.URL.Path), "this development org does not serve it")
}

// recordCredential logs a change of a client key or secret.
func (o *Org) recordCredential(tx *store.Tx, c *call, a store.App, step, id, kind string) error {
	return o.record(tx, c, event{
		kind: "app.oauth2.credentials.lifecycle." + step, message: "OAuth2 client credential " + step, actor: c.api.party,
		targets: []logParty{appParty(a), {ID: id, Type: kind, AlternateID: "unknown", DisplayName: kind}},
	})
}
