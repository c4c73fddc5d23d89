package devorg

// Client ids of the seeded apps.
const (
	CLIClient        = "0oabailiwickcli00001" // bailiwick's command line: public, native
	UIClient         = "0oatemporalui0000001" // the Temporal web UI: confidential, secret UISecret
	DeployWorker     = "0oadeployworker00001" // a worker service: private_key_jwt
	ReleaseAgent     = "0oareleaseagent00001" // an AI agent: secret AgentSecret
	ManagementClient = "0oabailiwickctl00001" // calls the management API: private_key_jwt on the org server
	WorkflowsClient  = "0oabailiwickwfl00001" // runs Bailiwick's own workflows on Temporal: private_key_jwt

	UISecret    = "dev-temporal-ui-secret"
	AgentSecret = "dev-release-agent-secret"

	// APIToken is the seeded SSWS token of the management API.
	APIToken = "00dev-only-api-token-of-the-acme-org-000000"
)

// Acme is a small company: six people, a worker, an agent and the apps that Bailiwick's own programs log in with.
// Each call returns a fresh value that the caller may change.
func Acme() *Seed {
	return &Seed{
		Org:      "Acme",
		APIToken: APIToken,
		Password: "bailiwick",
		People: []Person{
			{ID: "00ualice000000000001", Login: "alice@acme.example", FirstName: "Alice", LastName: "Anders", Groups: []string{"temporal:deploy:write", "temporal:payments:read"}},
			{ID: "00ubob00000000000001", Login: "bob@acme.example", FirstName: "Bob", LastName: "Brandt", Groups: []string{"temporal:payments:write", "break-glass"}},
			{ID: "00ucarol000000000001", Login: "carol@acme.example", FirstName: "Carol", LastName: "Castell", Groups: []string{"temporal:payments:admin", "temporal:deploy:admin", "temporal:default:admin", "security"}},
			{ID: "00udave0000000000001", Login: "dave@acme.example", FirstName: "Dave", LastName: "Dorsey", Groups: []string{"temporal:default:read", "contractors"}},
			{ID: "00uerin0000000000001", Login: "erin@acme.example", FirstName: "Erin", LastName: "Ekholm"},
			{ID: "00ufrank000000000001", Login: "frank@acme.example", FirstName: "Frank", LastName: "Fischer", Deprovisioned: true},
		},
		Groups: []string{"temporal:payments:worker", "temporal:deploy:worker", "temporal:default:write", "temporal:deploy:read"},
		Apps: []App{
			{
				ID: CLIClient, Label: "Bailiwick CLI", Type: "native", AuthMethod: authNone, PKCE: true, Leeway: 30,
				GrantTypes: []string{grantCode, grantDevice, grantRefresh},
				RedirectURIs: []string{
					"http://127.0.0.1:8765/callback", "http://127.0.0.1:8766/callback", "http://127.0.0.1:8767/callback",
				},
			},
			{
				ID: UIClient, Label: "Temporal Web UI", Type: "web", AuthMethod: authSecret, Secret: UISecret,
				GrantTypes:   []string{grantCode, grantRefresh},
				RedirectURIs: []string{"http://localhost:8233/auth/sso/callback", "http://127.0.0.1:8233/auth/sso/callback"},
				LogoutURIs:   []string{"http://localhost:8233", "http://127.0.0.1:8233"},
				Leeway:       30,
			},
			{ID: DeployWorker, Label: "Deploy worker", Type: "service", AuthMethod: authPrivateKey, GrantTypes: []string{grantClient}},
			{
				ID: ReleaseAgent, Label: "Release agent", Type: "service", AuthMethod: authSecret, Secret: AgentSecret, Agent: true,
				GrantTypes: []string{grantClient, grantExchange},
			},
			{ID: WorkflowsClient, Label: "Bailiwick workflows", Type: "service", AuthMethod: authPrivateKey, GrantTypes: []string{grantClient}},
			{
				ID: ManagementClient, Label: "Bailiwick control plane", Type: "service", AuthMethod: authPrivateKey, GrantTypes: []string{grantClient},
				OktaScopes: []string{
					"okta.appGrants.read", "okta.apps.manage", "okta.apps.read", "okta.authorizationServers.manage", "okta.authorizationServers.read",
					"okta.eventHooks.manage", "okta.eventHooks.read", "okta.groups.manage", "okta.groups.read", "okta.logs.read", "okta.users.manage", "okta.users.read", "ssf.manage", "ssf.read",
				},
			},
		},
		AuthServers: []AuthServer{{
			ID: "default", Name: "default", Description: "Tokens for Temporal", Audience: "api://temporal",
			Scopes:      []string{"temporal", "temporal.worker"},
			GroupsRegex: `^(temporal:.*|contractors|security|break-glass)$`,
		}},
	}
}
