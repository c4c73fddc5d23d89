package devorg

import (
	"fmt"
	"regexp"
)

// Seed is what a new development org contains.
//
// People, groups and client credentials are planted once, when the database is new, and belong to the database from then
// on. Apps, authorization servers' scopes and claims and the API token are configuration: they follow the seed at every Open.
type Seed struct {
	Org      string // display name of the company
	APIToken string // SSWS token for the management API; development only
	Password string // of every person, shown on the login page; development only

	People      []Person
	Groups      []string // more groups than those people are in
	Apps        []App
	AuthServers []AuthServer
}

// Person is someone who can log in.
type Person struct {
	ID                         string // "00u…" and 20 characters
	Login, FirstName, LastName string
	Groups                     []string // Everyone is implied
	Deprovisioned              bool
}

// App is an OAuth client. Its id is its client id.
type App struct {
	ID, Label    string
	Type         string   // native, web or service
	AuthMethod   string   // none, client_secret_basic or private_key_jwt
	GrantTypes   []string // as on the wire
	RedirectURIs []string // matched exactly
	LogoutURIs   []string // post_logout_redirect_uris, matched exactly
	Secret       string   // planted once, for client_secret_basic
	Leeway       int      // seconds that a rotated refresh token still works, 0..60
	StaticTokens bool     // refresh tokens are not rotated
	PKCE         bool     // PKCE required; public clients always need it
	Agent        bool     // an AI agent: token exchange with an actor_token emits act
	OktaScopes   []string // okta.* scopes granted for the org authorization server; makes it a management app
}

// AuthServer is a custom authorization server.
type AuthServer struct {
	ID, Name, Description, Audience string
	Scopes                          []string // custom scopes, besides OpenID Connect's own
	GroupsRegex                     string   // the groups claim's REGEX filter; empty: no groups claim
	AccessMinutes                   int      // access token lifetime, 5..1440, default 60
	RefreshWindowMinutes            int      // refresh token idle window, default 10080
}

// Grant types, as on the wire.
const (
	grantCode     = "authorization_code"
	grantRefresh  = "refresh_token"
	grantClient   = "client_credentials"
	grantDevice   = "urn:ietf:params:oauth:grant-type:device_code"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Token endpoint authentication methods. Okta's client_secret_basic clients may use client_secret_post as well.
const (
	authNone       = "none"
	authSecret     = "client_secret_basic"
	authPrivateKey = "private_key_jwt"
)

func (s *Seed) check() error {
	for _, as := range s.AuthServers {
		if as.ID == "" || as.Audience == "" {
			return fmt.Errorf("authorization server %q needs an id and an audience", as.Name)
		}
		if _, err := regexp.Compile(as.GroupsRegex); err != nil {
			return fmt.Errorf("authorization server %q: its groups filter: %w", as.ID, err)
		}
		if m := as.accessMinutes(); m < 5 || m > 1440 {
			return fmt.Errorf("authorization server %q: access tokens of %d minutes; 5 to 1440 are possible", as.ID, m)
		}
	}
	for _, a := range s.Apps {
		switch a.AuthMethod {
		case authNone, authSecret, authPrivateKey:
		default:
			return fmt.Errorf("app %q: unknown authentication method %q", a.ID, a.AuthMethod)
		}
		if a.Leeway < 0 || a.Leeway > 60 {
			return fmt.Errorf("app %q: a leeway of %d seconds; 0 to 60 are possible", a.ID, a.Leeway)
		}
	}
	return nil
}

func (a AuthServer) accessMinutes() int {
	if a.AccessMinutes == 0 {
		return 60
	}
	return a.AccessMinutes
}

func (a AuthServer) refreshWindowMinutes() int {
	if a.RefreshWindowMinutes == 0 {
		return 10080
	}
	return a.RefreshWindowMinutes
}

// App finds an app of the seed so that it can be changed before Open; nil if there is none with the id.
func (s *Seed) App(id string) *App {
	for i := range s.Apps {
		if s.Apps[i].ID == id {
			return &s.Apps[i]
		}
	}
	return nil
}
