package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// whoCan is what `bailiwick policy who-can --json` prints.
type whoCan struct {
	Action   string           `json:"action"`
	Resource policy.Resource  `json:"resource"`
	Digest   string           `json:"policy_digest"`
	Grantees []policy.Grantee `json:"grantees"`
	People   []person         `json:"people,omitempty"` // with --people

	Directory *directoryPeople `json:"directory,omitempty"` // with --directory
}

// person is someone in the log who may do it.
type person struct {
	Login      string        `json:"login"`
	Principal  string        `json:"principal"`
	Kind       identity.Kind `json:"kind"`
	Groups     []string      `json:"groups,omitempty"` // as of their latest call
	Seen       time.Time     `json:"seen"`
	Policies   []string      `json:"policies"`
	Conditions []string      `json:"conditions,omitempty"` // what must hold besides
}

func (a *app) policyWhoCanCommand() *cobra.Command {
	var (
		what   resourceFlags
		logs   logFlags
		set    policyFlags
		people bool
		org    bool
	)
	c := &cobra.Command{
		Use:   "who-can ACTION",
		Short: "List who may do something: who can terminate in payments?",
		Long: `List the groups, clients and users that may do something, as far as roles.yaml and the policies name them, with the conditions that remain. What
flags leave open (a workflow's type, say) shows up among the conditions where a policy looks at it.

With --directory, also every person of the org who may do it, by the groups and attributes that the control plane's copy of the directory has of
them; how old the copy is is told. Needs a login, and what reading the audit log needs.

With --people, also the people and services of the audit log who may do it, by the groups that their latest token had. Who never called is
not in the log, and who lost a group since their latest call is still listed.

ACTION is a Temporal method, or for workflows its verb: start, signal, terminate.`,
		Example: `  bailiwick policy who-can terminate --namespace payments
  bailiwick policy who-can start -n deploy --type deploy --directory
  bailiwick policy who-can terminate -n payments --directory --json | jq -r '.directory.people[].login'
  bailiwick policy who-can start -n deploy --type deploy --people
  bailiwick policy who-can Operator.DeleteNamespace -n payments --json | jq -r '.grantees[].name'`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeActions,
		RunE: func(c *cobra.Command, args []string) error {
			action, err := findAction(c, args[0])
			if err != nil {
				return err
			}
			s, _, err := a.policySet(set.dir)
			if err != nil {
				return err
			}
			answer := whoCan{Action: action.Name, Resource: what.resource(a, action), Digest: s.Digest()}
			answer.Grantees = s.WhoCan(policy.Question{Action: action.Name, Resource: answer.Resource})
			if people {
				if answer.People, err = a.peopleWhoCan(c.Context(), logs, s, answer); err != nil {
					return err
				}
			}
			if org {
				if answer.Directory, err = a.directoryWhoCan(c.Context(), s, answer); err != nil {
					return err
				}
			}
			if a.asJSON {
				return a.out.json(answer)
			}
			a.showWhoCan(answer, people)
			if org {
				a.showDirectoryWhoCan(*answer.Directory)
			}
			return nil
		},
	}
	what.register(a, c)
	logs.register(c)
	set.register(c)
	c.Flags().BoolVar(&people, "people", false, "also the people and services of the audit log")
	c.Flags().BoolVar(&org, "directory", false, "also the people of the org, by the control plane's copy of its directory")
	return c
}

// whatIfs are the circumstances that a person can bring about, least first: who may do it only then is listed with the condition.
var whatIfs = []struct {
	conditions    []string
	reason, fresh bool
}{
	{nil, false, false},
	{[]string{"states a reason"}, true, false},
	{[]string{"has just logged in"}, false, true},
	{[]string{"states a reason", "has just logged in"}, true, true},
}

// peopleWhoCan asks the policies about everybody in the log.
func (a *app) peopleWhoCan(ctx context.Context, f logFlags, s *policy.Set, q whoCan) ([]person, error) {
	all, err := a.people(ctx, f)
	if err != nil {
		return nil, err
	}
	found := []person{}
	now := time.Now()
	for _, known := range all {
		claims := *known.claims
		claims.Actors = nil // the person, not whoever acted for them last
		if policies, conditions, can := couldDo(s, &claims, q, now); can {
			found = append(found, person{Login: cmp.Or(known.party.Login, claims.ID), Principal: known.party.Principal, Kind: claims.Kind, Groups: claims.Groups, Seen: known.seen,
				Policies: policies, Conditions: conditions})
		}
	}
	return found, nil
}

// couldDo asks whether somebody may do it, by which policies, and what they must bring about for that.
func couldDo(s *policy.Set, who *identity.Claims, q whoCan, now time.Time) (policies, conditions []string, can bool) {
	for _, if_ := range whatIfs {
		trial := *who
		req := policy.Request{Principal: &trial, Action: q.Action, Resource: q.Resource, Context: policy.Context{Now: now}}
		if if_.reason {
			req.Context.Reason = "a reason"
		}
		if if_.fresh {
			trial.AuthTime = now
		}
		d := s.Decide(req)
		if !d.Allow && d.Code != policy.CodeUnresolved {
			continue
		}
		conditions = slices.Clone(if_.conditions)
		if !d.Allow {
			conditions = append(conditions, "it depends on the run: name its --type, --task-queue or --search-attribute")
		}
		return d.Policies, conditions, true
	}
	return nil, nil, false
}

func (a *app) showWhoCan(x whoCan, people bool) {
	w := a.out
	fmt.Fprintf(w, "Who may %s%s:\n", w.bold(safe(x.Action)), aboutResource(x.Resource))
	if len(x.Grantees) == 0 {
		fmt.Fprintln(w, "  "+w.yellow("nobody that the policies name"))
	}
	var rows [][]string
	for _, g := range x.Grantees {
		who := safe(g.Kind)
		if g.Name != "" {
			who += " " + w.bold(safe(g.Name))
		}
		if g.Note != "" {
			who += w.dim(" (" + safe(g.Note) + ")")
		}
		if g.Issuer != "" {
			who += w.dim(" of " + safe(g.Issuer))
		}
		rows = append(rows, []string{"  " + who, list(g.Policies), conditions(w, g.Conditions)})
	}
	if len(rows) > 0 {
		w.rows([]string{"  WHO", "BY POLICY", "IF IT"}, rows)
	}
	if !people {
		return
	}
	fmt.Fprintln(w)
	if len(x.People) == 0 {
		fmt.Fprintln(w, w.yellow("Nobody in the log."))
		return
	}
	rows = nil
	for _, p := range x.People {
		rows = append(rows, []string{"  " + w.bold(safe(p.Login)), safe(span(time.Now(), p.Seen)), list(p.Policies), conditions(w, p.Conditions)})
	}
	w.rows([]string{"  IN THE LOG", "LAST SEEN", "BY POLICY", "IF IT"}, rows)
}

// conditions prints what must hold besides; "always" when nothing must.
func conditions(w *terminal, cs []string) string {
	if len(cs) == 0 {
		return w.dim("—")
	}
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = clip(safe(c), 200)
	}
	return w.yellow(strings.Join(out, "; "))
}
