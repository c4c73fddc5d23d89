package oktasetup

import (
	"fmt"
	"strings"
)

// Result is what the rest of Bailiwick is configured with. There is no secret in it.
type Result struct {
	Version  int       `json:"version"` // of this form; 1
	Org      string    `json:"org"`
	Name     string    `json:"name"`
	Issuer   string    `json:"issuer"`
	Audience string    `json:"audience"`
	Scopes   []string  `json:"scopes"` // that `bailiwick login` asks for
	Issuers  []Trusted `json:"issuers"`
	CLI      Client    `json:"cli"`
	Console  *Client   `json:"console,omitempty"`
	Services []Client  `json:"services"`
	Control  Client    `json:"control_plane"`
	Hook     string    `json:"event_hook,omitempty"` // its id
	Wanted   Spec      `json:"wanted"`               // what it was set up to, for Doctor
}

// Trusted is an issuer as gates are configured with it ("issuers" of the server plugin and of bailiwick-temporal).
type Trusted struct {
	URL       string   `json:"url"`
	Audiences []string `json:"audiences"`
	ClientIDs []string `json:"client_ids"` // nobody else's tokens are accepted
}

// Client is one app.
type Client struct {
	Name       string   `json:"name"`
	ClientID   string   `json:"client_id"`
	KeyFile    string   `json:"key_file,omitempty"`    // its private key, where this directory has it
	KeyID      string   `json:"key_id,omitempty"`      // of that key
	SecretFile string   `json:"secret_file,omitempty"` // its secret, where this directory has it
	TokenURL   string   `json:"token_url,omitempty"`
	Scopes     []string `json:"scopes,omitempty"` // to ask for
}

// Files finds out where an app's key and secret are, by the name of the app; empty where they are not here.
type Files func(name string) (keyFile, keyID, secretFile string)

// Result is made of a plan that was applied, or that had nothing to do.
func (p *Plan) Result(files Files) (Result, error) {
	id := func(key string) string { return p.known[key] }
	if id("server") == "" || id("app/cli") == "" {
		return Result{}, fmt.Errorf("set-up of %q is not complete: run it again", p.Name)
	}
	issuer := p.Org + "/oauth2/" + id("server")
	client := func(key, token string, scopes ...string) Client {
		name := strings.ReplaceAll(strings.TrimPrefix(key, "app/"), "/", "-")
		c := Client{Name: name, ClientID: id(key), TokenURL: token, Scopes: scopes}
		c.KeyFile, c.KeyID, c.SecretFile = files(name)
		return c
	}
	r := Result{Version: 1, Org: p.Org, Name: p.Name, Issuer: issuer, Audience: p.spec.Audience, Scopes: personScopes(), Hook: id("hook"), CLI: client("app/cli", ""), Services: []Client{}, Wanted: p.spec}
	accepted := []string{r.CLI.ClientID}
	if id("app/console") != "" {
		c := client("app/console", "")
		r.Console, accepted = &c, append(accepted, c.ClientID)
	}
	r.Services = append(r.Services, client("app/workflows", issuer+"/v1/token", ScopePeople))
	for _, w := range p.spec.Workers {
		r.Services = append(r.Services, client("app/worker/"+w, issuer+"/v1/token", ScopeWorker))
	}
	for _, c := range r.Services {
		accepted = append(accepted, c.ClientID)
	}
	var scopes []string
	for _, s := range p.spec.ControlScopes() {
		scopes = append(scopes, s.Name)
	}
	r.Control = client("app/control", p.Org+"/oauth2/v1/token", scopes...)
	r.Issuers = []Trusted{{URL: issuer, Audiences: []string{p.spec.Audience}, ClientIDs: accepted}}
	return r, nil
}

// RolesYAML is the part of roles.yaml that says what the services may do, with the namespaces of the workers left to fill in.
func (r Result) RolesYAML() string {
	var b strings.Builder
	b.WriteString("# Goes into roles.yaml, under clients:. Name for each worker the namespaces that it takes tasks in.\nclients:\n")
	for _, c := range r.Services {
		fmt.Fprintf(&b, "  - id: %s\n    note: %s, %s\n", c.ClientID, c.Name, r.Name)
		if c.Name == "workflows" {
			b.WriteString("    roles: { bailiwick: [write, worker], \"*\": read }\n")
		} else {
			b.WriteString("    roles: {} # { payments: worker }\n")
		}
	}
	return b.String()
}
