package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/serverplugin"
)

// Config is the file that --config names: JSON, every field known, none twice.
type Config struct {
	StateDir       string   `json:"state_dir"`  // database and certificates; created with mode 0700
	Name           string   `json:"name"`       // this gate, as audit entries and attestations name it
	Audience       string   `json:"audience"`   // the environment that attestations are for
	Host           string   `json:"host"`       // loopback address that everything listens on; default 127.0.0.1
	GRPCPort       int      `json:"grpc_port"`  // frontend, gRPC
	HTTPPort       int      `json:"http_port"`  // frontend, HTTP API; 0 = none
	UIPort         int      `json:"ui_port"`    // web UI; needed if ui.enabled
	Namespaces     []string `json:"namespaces"` // created if absent
	Issuers        []Issuer `json:"issuers"`
	PolicyDir      string   `json:"policy_dir"` // roles.yaml and *.cedar; or
	JournalDir     string   `json:"journal_dir"`
	AttestationKey string   `json:"attestation_key"`
	PrivacyDir     string   `json:"privacy_dir,omitempty"` // keys that encrypt personal data in the journal; empty: it is written in the clear
	UI             UI       `json:"ui"`

	PolicyBundle *serverplugin.Bundle   `json:"policy_bundle,omitempty"` // signed policies, pulled
	Standing     *serverplugin.Standing `json:"standing,omitempty"`      // grants and revocations, followed

	AdoptSchedules bool `json:"adopt_schedules,omitempty"` // schedules from before the gate go on, unattested; default: refused until they are saved again
}

// Issuer is one trusted issuer of access tokens.
type Issuer struct {
	URL          string   `json:"url"`
	Audiences    []string `json:"audiences"`
	Algorithms   []string `json:"algorithms,omitempty"`
	GroupsClaims []string `json:"groups_claims,omitempty"`
	Groups       string   `json:"groups,omitempty"`        // "token", or "lookup": people's groups are asked of the control plane's directory
	GroupsMarker string   `json:"groups_marker,omitempty"` // claim by which a token says that it leaves groups out
	ClientIDs    []string `json:"client_ids,omitempty"`
	MaxLifetime  string   `json:"max_lifetime,omitempty"` // such as "1h"
	TokenTypes   []string `json:"token_types,omitempty"`
	JWKSURL      string   `json:"jwks_url,omitempty"`
}

// UI is how people sign in to the web UI: the authorization code flow of one issuer.
type UI struct {
	Enabled      bool   `json:"enabled"`
	Issuer       string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	CallbackURL  string `json:"callback_url"` // where the browser reaches the UI, ending in /auth/sso/callback
}

// LoadConfig reads and checks a config file. Its error names every wrong field at once.
func LoadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &Failure{Code: "config_unreadable", Detail: err.Error(), Fix: "name a readable JSON file with --config", Path: path}
	}
	c, err := parseConfig(raw)
	if err != nil {
		return Config{}, &Failure{Code: "config_invalid", Detail: err.Error(), Fix: "correct the file and start again", Path: path}
	}
	return c, nil
}

