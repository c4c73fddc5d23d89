package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// setupScopes are what a service app needs that runs set-up.
var setupScopes = []string{"okta.authorizationServers.manage", "okta.apps.manage", "okta.appGrants.manage", "okta.groups.manage", "okta.roles.manage", "okta.eventHooks.manage"}

type oktaSetupFlags struct {
	oktaFlags
	spec       oktasetup.Spec
	hookSecret string
	adopt      []string
	widen      bool
	dryRun     bool
	yes        bool
	all        bool
	out        string
	terraform  string
}

func (a *app) oktaSetupCommand() *cobra.Command {
	var f oktaSetupFlags
	c := &cobra.Command{
		Use:   "setup",
		Short: "Plan and make what Bailiwick needs in an Okta org",
		Long: `Read an Okta org, show what Bailiwick needs in it and how that differs from what is there, and make it so after asking: an authorization server with scopes, a groups
claim and an access policy for each client; apps for the command line, the web UI, workers and the control plane, the last with the fewest rights; a group for each namespace
and role; an event hook.

It may be run again at any time: it makes what is missing and changes what differs, goes on after an interruption, and deletes nothing. What it made carries a mark, and is found
by it whatever it is called by then. What somebody else made is not touched, unless you name its key with --adopt. Where an admin left less than set-up wants (a shorter
lifetime, fewer people), that stays, and is shown; --widen gives it back.

Ask as a service app (--client-id, --key) or, the first time, with an admin's API token in the environment. Private keys are made on this machine, in the directory --out, and never
leave it. The same directory gets okta.json, with which gates, workers and people's command lines are configured.`,
		Example: `  bailiwick okta setup --org https://acme.okta.com --namespace payments --namespace orders --worker deploy --dry-run
  bailiwick okta setup --org https://acme.okta.com --namespace payments --console https://temporal.acme.com --rotation --yes
  bailiwick okta setup --org https://acme.okta.com --client-id 0oa1setup --key setup.pem --hook https://control.acme.com --hook-secret hook.secret
  bailiwick okta setup --org https://acme.okta.com --terraform ./terraform
  bailiwick okta setup --dev --name trial --namespace payments`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.oktaSetup(c, f) },
	}
	f.add(c)
	fl := c.Flags()
	fl.StringVar(&f.spec.Name, "name", "prod", "name of the environment, part of all names")
	fl.StringVar(&f.spec.Audience, "audience", "", "audience of access tokens (default \"api://temporal\")")
	fl.StringArrayVarP(&f.spec.Namespaces, "namespace", "n", nil, "a namespace of Temporal's that gets groups; may be repeated (default: those of the context)")
	fl.StringSliceVar(&f.spec.Roles, "roles", nil, "roles that get a group in each namespace (default read,write,worker,admin,approver)")
	fl.StringVar(&f.spec.Pattern, "group-pattern", "", "names of the groups (default \"temporal:{namespace}:{role}\"), as in roles.yaml")
	fl.StringArrayVar(&f.spec.MoreGroups, "carry", nil, "another group that tokens carry, such as security; may be repeated")
	fl.StringVar(&f.spec.People, "people", "", "group whose members may sign in (default \"Everyone\")")
	fl.StringArrayVar(&f.spec.Console, "console", nil, "address of Temporal's web UI; may be repeated (default: no app for it)")
	fl.StringArrayVar(&f.spec.Workers, "worker", nil, "name of a worker service, which gets an app and a key; may be repeated")
	fl.BoolVar(&f.spec.Rotation, "rotation", false, "let the control plane rotate signing and client keys")
	fl.BoolVar(&f.spec.Membership, "membership", false, "let the control plane change who is in groups, for requests for access")
	fl.StringVar(&f.spec.HookURI, "hook", "", "address of the control plane, to which Okta sends who lost access (default: no event hook)")
	fl.StringVar(&f.hookSecret, "hook-secret", "", "file with the event hook's secret, which the control plane has too")
	fl.StringArrayVar(&f.adopt, "adopt", nil, "key of somebody else's thing that is to be taken over, as the plan shows it; may be repeated")
	fl.BoolVar(&f.widen, "widen", false, "give back what an admin narrowed")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the plan, and change nothing")
	fl.BoolVar(&f.yes, "yes", false, "do not ask")
	fl.BoolVar(&f.all, "all", false, "show what stays as it is too")
	fl.StringVar(&f.out, "out", "", "directory for keys, secrets and okta.json (default \"okta-\" and the name)")
	fl.StringVar(&f.terraform, "terraform", "", "write the wanted state as Terraform into this directory instead, with imports of what is there")
	must(c.MarkFlagDirname("out"))
	must(c.MarkFlagDirname("terraform"))
	must(c.MarkFlagFilename("hook-secret"))
	return c
}

