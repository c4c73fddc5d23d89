package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

func (a *app) devChaosRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate [SERVER]",
		Short: "Rotate an authorization server's keys as Okta does by itself",
		Long: `Rotate the signing keys of the development org's authorization server at once, as Okta's own rotation does: no verifier is asked, nothing is announced. Try it
in the middle of "bailiwick keys rotate issuer".`,
		Example: `  bailiwick dev chaos rotate
  bailiwick keys status`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			server := strings.Join(append(args, "default")[:1], "")
			base, err := a.devOrg()
			if err != nil {
				return err
			}
			org, err := okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken)})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
			defer cancel()
			keys, err := org.RotateSigningKeys(ctx, server)
			switch {
			case okta.IsNotFound(err):
				return &coded{Code: "server_unknown", Text: fmt.Sprintf("the development org has no authorization server %q", server), Fix: "leave it out for the one that is there", exit: exitUsage}
			case err != nil:
				return &coded{Code: "org_unreachable", Text: fmt.Sprintf("the development org at %s did not rotate: %v", host(base), err), Fix: "is `bailiwick dev` running?"}
			}
			if a.asJSON {
				return a.out.json(keys)
			}
			for _, k := range keys {
				field(a.out, strings.ToLower(k.Status), safe(k.KeyID))
			}
			return nil
		},
	}
}

// host is an address without its scheme.
func host(base string) string {
	if u, err := url.Parse(base); err == nil && u.Host != "" {
		return u.Host
	}
	return base
}
