package devorg

import (
	"crypto/subtle"
	"errors"
	"net/url"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// authenticate finds out which client sends a form, by the one method that the client is registered for
// (RFC 6749 section 2.3, RFC 7523 section 2.2). audiences are the values that an assertion's `aud` may have.
func (o *Org) authenticate(tx *store.Tx, c *call, form url.Values, audiences ...string) (store.App, error) {
	basicID, basicSecret, basic := c.r.BasicAuth()
	if !basic && c.r.Header.Get("Authorization") != "" {
		return store.App{}, badClient("The Authorization header is not of the form 'Basic base64(client_id:client_secret)'.")
	}
	methods := 0
	for _, used := range []bool{basic, form.Get("client_secret") != "", form.Has("client_assertion") || form.Has("client_assertion_type")} {
		if used {
			methods++
		}
	}
	if methods > 1 {
		return store.App{}, badRequest("invalid_request", "Cannot supply multiple client credentials. Use one of: client_secret_basic, client_secret_post, private_key_jwt.")
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return o.authenticateKey(tx, c, form, audiences)
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if basic {
		// RFC 6749 section 2.3.1: both parts are form-encoded inside the header.
		var err1, err2 error
		id, err1 = url.QueryUnescape(basicID)
		secret, err2 = url.QueryUnescape(basicSecret)
		if err1 != nil || err2 != nil || form.Has("client_id") && form.Get("client_id") != id {
			return store.App{}, badClient("The Authorization header is not well-formed, or names another client than 'client_id'.")
		}
	}
	if id == "" {
		return store.App{}, badClient("The client_id is missing.")
	}
	app, err := o.activeApp(tx, id)
	if err != nil {
		return store.App{}, err
	}
	switch app.Settings.AuthMethod {
	case authNone:
		if secret != "" || basic {
			return store.App{}, badClient("This client is public: it has no secret and must send only 'client_id'.")
		}
		return app, nil
	case authSecret:
		return app, o.checkSecret(tx, app, secret)
	default:
		return store.App{}, badClient("Client authentication failed. The client must authenticate with 'private_key_jwt'.")
	}
}

func (o *Org) activeApp(tx *store.Tx, id string) (store.App, error) {
	app, err := tx.App(id)
	if errors.Is(err, store.ErrNotFound) || err == nil && app.Status != store.Active {
		return store.App{}, badClient("Invalid value for 'client_id' parameter.")
	}
	return app, err
}

func (o *Org) checkSecret(tx *store.Tx, app store.App, presented string) error {
	secrets, err := tx.ClientSecrets(app.ID)
	if err != nil {
		return err
	}
	match := 0
	for _, s := range secrets {
		if s.Status == store.Active {
			match |= subtle.ConstantTimeCompare([]byte(s.Secret), []byte(presented))
		}
	}
	if match != 1 {
		return badClient("The client secret supplied for a confidential client is invalid.")
	}
	return nil
}

// authenticateKey checks a client assertion and spends its jti.
func (o *Org) authenticateKey(tx *store.Tx, c *call, form url.Values, audiences []string) (store.App, error) {
	if form.Get("client_assertion_type") != assertionType {
		return store.App{}, badRequest("invalid_request", "The 'client_assertion_type' must be %s.", assertionType)
	}
	a, err := parseAssertion(form.Get("client_assertion"))
	if err != nil {
		return store.App{}, badClient("The client_assertion token is invalid: " + err.Error() + ".")
	}
	if id := form.Get("client_id"); id != "" && id != a.issuer {
		return store.App{}, badClient("The client_assertion token is for another client than 'client_id'.")
	}
	app, err := o.activeApp(tx, a.issuer)
	if err != nil {
		return store.App{}, err
	}
	if app.Settings.AuthMethod != authPrivateKey {
		return store.App{}, badClient("This client is not registered for 'private_key_jwt'.")
	}
	if err := o.checkAssertionKey(tx, app, a); err != nil {
		return store.App{}, err
	}
	if err := a.check(c.now, audiences...); err != nil {
		return store.App{}, badClient("Client authentication failed: " + err.Error() + ".")
	}
	if a.id == "" {
		return app, nil // Okta makes jti optional; without one an assertion is not single-use
	}
	err = tx.UseAssertion(app.ID, a.id, time.Unix(a.expires, 0), c.now)
	if errors.Is(err, store.ErrExists) {
		return store.App{}, badClient("The client_assertion token has already been used: its 'jti' is known.")
	}
	return app, err
}

// checkAssertionKey verifies the signature with the client's active key that the header names, or with its only one.
func (o *Org) checkAssertionKey(tx *store.Tx, app store.App, a *assertion) error {
	keys, err := tx.ClientKeys(app.ID)
	if err != nil {
		return err
	}
	var active []store.ClientKey
	for _, k := range keys {
		if k.Status == store.Active && (a.kid == "" || a.kid == k.KID) {
			active = append(active, k)
		}
	}
	if len(active) != 1 {
		return badClient("The client_assertion token's 'kid' does not name an active key of the client.")
	}
	public, err := parsePublic(active[0].E, active[0].N)
	if err != nil {
		return err
	}
	if !a.verify(public) {
		return badClient("The client_assertion token's signature is invalid.")
	}
	return nil
}
