package main

import (
	"crypto/rsa"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// oktaTokenEnv is where an API token comes from: a flag's value is seen by everybody on the machine, and stays in the shell's history.
const oktaTokenEnv = "OKTA_API_TOKEN"

func (a *app) oktaCommand() *cobra.Command {
	return group("okta", "Set up an Okta org, and check it",
		`Set up what Bailiwick needs in an Okta org, and check that it still is as it should be.

Start with "bailiwick okta setup --dry-run": it reads the org and shows what it would make. "bailiwick okta doctor" names each thing that is wrong, and its fix.`,
		a.oktaSetupCommand(), a.oktaDoctorCommand())
}

// oktaFlags say which org is meant and as whom it is asked.
type oktaFlags struct {
	org, clientID, key, keyID string
	dev                       bool
}

func (f *oktaFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.org, "org", "", "the org, such as https://acme.okta.com")
	fl.StringVar(&f.clientID, "client-id", "", "client id of a service app to ask as (default: the API token in $"+oktaTokenEnv+")")
	fl.StringVar(&f.key, "key", "", "file with that app's private key, RSA in PEM")
	fl.StringVar(&f.keyID, "key-id", "", "id of that key (default: its RFC 7638 thumbprint)")
	fl.BoolVar(&f.dev, "dev", false, "the development org of the context, with its published token")
	must(c.MarkFlagFilename("key", "pem"))
}

// client makes a client of the org that the flags name.
func (f *oktaFlags) client(a *app, c *cobra.Command, scopes []string) (*okta.Client, error) {
	at, credentials := f.org, okta.Credentials(nil)
	switch {
	case (f.clientID == "") != (f.key == ""):
		return nil, badUsage(c, "--client-id and --key go together: a service app, and its private key")
	case f.dev && (f.org != "" || f.clientID != ""):
		return nil, badUsage(c, "--dev is the development org of the context, asked with its own token: leave out --org and --client-id")
	case f.dev:
		base, err := a.devOrg()
		if err != nil {
			return nil, err
		}
		at, credentials = base, okta.APIToken(devorg.APIToken)
	case at == "":
		return nil, badUsage(c, "which org? name it with --org https://acme.okta.com, or use --dev for the development org")
	case f.clientID != "":
		key, err := readRSA(f.key)
		if err != nil {
			return nil, &coded{Code: "key_unreadable", Text: err.Error(), Fix: "name the private key of the service app with --key"}
		}
		id := f.keyID
		if id == "" {
			_, id = publicJWK(&key.PublicKey)
		}
		credentials, err = okta.ServiceApp(okta.ServiceAppConfig{ClientID: f.clientID, Scopes: scopes, Key: func() (*rsa.PrivateKey, string, error) { return key, id, nil }})
		if err != nil {
			return nil, err
		}
	default:
		token := os.Getenv(oktaTokenEnv)
		if token == "" {
			return nil, &coded{Code: "no_credentials", Text: "nothing says as whom to ask the org", Fix: "use --client-id and --key of a service app, or for the first run an admin's API token: read -rs " + oktaTokenEnv + "; export " + oktaTokenEnv}
		}
		credentials = okta.APIToken(token)
	}
	if u, err := url.Parse(at); err == nil && strings.Contains(u.Host, "-admin.") {
		return nil, badUsage(c, "%s is the org's admin console; leave out \"-admin\"", at)
	}
	client, err := okta.New(okta.Config{URL: at, Credentials: credentials})
	if err != nil {
		return nil, &usageError{err, c.CommandPath()}
	}
	return client, nil
}

// readRSA reads a private key that must be there.
func readRSA(file string) (*rsa.PrivateKey, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	return loadOrCreateRSA(file)
}

// oktaFailed says what an org's refusal means for whoever runs the command.
func oktaFailed(err error) error {
	switch {
	case okta.IsForbidden(err):
		return &coded{Code: "okta_forbidden", Text: err.Error(), Fix: "whoever asks needs the scopes and admin roles that docs/okta-setup.md lists; an API token has those of the admin who made it", exit: exitDenied}
	case okta.IsRateLimited(err):
		return &coded{Code: "okta_rate_limited", Text: err.Error(), Fix: "run it again in a minute: it goes on where it stopped"}
	}
	return &coded{Code: "okta_failed", Text: err.Error(), Fix: "run it again: it goes on where it stopped"}
}
