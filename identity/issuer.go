package identity

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Issuer is the settings of one trusted authorization server.
type Issuer struct {
	URL          string        `json:"url"`                     // exact `iss` of its tokens: https, or http on a loopback address only
	Audiences    []string      `json:"audiences"`               // accepted `aud`: one string, or an array of exactly one; at least one is required
	Algorithms   []string      `json:"algorithms,omitempty"`    // accepted JWS algorithms; default RS256. RS, PS and ES families and EdDSA are known
	GroupsClaims []string      `json:"groups_claims,omitempty"` // claims that hold group names, joined; default "groups" and "temporal_groups"
	ClientIDs    []string      `json:"client_ids,omitempty"`    // accepted `cid`; empty accepts any client of the issuer
	MaxLifetime  time.Duration `json:"max_lifetime,omitempty"`  // longest accepted exp - iat; default 24h (Okta's own maximum)
	TokenTypes   []string      `json:"token_types,omitempty"`   // accepted header `typ`, "" meaning absent; default "", "JWT", "at+jwt", "application/at+jwt"
	JWKSURL      string        `json:"jwks_url,omitempty"`      // where its keys are; default: from its discovery document, on its own host
	Groups       string        `json:"groups,omitempty"`        // GroupsFromToken (the default), or GroupsLookup: people's groups are not in the token, or not all
	GroupsMarker string        `json:"groups_marker,omitempty"` // claim (true or false) by which a token says that it leaves groups out; OpenID Connect's _claim_names is understood besides
}

// Config is the settings of a Verifier. The zero value of a field means its default.
type Config struct {
	Issuers    []Issuer              // at least one
	HTTPClient *http.Client          // default: a client of its own. Redirects and cookies are always handled by the Verifier
	Clock      func() time.Time      // default time.Now; decides exp, nbf, iat and the age of keys
	Skew       time.Duration         // how far nbf, iat and auth_time may lie ahead of Clock; default 60s. exp has no leeway
	MaxStale   time.Duration         // how long keys are served after the last good fetch; default 1h, at least Refresh
	Refresh    time.Duration         // time between fetches of an issuer's keys; default 5m
	Cooldown   time.Duration         // least time between fetches that unknown key ids cause; default 10s
	CacheSize  int                   // verified tokens remembered; default 10000
	Revoked    func(c *Claims) bool  // asked on every Verify, remembered tokens included; true refuses. Must be quick; default: never
	Looked     func(remembered bool) // told on every Verify whether the token was remembered, for metrics; default: nobody
	// NewKeys is told of signing keys that an issuer published and that were not in its set before, ahead of any token that is verified with
	// them, so that they can be put on record; default: nobody. It must be quick: callers whose token needs the keys wait for it.
	NewKeys func(issuer string, keys []PublicKey)
	Logger  *slog.Logger // default: discards
}

// PublicKey is a signing key as its issuer publishes it.
type PublicKey struct {
	ID  string // kid
	JWK string // RFC 7517: one object with the members that make the key, and no others
}

const (
	fetchTimeout = 5 * time.Second // one fetch of discovery document and keys
	coldWait     = 5 * time.Second // the longest a Verify waits for an issuer's very first keys
	unknownWait  = 2 * time.Second // the longest a later Verify waits for a fetch
	retryFloor   = time.Second     // least time between fetches while there are no keys fit for use
)

func (c Config) withDefaults() (Config, error) {
	if len(c.Issuers) == 0 {
		return c, errors.New("configuring verifier: no issuer is given; name at least one authorization server")
	}
	if c.Skew < 0 || c.MaxStale < 0 || c.Refresh < 0 || c.Cooldown < 0 || c.CacheSize < 0 {
		return c, errors.New("configuring verifier: durations and sizes must not be negative")
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Skew == 0 {
		c.Skew = time.Minute
	}
	if c.Refresh == 0 {
		c.Refresh = 5 * time.Minute
	}
	if c.MaxStale == 0 {
		c.MaxStale = max(time.Hour, c.Refresh)
	}
	if c.MaxStale < c.Refresh {
		return c, fmt.Errorf("configuring verifier: MaxStale (%v) is shorter than Refresh (%v), so that keys would lapse between fetches", c.MaxStale, c.Refresh)
	}
	if c.Cooldown == 0 {
		c.Cooldown = 10 * time.Second
	}
	if c.CacheSize == 0 {
		c.CacheSize = 10_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func (is Issuer) withDefaults() (Issuer, error) {
	if err := checkEndpoint(is.URL); err != nil {
		return is, fmt.Errorf("configuring issuer %s: %w", quoted(is.URL), err)
	}
	if u, _ := url.Parse(is.URL); u.RawQuery != "" || u.ForceQuery {
		return is, fmt.Errorf("configuring issuer %s: an issuer has no query (RFC 8414 section 2)", quoted(is.URL))
	}
	if is.JWKSURL != "" {
		if err := checkEndpoint(is.JWKSURL); err != nil {
			return is, fmt.Errorf("configuring issuer %s: JWKS URL: %w", quoted(is.URL), err)
		}
	}
	if len(is.Audiences) == 0 || slices.Contains(is.Audiences, "") {
		return is, fmt.Errorf("configuring issuer %s: no audience is given, or an empty one; name the audience of the authorization server, such as api://temporal", quoted(is.URL))
	}
	if len(is.Algorithms) == 0 {
		is.Algorithms = []string{"RS256"}
	}
	for _, a := range is.Algorithms {
		if _, known := algorithms[a]; !known {
			return is, fmt.Errorf("configuring issuer %s: algorithm %s is not one of RS, PS or ES with 256, 384 or 512, or EdDSA", quoted(is.URL), quoted(a))
		}
	}
	if len(is.GroupsClaims) == 0 {
		is.GroupsClaims = []string{"groups", "temporal_groups"}
	}
	for _, g := range is.GroupsClaims {
		if g == "" || knownClaim(g) {
			return is, fmt.Errorf("configuring issuer %s: %s cannot be a groups claim: it has a meaning of its own", quoted(is.URL), quoted(g))
		}
	}
	switch is.Groups {
	case "", GroupsFromToken, GroupsLookup:
	default:
		return is, fmt.Errorf("configuring issuer %s: groups is %s; write %q or %q", quoted(is.URL), quoted(is.Groups), GroupsFromToken, GroupsLookup)
	}
	if m := is.GroupsMarker; m != "" && (knownClaim(m) || slices.Contains(is.GroupsClaims, m)) {
		return is, fmt.Errorf("configuring issuer %s: %s cannot be the groups marker: it has a meaning of its own", quoted(is.URL), quoted(m))
	}
	if is.MaxLifetime < 0 {
		return is, fmt.Errorf("configuring issuer %s: MaxLifetime must not be negative", quoted(is.URL))
	}
	if is.MaxLifetime == 0 {
		is.MaxLifetime = 24 * time.Hour
	}
	if len(is.TokenTypes) == 0 {
		is.TokenTypes = []string{"", "JWT", "at+jwt", "application/at+jwt"}
	}
	return is, nil
}

// checkEndpoint accepts an absolute https URL, or http on a loopback address.
func checkEndpoint(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("it is not an absolute URL with a host")
	case u.User != nil || u.Fragment != "" || strings.Contains(raw, "#"):
		return errors.New("it must have neither user nor fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("plain http is accepted on a loopback address only; use https")
	}
	return errors.New("it must be https")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// orgURL is the issuer of the org authorization server beside a custom one: scheme and host alone. Empty when the issuer has no path.
func orgURL(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || strings.Trim(u.Path, "/") == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
