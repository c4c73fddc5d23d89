package login

import (
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"golang.org/x/oauth2"
)

// DefaultProfile is the profile of the stock CLI's configuration file that we write: `temporal --profile bailiwick …` uses it.
const DefaultProfile = "bailiwick"

// Profile is what the stock temporal CLI's TOML file holds under [profile.NAME], as far as we read and write it. The keys are that
// CLI's: address, namespace, [tls] disabled, and [oauth] with the client, the endpoints and the tokens.
type Profile struct {
	Address     string // host:port of the frontend
	Namespace   string // default namespace; empty means the CLI's own default
	TLSDisabled bool   // needed for plaintext, because the CLI turns TLS on for any profile with a token

	ClientID     string
	AuthURL      string
	TokenURL     string
	Scopes       []string
	AccessToken  string
	RefreshToken string
	TokenType    string
	Expires      time.Time // zero when the provider did not say
}

// LogValue keeps the tokens out of every log.
func (p Profile) LogValue() slog.Value {
	return slog.GroupValue(slog.String("address", p.Address), slog.String("client_id", p.ClientID), slog.Time("expires", p.Expires))
}

// String keeps the tokens out of every message.
func (p Profile) String() string {
	return fmt.Sprintf("profile(%s, client %s, expires %s)", p.Address, p.ClientID, p.Expires.Format(time.RFC3339))
}

// Fresh reports whether the access token is good for at least margin after now.
func (p Profile) Fresh(now time.Time, margin time.Duration) bool {
	return p.AccessToken != "" && (p.Expires.IsZero() || now.Add(margin).Before(p.Expires))
}

// With returns the profile with the tokens that a provider gave. A refresh token that was not replaced stays.
func (p Profile) With(tok *oauth2.Token) Profile {
	p.AccessToken, p.Expires = tok.AccessToken, tok.Expiry
	p.TokenType = orDefault(tok.TokenType, "Bearer")
	if tok.RefreshToken != "" {
		p.RefreshToken = tok.RefreshToken
	}
	return p
}

var profileName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CheckName refuses profile and context names that would need quoting in TOML or could leave a directory.
func CheckName(what, name string) error {
	if !profileName.MatchString(name) {
		return fmt.Errorf("%s name %q: use letters, digits, - and _, at most 64", what, name)
	}
	return nil
}

// profileTOML is the exact shape of one profile in the file.
type profileTOML struct {
	Address   string    `toml:"address"`
	Namespace string    `toml:"namespace"`
	TLS       *tlsTOML  `toml:"tls"`
	OAuth     *oauthTML `toml:"oauth"`
}

type tlsTOML struct {
	Disabled bool `toml:"disabled"`
}

type oauthTML struct {
	ClientID     string   `toml:"client_id"`
	AuthURL      string   `toml:"auth_url"`
	TokenURL     string   `toml:"token_url"`
	AccessToken  string   `toml:"access_token"`
	RefreshToken string   `toml:"refresh_token"`
	TokenType    string   `toml:"token_type"`
	ExpiresAt    string   `toml:"expires_at"`
	Scopes       []string `toml:"scopes"`
}

func (t profileTOML) profile() (Profile, error) {
	p := Profile{Address: t.Address, Namespace: t.Namespace, TLSDisabled: t.TLS != nil && t.TLS.Disabled}
	if t.OAuth == nil || t.OAuth.AccessToken == "" && t.OAuth.RefreshToken == "" {
		return p, ErrNotLoggedIn
	}
	o := t.OAuth
	p.ClientID, p.AuthURL, p.TokenURL, p.Scopes = o.ClientID, o.AuthURL, o.TokenURL, o.Scopes
	p.AccessToken, p.RefreshToken, p.TokenType = o.AccessToken, o.RefreshToken, o.TokenType
	if o.ExpiresAt != "" {
		at, err := time.Parse(time.RFC3339, o.ExpiresAt)
		if err != nil {
			return p, fmt.Errorf("reading expires_at: %w", err)
		}
		p.Expires = at
	}
	return p, nil
}

// oauthTable is the [oauth] table as a map, in the shape that decoding the file into a map gives.
func (p Profile) oauthTable() map[string]any {
	m := map[string]any{}
	for k, v := range map[string]string{"client_id": p.ClientID, "auth_url": p.AuthURL, "token_url": p.TokenURL,
		"access_token": p.AccessToken, "refresh_token": p.RefreshToken, "token_type": p.TokenType} {
		if v != "" {
			m[k] = v
		}
	}
	if !p.Expires.IsZero() {
		m["expires_at"] = p.Expires.UTC().Format(time.RFC3339)
	}
	if len(p.Scopes) > 0 {
		scopes := make([]any, len(p.Scopes))
		for i, s := range p.Scopes {
			scopes[i] = s
		}
		m["scopes"] = scopes
	}
	return m
}
