package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// devOrg is the development org of the context. These commands change people with a token that everybody can read: they work on this machine alone.
func (a *app) devOrg() (base string, err error) {
	where, err := a.where()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(where.Issuer)
	if err != nil || !netaddr.Loopback(u.Hostname()) {
		return "", &coded{Code: "not_a_development_org", Text: fmt.Sprintf("context %s signs in at %s, which is not a development org on this machine", where.Name, where.Issuer), Fix: "choose the context of `bailiwick dev` with --context; in a real org, its admins change people"}
	}
	return u.Scheme + "://" + u.Host, nil
}

func (a *app) devOrgClient() (*okta.Client, error) {
	base, err := a.devOrg()
	if err != nil {
		return nil, err
	}
	return okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken), Share: 1})
}

// devOrgFailed says it in terms of this command.
func devOrgFailed(err error, login string) error {
	switch {
	case okta.IsNotFound(err):
		return &coded{Code: "person_unknown", Text: fmt.Sprintf("the development org has no %s", login), Fix: "bailiwick dev people list"}
	case okta.IsForbidden(err):
		return &coded{Code: "not_a_development_org", Text: "the org does not know the development org's token", Fix: "choose the context of `bailiwick dev` with --context"}
	}
	return fmt.Errorf("changing the development org: %w", err)
}

func (a *app) devPeopleCommand() *cobra.Command {
	change := func(use, short, done string, do func(ctx context.Context, c *okta.Client, u okta.User) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " LOGIN", Short: short, Example: "  bailiwick dev people " + use + " bob@acme.example", Args: usage(cobra.ExactArgs(1)), ValidArgsFunction: a.completePeople,
			RunE: func(c *cobra.Command, args []string) error {
				client, err := a.devOrgClient()
				if err != nil {
					return err
				}
				u, err := client.User(c.Context(), args[0])
				if err == nil {
					err = do(c.Context(), client, u)
				}
				if err != nil {
					return devOrgFailed(err, args[0])
				}
				return a.showPerson(c.Context(), client, args[0], done)
			},
		}
	}
	member := func(use, short, done string, do func(ctx context.Context, c *okta.Client, group, user string) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " LOGIN GROUP", Short: short, Example: "  bailiwick dev people " + use + " bob@acme.example temporal:deploy:write", Args: usage(cobra.ExactArgs(2)), ValidArgsFunction: a.completePeople,
			RunE: func(c *cobra.Command, args []string) error {
				client, err := a.devOrgClient()
				if err != nil {
					return err
				}
				u, err := client.User(c.Context(), args[0])
				if err != nil {
					return devOrgFailed(err, args[0])
				}
				g, err := client.GroupNamed(c.Context(), args[1])
				if okta.IsNotFound(err) {
					return &coded{Code: "group_unknown", Text: fmt.Sprintf("the development org has no group %s", args[1]), Fix: "groups are listed by: bailiwick dev people list --json"}
				}
				if err == nil {
					err = do(c.Context(), client, g.ID, u.ID)
				}
				if err != nil {
					return devOrgFailed(err, args[0])
				}
				return a.showPerson(c.Context(), client, args[0], done)
			},
		}
	}
	return group("people", "Change people of the development org: leavers, suspensions, groups", `Change people of the development org that "bailiwick dev" runs, to see what follows: within two seconds the gates refuse who lost access, though
their tokens are valid.`,
		a.devPeopleListCommand(),
		change("deactivate", "Somebody leaves the company", "Deactivated", func(ctx context.Context, c *okta.Client, u okta.User) error { return c.Deactivate(ctx, u.ID) }),
		change("suspend", "Suspend somebody", "Suspended", func(ctx context.Context, c *okta.Client, u okta.User) error { return c.Suspend(ctx, u.ID) }),
		change("restore", "Bring back who was deactivated or suspended", "Restored", func(ctx context.Context, c *okta.Client, u okta.User) error {
			switch {
			case u.Status == "SUSPENDED":
				return c.Unsuspend(ctx, u.ID)
			case u.Active():
				return nil
			}
			return c.Activate(ctx, u.ID)
		}),
		change("sign-out", "Sign somebody out everywhere", "Signed out", func(ctx context.Context, c *okta.Client, u okta.User) error { return c.EndSessions(ctx, u.ID) }),
		change("reset-password", "Make somebody choose another password: tokens from before end", "Password reset of", func(ctx context.Context, c *okta.Client, u okta.User) error { return c.ResetPassword(ctx, u.ID) }),
		member("add-group", "Put somebody into a group", "Added", func(ctx context.Context, c *okta.Client, g, u string) error { return c.AddMember(ctx, g, u) }),
		member("remove-group", "Take somebody out of a group", "Removed", func(ctx context.Context, c *okta.Client, g, u string) error { return c.RemoveMember(ctx, g, u) }),
	)
}

// orgPerson is a person as these commands print them.
type orgPerson struct {
	ID     string   `json:"id"`
	Login  string   `json:"login"`
	Status string   `json:"status"`
	Groups []string `json:"groups"`
}

func describePerson(ctx context.Context, c *okta.Client, u okta.User) (orgPerson, error) {
	p := orgPerson{ID: u.ID, Login: u.Profile.Login, Status: u.Status, Groups: []string{}}
	for g, err := range c.UserGroups(ctx, u.ID) {
		if err != nil {
			return p, err
		}
		if g.Type != "BUILT_IN" {
			p.Groups = append(p.Groups, g.Profile.Name)
		}
	}
	slices.Sort(p.Groups)
	return p, nil
}

func (a *app) showPerson(ctx context.Context, c *okta.Client, who, done string) error {
	u, err := c.User(ctx, who)
	if err != nil {
		return devOrgFailed(err, who)
	}
	p, err := describePerson(ctx, c, u)
	if err != nil {
		return devOrgFailed(err, who)
	}
	if a.asJSON {
		return a.out.json(p)
	}
	fmt.Fprintf(a.out, "%s %s: %s, in %s\n", a.out.green(done), safe(p.Login), p.Status, safe(or(strings.Join(p.Groups, ", "), "no group")))
	return nil
}

func (a *app) devPeopleListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the people of the development org", Example: "  bailiwick dev people list", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.devOrgClient()
			if err != nil {
				return err
			}
			people := []orgPerson{}
			for u, err := range client.Users(c.Context(), "") {
				if err != nil {
					return devOrgFailed(err, "people")
				}
				p, err := describePerson(c.Context(), client, u)
				if err != nil {
					return devOrgFailed(err, u.Profile.Login)
				}
				people = append(people, p)
			}
			if a.asJSON {
				return a.out.json(people)
			}
			var rows [][]string
			for _, p := range people {
				rows = append(rows, []string{safe(p.Login), p.Status, safe(strings.Join(p.Groups, ", "))})
			}
			a.out.rows([]string{"LOGIN", "STATUS", "GROUPS"}, rows)
			return nil
		},
	}
}

// completePeople completes a login, then a group.
func (a *app) completePeople(c *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	client, err := a.devOrgClient()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	switch {
	case len(args) == 0:
		for u, err := range client.Users(c.Context(), "") {
			if err != nil {
				break
			}
			out = append(out, u.Profile.Login)
		}
	case len(args) == 1 && strings.Contains(c.Use, "GROUP"):
		for g, err := range client.Groups(c.Context(), "") {
			if err != nil {
				break
			}
			if g.Type != "BUILT_IN" {
				out = append(out, g.Profile.Name)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