func parseConfig(raw []byte) (Config, error) {
	var c Config
	if err := uniqueKeys(raw); err != nil {
		return c, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, fmt.Errorf("parsing the config: %w", err)
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	return c, c.check()
}

// namespaceName is what Temporal and the role patterns of policies both can carry: no colon, which separates the parts of a group name.
var namespaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	for name, v := range map[string]*string{"state_dir": &c.StateDir, "journal_dir": &c.JournalDir, "attestation_key": &c.AttestationKey} {
		switch {
		case *v == "":
			bad("%s is missing", name)
		case !filepath.IsAbs(*v):
			bad("%s must be an absolute path, not %q", name, *v)
		}
	}
	if c.PrivacyDir != "" && !filepath.IsAbs(c.PrivacyDir) {
		bad("privacy_dir must be an absolute path, not %q", c.PrivacyDir)
	}
	switch {
	case (c.PolicyDir == "") == (c.PolicyBundle == nil):
		bad("name either policy_dir or policy_bundle")
	case c.PolicyBundle != nil:
		if err := c.PolicyBundle.Check(); err != nil {
			errs = append(errs, err)
		} else if !filepath.IsAbs(c.PolicyBundle.CacheDir) {
			bad("policy_bundle.cache_dir must be an absolute path, not %q", c.PolicyBundle.CacheDir)
		}
	case !filepath.IsAbs(c.PolicyDir):
		bad("policy_dir must be an absolute path, not %q", c.PolicyDir)
	}
	if c.Standing != nil {
		if err := c.Standing.Check(); err != nil {
			errs = append(errs, err)
		}
		for name, v := range map[string]string{"cache": c.Standing.Cache, "token_file": c.Standing.TokenFile} {
			if v != "" && !filepath.IsAbs(v) {
				bad("standing.%s must be an absolute path, not %q", name, v)
			}
		}
	}
	if strings.ContainsAny(c.StateDir, "?#%") {
		bad("state_dir must not contain ?, # or %%: SQLite reads them as parts of a URI")
	}
	if c.Name == "" {
		bad("name is missing")
	}
	if c.Audience == "" {
		bad(`audience is missing: the environment that attestations are for, such as "bailiwick:dev"`)
	}
	if ip, err := netip.ParseAddr(c.Host); err != nil || !ip.IsLoopback() || !ip.Is4() {
		bad("host must be an IPv4 loopback address such as 127.0.0.1, not %q: tokens would cross the network in the clear", c.Host)
	}

	ports := map[int]string{}
	port := func(name string, n int, optional bool) {
		if n == 0 && optional {
			return
		}
		if n < 1 || n > 65535 {
			bad("%s must be between 1 and 65535, not %d", name, n)
		} else if other, taken := ports[n]; taken {
			bad("%s and %s are both %d", other, name, n)
		} else {
			ports[n] = name
		}
	}
	port("grpc_port", c.GRPCPort, false)
	port("http_port", c.HTTPPort, true)
	port("ui_port", c.UIPort, !c.UI.Enabled)

	for i, ns := range c.Namespaces {
		if !namespaceName.MatchString(ns) {
			bad("namespaces[%d] is %q; a name is 1 to 128 letters, digits, dots, dashes and underscores", i, ns)
		} else if slices.Contains(c.Namespaces[:i], ns) {
			bad("namespaces names %q twice", ns)
		}
	}
	if len(c.Issuers) == 0 {
		bad("issuers is empty: nobody could be let in")
	}
	for i, is := range c.Issuers {
		if is.URL == "" {
			bad("issuers[%d].url is missing", i)
		}
		if len(is.Audiences) == 0 {
			bad("issuers[%d].audiences is empty", i)
		}
		if d, err := time.ParseDuration(is.MaxLifetime); is.MaxLifetime != "" && (err != nil || d <= 0) {
			bad("issuers[%d].max_lifetime is %q; write a duration such as \"1h\"", i, is.MaxLifetime)
		}
	}
	if c.UI.Enabled {
		if c.UI.ClientID == "" || c.UI.ClientSecret == "" {
			bad("ui.client_id and ui.client_secret are needed while ui.enabled is true")
		}
		if u, err := url.Parse(c.UI.Issuer); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			bad("ui.issuer must be the URL of an issuer, not %q", c.UI.Issuer)
		}
		if u, err := url.Parse(c.UI.CallbackURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != "/auth/sso/callback" {
			bad("ui.callback_url must be the UI's address followed by /auth/sso/callback, not %q", c.UI.CallbackURL)
		}
	}
	return errors.Join(errs...)
}

// issuers are the issuers as the gate's verifier wants them.
func (c *Config) issuers() []identity.Issuer {
	out := make([]identity.Issuer, 0, len(c.Issuers))
	for _, is := range c.Issuers {
		life, _ := time.ParseDuration(is.MaxLifetime) // checked by check; empty = the verifier's default
		out = append(out, identity.Issuer{
			URL: is.URL, Audiences: is.Audiences, Algorithms: is.Algorithms, GroupsClaims: is.GroupsClaims, Groups: is.Groups, GroupsMarker: is.GroupsMarker,
			ClientIDs: is.ClientIDs, MaxLifetime: life, TokenTypes: is.TokenTypes, JWKSURL: is.JWKSURL,
		})
	}
	return out
}

// uniqueKeys refuses a JSON text that is not one object, has text after it, or spells a key twice: the decoder would silently take the last.
func uniqueKeys(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := walk(dec, "config"); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("parsing the config: there is text after the end of the object")
	}
	return nil
}

func walk(dec *json.Decoder, where string) error {
	t, err := dec.Token()
	if err != nil {
		return fmt.Errorf("parsing the config: %w", err)
	}
	switch t {
	case json.Delim('{'):
		seen := map[string]bool{}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return fmt.Errorf("parsing the config: %w", err)
			}
			key, _ := k.(string) // the decoder only yields string keys
			if fold := strings.ToLower(key); seen[fold] {
				return fmt.Errorf("parsing the config: %s.%s is written twice", where, key)
			} else {
				seen[fold] = true
			}
			if err := walk(dec, where+"."+key); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for dec.More() {
			if err := walk(dec, where+"[]"); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return fmt.Errorf("parsing the config: %w", err)
	}
	return nil
}
