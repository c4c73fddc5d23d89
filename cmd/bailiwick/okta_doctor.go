package main

import (
	"cmp"
	"crypto/rsa"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// doctorScopes are what a service app needs that runs the check: reading alone.
var doctorScopes = []string{"okta.authorizationServers.read", "okta.apps.read", "okta.appGrants.read", "okta.groups.read", "okta.roles.read", "okta.eventHooks.read", "okta.users.read"}

func (a *app) oktaDoctorCommand() *cobra.Command {
	var f oktaFlags
	var config, name string
	var all bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check a live Okta org, and name each thing that is wrong and its fix",
		Long: `Check a live Okta org against what "bailiwick okta setup" set up, and name each thing that is wrong, by a stable code, with its fix. Nothing is changed.

Checked are the issuer and its keys as gates see them, this machine's clock, every setting that was set up, who else the access policies let in, how many groups a token may have to
carry, the signing keys' rotation, services' keys and their ages, the event hook, rate limits, the control plane's rights (tried one by one, where its key is at hand, and
looked through for more than it needs), and whether people who administer a namespace have a second factor.

The exit code is 1 if something is wrong, 0 if there are warnings only.`,
		Example: `  bailiwick okta doctor --org https://acme.okta.com
  bailiwick okta doctor --org https://acme.okta.com --client-id 0oa1reader --key reader.pem --config okta-prod/okta.json
  bailiwick okta doctor --dev --name trial --json`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.oktaDoctor(c, f, cmp.Or(config, filepath.Join("okta-"+name, "okta.json")), all)
		},
	}
	f.add(c)
	c.Flags().StringVar(&config, "config", "", "the okta.json that set-up wrote (default: in the directory \"okta-\" and the name)")
	c.Flags().StringVar(&name, "name", "prod", "name of the environment")
	c.Flags().BoolVar(&all, "all", false, "show what is right too")
	must(c.MarkFlagFilename("config", "json"))
	return c
}

func (a *app) oktaDoctor(c *cobra.Command, f oktaFlags, config string, all bool) error {
	setup, err := loadOktaResult(config)
	if err != nil {
		return err
	}
	if f.org == "" && !f.dev {
		f.org = setup.Org
	}
	org, err := f.client(a, c, doctorScopes)
	if err != nil {
		return err
	}
	if org.URL() != setup.Org {
		return badUsage(c, "%s is about %s, not %s", config, setup.Org, org.URL())
	}
	if setup.Wanted.HookURI != "" {
		setup.Wanted.HookTypes = revocation.HookTypes()
	}
	check := oktasetup.Checkup{Org: org, Setup: setup}
	if s := setup.Control; s.KeyFile != "" && exists(s.KeyFile) {
		check.Control = func(scope string) (*okta.Client, error) { return controlClient(setup, scope) }
	}
	findings, err := oktasetup.Doctor(c.Context(), check)
	if err != nil {
		return oktaFailed(err)
	}
	return a.showFindings(setup, findings, all)
}

// controlClient asks as the control plane's app.
func controlClient(setup oktasetup.Result, scope string) (*okta.Client, error) {
	s := setup.Control
	credentials, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: s.ClientID, Scopes: []string{scope}, Key: func() (*rsa.PrivateKey, string, error) {
		key, err := readRSA(s.KeyFile)
		return key, s.KeyID, err
	}})
	if err != nil {
		return nil, err
	}
	return okta.New(okta.Config{URL: setup.Org, Credentials: credentials})
}

func (a *app) showFindings(setup oktasetup.Result, findings []oktasetup.Finding, all bool) error {
	count := map[oktasetup.Level]int{}
	for _, f := range findings {
		count[f.Level]++
	}
	wrong := count[oktasetup.Wrong]
	if a.asJSON {
		if err := a.out.json(map[string]any{"org": setup.Org, "name": setup.Name, "ok": wrong == 0, "findings": findings}); err != nil {
			return err
		}
	} else {
		w := a.out
		fmt.Fprintf(w, "%s at %s\n\n", w.bold(safe(setup.Name)), safe(setup.Org))
		for _, f := range findings {
			if f.Level != oktasetup.Good || all {
				a.showFinding(f)
			}
		}
		fmt.Fprintf(w, "%d right, %d to look at, %d wrong, %d could not be asked\n", count[oktasetup.Good], count[oktasetup.Warning], wrong, count[oktasetup.Unknown])
	}
	if wrong > 0 {
		return &coded{Code: "org_not_right", Text: fmt.Sprintf("%d things at the org are not as they should be", wrong), Fix: "each is named above, with its fix"}
	}
	return nil
}

func (a *app) showFinding(f oktasetup.Finding) {
	w := a.out
	sign := map[oktasetup.Level]string{oktasetup.Good: w.green("ok     "), oktasetup.Warning: w.yellow("look   "), oktasetup.Wrong: w.red("wrong  "), oktasetup.Unknown: w.dim("unknown")}[f.Level]
	subject := ""
	if f.Subject != "" {
		subject = safe(f.Subject) + ": "
	}
	fmt.Fprintf(w, "%s %s%s  %s\n", sign, subject, safe(f.What), w.dim(f.Code))
	if f.Fix != "" {
		fmt.Fprintf(w, "        %s %s\n", w.dim("fix:"), safe(f.Fix))
	}
}