func (a *app) oktaSetup(c *cobra.Command, f oktaSetupFlags) (err error) {
	if f.out == "" {
		f.out = "okta-" + f.spec.Name
	}
	f.out, err = filepath.Abs(f.out) // okta.json names files for programs that run elsewhere
	if err != nil {
		return fmt.Errorf("finding the directory to write: %w", err)
	}
	options, err := f.options(c)
	if err != nil {
		return err
	}
	if len(f.spec.Namespaces) == 0 {
		if where, err := a.where(); err == nil && (f.dev || f.org != "" && strings.HasPrefix(where.Issuer, f.org+"/")) {
			f.spec.Namespaces = where.Namespaces
		}
	}
	if f.spec.HookURI != "" {
		f.spec.HookURI, f.spec.HookTypes = strings.TrimSuffix(f.spec.HookURI, "/")+revocation.HookPath, revocation.HookTypes()
	}
	if err := f.spec.Check(); err != nil {
		return &usageError{err, c.CommandPath()}
	}
	org, err := f.client(a, c, setupScopes)
	if err != nil {
		return err
	}
	plan, err := oktasetup.Make(c.Context(), org, f.spec, options)
	if err != nil {
		if errors.Is(err, oktasetup.ErrMissing) {
			return &coded{Code: "setup_missing", Text: err.Error()}
		}
		return oktaFailed(err)
	}
	if f.terraform != "" {
		return a.writeTerraform(f.terraform, plan)
	}
	if !a.asJSON {
		a.showPlan(plan, f.all)
	}
	if err := plan.Conflicts(); err != nil {
		if a.asJSON {
			_ = a.out.json(plan)
		}
		return &coded{Code: "setup_conflict", Text: err.Error(), Fix: "adopt them one by one, after a look at each, or choose another --name"}
	}
	if f.dryRun {
		if a.asJSON {
			return a.out.json(plan)
		}
		return nil
	}
	if !plan.Nothing() && !f.yes {
		if a.asJSON {
			return badUsage(c, "--json does not ask: add --yes, or --dry-run")
		}
		if ok, err := a.agreed("Apply this?"); err != nil || !ok {
			return err
		}
	}
	return a.applySetup(c, f, org, plan, options)
}

func (a *app) applySetup(c *cobra.Command, f oktaSetupFlags, org *okta.Client, plan *oktasetup.Plan, options oktasetup.Options) error {
	options.Progress = func(i oktasetup.Item) {
		if !a.asJSON {
			fmt.Fprintf(a.out, "%s %s %s\n", a.out.green("done"), i.Kind, safe(i.Name))
		}
	}
	done, err := plan.Apply(c.Context(), org, options)
	if err != nil {
		var failed *oktasetup.Failure
		if errors.As(err, &failed) {
			fmt.Fprintf(a.errs, "%d done, stopped at %s %q, %d not begun.\n", len(done), failed.At.Kind, safe(failed.At.Name), failed.Left)
		}
		return oktaFailed(err)
	}
	files := oktaFiles{f.out}
	result, err := files.save(plan)
	if err != nil {
		return err
	}
	if a.asJSON {
		return a.out.json(map[string]any{"plan": plan, "done": len(done), "result": result})
	}
	w := a.out
	fmt.Fprintf(w, "\n%s is set up: %s\n", w.bold(safe(result.Name)), safe(files.path("okta.json")))
	field(w, "issuer", safe(result.Issuer))
	field(w, "audience", safe(result.Audience))
	field(w, "CLI", safe(result.CLI.ClientID))
	if result.Console != nil {
		field(w, "web UI", safe(result.Console.ClientID))
	}
	for _, s := range append(result.Services, result.Control) {
		field(w, clip(s.Name, 11), safe(s.ClientID))
	}
	fmt.Fprintf(w, "\nNext:\n  gates     \"issuers\" of okta.json\n  policies  %s\n  people    bailiwick login --context %s --issuer %s --client-id %s --address HOST:PORT\n  check     bailiwick okta doctor --config %s\n",
		safe(files.path("roles.clients.yaml")), safe(result.Name), safe(result.Issuer), safe(result.CLI.ClientID), safe(files.path("okta.json")))
	return nil
}

// options are how the plan is made and applied.
func (f *oktaSetupFlags) options(c *cobra.Command) (oktasetup.Options, error) {
	files := oktaFiles{f.out}
	o := oktasetup.Options{Widen: f.widen, Adopt: f.adopt, Key: files.key, Keep: files.keep}
	if f.spec.HookURI == "" {
		return o, nil
	}
	if f.hookSecret == "" {
		return o, badUsage(c, "--hook needs --hook-secret FILE: what Okta sends has no signature, only that secret")
	}
	raw, err := os.ReadFile(filepath.Clean(f.hookSecret))
	if err != nil {
		return o, &coded{Code: "secret_unreadable", Text: fmt.Sprintf("reading the event hook's secret: %v", err), Fix: "name the control plane's file with --hook-secret"}
	}
	if o.Secret = strings.TrimSpace(string(raw)); len(o.Secret) < 16 || strings.ContainsAny(o.Secret, " \r\n:") {
		return o, &coded{Code: "secret_unusable", Text: "the event hook's secret must be one word of at least 16 characters", Fix: "use the file that the control plane made"}
	}
	return o, nil
}

// agreed asks a person.
func (a *app) agreed(question string) (bool, error) {
	fmt.Fprintf(a.errs, "\n%s [y/N] ", a.errs.bold(question))
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
		return true, nil
	}
	if err != nil {
		return false, &usageError{errors.New("nobody answered: use --yes to apply without being asked"), "bailiwick okta setup"}
	}
	fmt.Fprintln(a.errs, "Nothing was changed.")
	return false, nil
}
