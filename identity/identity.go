// Package identity turns a bearer token into a verified identity, or says why it will not.
//
// It owns issuers, their signing keys, the strict token profile and the cache of verified tokens.
// It refuses to know Temporal, policy, and where the token came from.
package identity

import "time"

// Kind says what sort of principal a token speaks for.
type Kind string

const (
	// User is a person: the token carries a uid.
	User Kind = "user"
	// Client is a service or agent acting for itself: the token carries only a client id.
	Client Kind = "client"
)

// Actor is one link of a delegation chain (RFC 8693 section 4.1, claim "act").
type Actor struct {
	Subject string `json:"sub"`
	Profile string `json:"sub_profile,omitempty"` // "user", "ai_agent" or empty
}

// Claims is what a verified token said. It is data: holding a Claims proves nothing, holding an Identity does.
// A Claims got from an Identity is shared by every call with the same token and must not be changed.
type Claims struct {
	Issuer   string    `json:"iss"`
	Kind     Kind      `json:"kind"`
	ID       string    `json:"id"`    // uid of a user, client id of a client: unique within the issuer and stable
	Login    string    `json:"login"` // display name (Okta's "sub"); may change, never decides
	ClientID string    `json:"client_id"`
	Audience string    `json:"aud"`
	Scopes   []string  `json:"scopes,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	AuthTime time.Time `json:"auth_time,omitzero"` // when the user last proved who they are; zero when the token does not say
	ACR      string    `json:"acr,omitempty"`
	AMR      []string  `json:"amr,omitempty"`    // how the user authenticated (RFC 8176), where the access token says (RFC 9068 section 2.2.1); Okta's don't
	Actors   []Actor   `json:"actors,omitempty"` // outermost (current) actor first; nested ones are for audit only
	TokenID  string    `json:"jti"`
	// SessionID is the issuer's session (claim "sid", OpenID Connect Front-Channel Logout section 3), where a token carries it; Okta's access
	// tokens do so only with a custom claim.
	SessionID string    `json:"sid,omitempty"`
	KeyID     string    `json:"kid"`
	IssuedAt  time.Time `json:"iat"`
	Expires   time.Time `json:"exp"`

	// GroupsElsewhere says that Groups is not all: the token has none because its issuer's settings say to look them up, or says itself that it
	// leaves some out. Whoever decides by groups must look them up, or refuse.
	GroupsElsewhere bool `json:"groups_elsewhere,omitempty"`
	// Custom are the claims that the profile gives no meaning, by name, as JSON; nil for most tokens. CustomLost says that there was more than is
	// kept, so that what is not here is not absent.
	Custom     map[string]string `json:"-"`
	CustomLost bool              `json:"-"`
	// Profile is attributes of the directory, by name, as JSON, and FactsAsOf how they and groups from there stood: put in by who looked them up,
	// never by a Verifier.
	Profile   map[string]string `json:"-"`
	FactsAsOf time.Time         `json:"-"`
}

// Principal is the stable name of who this is: "user:ISSUER|UID" or "client:ISSUER|CID".
func (c *Claims) Principal() string { return string(c.Kind) + ":" + c.Issuer + "|" + c.ID }

// Identity is a verified token. Only a Verifier makes one; the zero value is nobody and is refused everywhere.
type Identity struct {
	claims *Claims
	amr    []string // of the ID token that came beside it
}

// Claims returns what the token said, or nil for the zero Identity.
func (id Identity) Claims() *Claims { return id.claims }

// With adds what a verified ID token says of the same login.
func (id Identity) With(c Companion) Identity {
	id.amr = c.AMR
	return id
}

// AMR is how the person authenticated (RFC 8176): as the access token says, else as an ID token beside it said. Shared: must not be changed.
func (id Identity) AMR() []string {
	if id.claims != nil && len(id.claims.AMR) > 0 {
		return id.claims.AMR
	}
	return id.amr
}

// Valid reports whether the identity came from a Verifier.
func (id Identity) Valid() bool { return id.claims != nil }
