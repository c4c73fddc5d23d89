package devorg

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// authRequest is a checked authorization request.
type authRequest struct {
	as        server
	app       store.App
	redirect  string // registered, so it may be redirected to
	state     string
	nonce     string
	scopes    []string
	challenge string
	prompt    string
	maxAge    time.Duration // negative: not limited
	loginHint string
	fresh     time.Time // the login must not be older; see loginRedirect
}

// freshParam carries prompt=login's demand across the login page. Not part of OAuth; only the org itself sends it.
const freshParam = "_fresh"

// redirectError is a refusal that goes back to the client by way of the browser (RFC 6749 section 4.1.2.1).
type redirectError struct {
	to                *authRequest
	Code, Description string
}

func (e *redirectError) Error() string { return e.Code + ": " + e.Description }

func (e *redirectError) answer(c *call) {
	c.redirect(e.to.response(url.Values{"error": {e.Code}, "error_description": {e.Description}}))
}

// response is the redirect URI with parameters, state and iss (RFC 9207) added.
func (a *authRequest) response(params url.Values) string {
	if a.state != "" {
		params.Set("state", a.state)
	}
	params.Set("iss", a.as.issuer)
	sep := "?"
	if strings.Contains(a.redirect, "?") {
		sep = "&"
	}
	return a.redirect + sep + params.Encode()
}

// parseAuthorize checks an authorization request. Until client and redirect URI are known to belong together the browser
// must not be redirected, so those errors are pages.
func (o *Org) parseAuthorize(tx *store.Tx, asID string, p url.Values) (*authRequest, error) {
	as, err := o.server(tx, asID)
	if err != nil {
		return nil, &pageError{http.StatusNotFound, "No such authorization server", "The address names an authorization server that this org does not have."}
	}
	app, err := tx.App(p.Get("client_id"))
	if errors.Is(err, store.ErrNotFound) || err == nil && (app.Status != store.Active || !slices.Contains(app.Settings.GrantTypes, grantCode)) {
		return nil, &pageError{http.StatusBadRequest, "Unknown application", "The request's client_id is not one of this org's applications that people sign in to."}
	}
	if err != nil {
		return nil, err
	}
	a := &authRequest{as: as, app: app, redirect: p.Get("redirect_uri"), state: p.Get("state"), nonce: p.Get("nonce"),
		challenge: p.Get("code_challenge"), prompt: p.Get("prompt"), maxAge: -1, loginHint: p.Get("login_hint")}
	if !slices.Contains(app.Settings.RedirectURIs, a.redirect) {
		return nil, &pageError{http.StatusBadRequest, "Redirect address not allowed",
			"The 'redirect_uri' parameter must be one of the redirect URIs registered for " + app.Label + ", exactly, port included."}
	}
	return a, a.parseRest(p)
}

// parseRest checks the parameters whose errors go back to the client.
func (a *authRequest) parseRest(p url.Values) error {
	refuse := func(code, description string) error { return &redirectError{a, code, description} }
	if p.Has("request") {
		return refuse("request_not_supported", "The 'request' parameter is not supported.")
	}
	if p.Has("request_uri") {
		return refuse("request_uri_not_supported", "The 'request_uri' parameter is not supported.")
	}
	if p.Get("response_type") != "code" {
		return refuse("unsupported_response_type", "The response type is not supported by the authorization server. Configured response types: [code].")
	}
	if m := p.Get("response_mode"); m != "" && m != "query" {
		return refuse("invalid_request", "The 'response_mode' is not supported. Supported: query.")
	}
	if a.state == "" {
		return refuse("invalid_request", "The authentication request has an invalid 'state' parameter.")
	}
	if len(a.state) > 2048 || len(a.nonce) > 2048 {
		return refuse("invalid_request", "The 'state' or 'nonce' parameter is too long.")
	}
	method := p.Get("code_challenge_method")
	switch {
	case a.challenge == "" && method != "":
		return refuse("invalid_request", "The 'code_challenge' is missing.")
	case a.challenge == "" && a.app.Settings.PKCERequired:
		return refuse("invalid_request", "PKCE code challenge is required when the token endpoint authentication method is 'NONE'.")
	case a.challenge != "" && method != "S256":
		return refuse("invalid_request", "The 'code_challenge_method' must be S256.")
	case a.challenge != "" && !validVerifier(a.challenge):
		return refuse("invalid_request", "The 'code_challenge' must be 43 to 128 unreserved characters.")
	}
	switch a.prompt {
	case "", "none", "login", "consent":
	default:
		return refuse("invalid_request", "The 'prompt' parameter must be none, login or consent.")
	}
	if raw := p.Get("max_age"); raw != "" {
		n, err := strconv.ParseUint(raw, 10, 31)
		if err != nil {
			return refuse("invalid_request", "The 'max_age' parameter must be a number of seconds.")
		}
		a.maxAge = time.Duration(n) * time.Second
	}
	if raw := p.Get(freshParam); raw != "" {
		ms, err := strconv.ParseInt(raw, 10, 64)
		if err != nil {
			return refuse("invalid_request", "The request was altered on its way through the sign-in page.")
		}
		a.fresh = time.UnixMilli(ms)
	}
	var err error
	if a.scopes, err = a.as.userScopes(a.app, p.Get("scope")); err != nil {
		var refused *oauthError
		if errors.As(err, &refused) {
			return refuse(refused.Code, refused.Description)
		}
	}
	return err
}

