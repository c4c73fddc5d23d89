package oktatest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// scopes are what the suite needs.
var scopes = []string{"okta.users.read", "okta.groups.manage", "okta.logs.read", "okta.apps.read", "okta.appGrants.read", "okta.authorizationServers.read", "okta.eventHooks.manage"}

// ServiceClient is a client that proves itself as a service app.
func ServiceClient(t *testing.T, url, clientID, keyID string, key *rsa.PrivateKey) *okta.Client {
	t.Helper()
	credentials, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: clientID, Scopes: scopes, Key: func() (*rsa.PrivateKey, string, error) { return key, keyID, nil }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := okta.New(okta.Config{URL: url, Credentials: credentials})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func loadKey(file string) (*rsa.PrivateKey, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading OKTA_PRIVATE_KEY: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("reading OKTA_PRIVATE_KEY: %s holds no PEM block", file)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading OKTA_PRIVATE_KEY: %w", err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading OKTA_PRIVATE_KEY: %s is not an RSA key", file)
	}
	return key, nil
}
