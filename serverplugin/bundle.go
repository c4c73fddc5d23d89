package serverplugin

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// Bundle says where signed policies are pulled from. All fields but Poll are required.
type Bundle struct {
	URL      string   `json:"url"`       // https, or http on loopback
	Keys     []string `json:"keys"`      // that may sign: each a file with an Ed25519 public key in PEM, or its 32 bytes in base64
	CacheDir string   `json:"cache_dir"` // keeps the last good bundle over a restart
	Poll     string   `json:"poll,omitempty"`
}

// Check says what is missing or malformed, without the network.
func (b *Bundle) Check() error {
	_, err := b.options()
	return err
}

func (b *Bundle) options() (policy.BundleOptions, error) {
	out := policy.BundleOptions{URL: b.URL, CacheDir: b.CacheDir}
	switch {
	case b.URL == "":
		return out, errors.New("policy_bundle.url is missing")
	case b.CacheDir == "":
		return out, errors.New("policy_bundle.cache_dir is missing")
	case len(b.Keys) == 0:
		return out, errors.New("policy_bundle.keys is empty: name at least one key that may sign")
	}
	if b.Poll != "" {
		d, err := time.ParseDuration(b.Poll)
		if err != nil || d <= 0 {
			return out, fmt.Errorf("policy_bundle.poll is %q; write a duration such as \"30s\"", b.Poll)
		}
		out.Poll = d
	}
	for i, text := range b.Keys {
		key, err := bundleKey(text)
		if err != nil {
			return out, fmt.Errorf("policy_bundle.keys[%d]: %w", i, err)
		}
		out.Keys = append(out.Keys, key)
	}
	return out, nil
}

func bundleKey(text string) (ed25519.PublicKey, error) {
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil && len(raw) == ed25519.PublicKeySize {
		return raw, nil
	}
	raw, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	if block, rest := pem.Decode(raw); block != nil && block.Type == "PUBLIC KEY" && len(strings.TrimSpace(string(rest))) == 0 {
		if parsed, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := parsed.(ed25519.PublicKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s is not one Ed25519 public key in PEM; it is the FILE.pub that bailiwick policy bundle keygen makes", text)
}

// openPolicy opens the policies that the config names: a directory or a bundle, never both.
func openPolicy(ctx context.Context, cfg Config, before func(policy.Status) error, changed func(policy.Status)) (*policy.Engine, error) {
	switch {
	case (cfg.PolicyDir == "") == (cfg.PolicyBundle == nil):
		return nil, errors.New("name either policy_dir or policy_bundle")
	case cfg.PolicyBundle == nil:
		return policy.Open(cfg.PolicyDir, policy.Options{Logger: cfg.Logger, Before: before, OnChange: changed})
	}
	o, err := cfg.PolicyBundle.options()
	if err != nil {
		return nil, err
	}
	o.Logger, o.Before, o.OnChange = cfg.Logger, before, changed
	return policy.OpenURL(ctx, o)
}