// authorize serves GET and POST /oauth2/{as}/v1/authorize.
func (o *Org) authorize(c *call) error {
	params, err := c.authorizeParams()
	if err != nil {
		return &pageError{http.StatusBadRequest, "Malformed request", err.Error()}
	}
	var to string
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := o.parseAuthorize(tx, c.r.PathValue("as"), params)
		if err != nil {
			return err
		}
		session, user, err := o.session(tx, c)
		if err != nil {
			return err
		}
		if !a.satisfiedBy(session, c.now) {
			if a.prompt == "none" {
				return &redirectError{a, "login_required", "The client specified not to prompt, but the user is not logged in."}
			}
			to = loginRedirect(c, a, params)
			return nil
		}
		err = o.checkAssigned(tx, a.app, user)
		if err == nil {
			_, err = o.ruleFor(tx, a.as, a.app, user, grantCode, a.scopes)
		}
		var refused *oauthError
		if errors.As(err, &refused) {
			return &redirectError{a, refused.Code, refused.Description}
		}
		if err != nil {
			return err
		}
		to, err = o.issueCode(tx, c, a, *session, *user)
		return err
	})
	if err != nil {
		return err
	}
	c.redirect(to)
	return nil
}

func (c *call) authorizeParams() (url.Values, error) {
	if c.r.Method == http.MethodPost {
		return c.form()
	}
	return parseParams(c.r.URL.RawQuery)
}

// satisfiedBy says whether the browser's login is good enough for the request.
func (a *authRequest) satisfiedBy(s *store.Session, now time.Time) bool {
	switch {
	case s == nil:
		return false
	case a.prompt == "login":
		return false // loginRedirect replaces it by fresh, or this would go round for ever
	case s.AuthTime.Before(a.fresh):
		return false
	case a.maxAge >= 0 && now.Sub(s.AuthTime) > a.maxAge:
		return false
	}
	return true
}

// loginRedirect is the login page's address, with the way back in fromURI.
func loginRedirect(c *call, a *authRequest, params url.Values) string {
	back := url.Values{}
	for k, v := range params {
		back[k] = v
	}
	if a.prompt == "login" {
		back.Del("prompt")
		back.Set(freshParam, strconv.FormatInt(c.now.UnixMilli(), 10))
	}
	q := url.Values{"fromURI": {c.r.URL.Path + "?" + back.Encode()}}
	if a.loginHint != "" {
		q.Set("username", a.loginHint)
	}
	return "/login?" + q.Encode()
}

// issueCode starts a family for this login and gives the browser its one-time code.
func (o *Org) issueCode(tx *store.Tx, c *call, a *authRequest, s store.Session, user store.User) (string, error) {
	family := store.Family{
		ID: newID("fam"), ClientID: a.app.ID, UserID: user.ID, AuthServer: a.as.ID, Scopes: a.scopes, Nonce: a.nonce,
		SessionID: s.ID, AuthTime: s.AuthTime, Created: c.now,
	}
	if err := tx.AddFamily(family); err != nil {
		return "", err
	}
	code := newSecret()
	if err := tx.AddCode(store.Code{Hash: digest(code), FamilyID: family.ID, RedirectURI: a.redirect, Challenge: a.challenge, Expires: c.now.Add(codeLifetime)}); err != nil {
		return "", err
	}
	err := o.record(tx, c, event{
		kind: "app.oauth2.as.authorize.code", message: "OIDC authorization code request", actor: userParty(user), session: s.ID,
		targets: []logParty{appParty(a.app)}, debug: map[string]any{"authorizationServerId": a.as.ID, "requestedScopes": joinScopes(a.scopes)},
	})
	return a.response(url.Values{"code": {code}}), err
}
