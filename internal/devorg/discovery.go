package devorg

import (
	"slices"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// oidcScopes are the scopes that every custom authorization server has.
var oidcScopes = []string{"openid", "profile", "email", "groups", "offline_access"}

// server is a custom authorization server and what it is made of.
type server struct {
	store.AuthServer
	issuer   string
	scopes   []asScope
	claims   []asClaim  // active ones
	policies []asPolicy // by priority, with their rules
}

func (as server) endpoint(name string) string { return as.issuer + "/v1/" + name }

func (as server) hasScope(scope string) bool {
	return slices.ContainsFunc(as.scopes, func(s asScope) bool { return s.Name == scope })
}

// server finds a custom authorization server by id.
func (o *Org) server(tx *store.Tx, id string) (server, error) {
	row, err := tx.AuthServer(id)
	if err != nil {
		return server{}, orMissing(err, printable(id), "AuthorizationServer")
	}
	as := server{AuthServer: row, issuer: o.Issuer(id)}
	return as, as.load(tx)
}

// pathServer finds the custom authorization server that the path names.
func (o *Org) pathServer(c *call) (as server, err error) {
	err = o.view(c.r.Context(), func(tx *store.Tx) error {
		as, err = o.server(tx, c.r.PathValue("as"))
		return err
	})
	return as, err
}

// metadata is a discovery document (OpenID Connect Discovery section 3, RFC 8414 section 2).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint,omitempty"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint,omitempty"`
	JWKS          string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported,omitempty"`
	ResponseModes []string `json:"response_modes_supported,omitempty"`
	GrantTypes    []string `json:"grant_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	IDTokenAlgs   []string `json:"id_token_signing_alg_values_supported,omitempty"`
	Scopes        []string `json:"scopes_supported"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Claims        []string `json:"claims_supported,omitempty"`
	Challenges    []string `json:"code_challenge_methods_supported,omitempty"`
	Introspection string   `json:"introspection_endpoint"`
	IntroAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	Revocation    string   `json:"revocation_endpoint"`
	RevAuth       []string `json:"revocation_endpoint_auth_methods_supported"`
	EndSession    string   `json:"end_session_endpoint,omitempty"`
	RequestParam  bool     `json:"request_parameter_supported"`
	RequestURI    bool     `json:"request_uri_parameter_supported"`
	ResponseIss   bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	Device        string   `json:"device_authorization_endpoint,omitempty"`
}

// serverMetadata serves both well-known documents of a custom authorization server.
func (o *Org) serverMetadata(c *call) error {
	as, err := o.pathServer(c)
	if err != nil {
		return err
	}
	auth := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
	c.w.Header().Set("Cache-Control", "max-age=86400, must-revalidate")
	c.json(200, metadata{
		Issuer: as.issuer, Authorization: as.endpoint("authorize"), Token: as.endpoint("token"), UserInfo: as.endpoint("userinfo"), JWKS: as.endpoint("keys"),
		ResponseTypes: []string{"code"}, ResponseModes: []string{"query"},
		GrantTypes:   []string{grantCode, grantRefresh, grantClient, grantDevice, grantExchange},
		SubjectTypes: []string{"public"}, IDTokenAlgs: []string{"RS256"},
		Scopes:    as.published(),
		TokenAuth: auth, TokenAuthAlgs: []string{"RS256"},
		Claims: []string{"iss", "ver", "sub", "aud", "iat", "exp", "jti", "auth_time", "amr", "idp", "nonce", "name", "given_name", "family_name",
			"preferred_username", "email", "email_verified", "groups", "at_hash", "uid", "cid"},
		Challenges: []string{"S256"}, Introspection: as.endpoint("introspect"), IntroAuth: auth, Revocation: as.endpoint("revoke"), RevAuth: auth,
		EndSession: as.endpoint("logout"), ResponseIss: true, Device: as.endpoint("device/authorize"),
	})
	return nil
}

// orgMetadata serves both well-known documents of the org authorization server: it issues tokens for the management API only.
func (o *Org) orgMetadata(c *call) error {
	base := o.base.String()
	auth := []string{"private_key_jwt"}
	c.w.Header().Set("Cache-Control", "max-age=86400, must-revalidate")
	c.json(200, metadata{
		Issuer: base, Token: base + "/oauth2/v1/token", JWKS: base + "/oauth2/v1/keys",
		GrantTypes: []string{grantClient}, SubjectTypes: []string{"public"}, Scopes: oktaScopes,
		TokenAuth: auth, TokenAuthAlgs: []string{"RS256"},
		Introspection: base + "/oauth2/v1/introspect", IntroAuth: auth, Revocation: base + "/oauth2/v1/revoke", RevAuth: auth,
	})
	return nil
}
