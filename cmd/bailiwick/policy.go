package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Check, explain, test and compare policies, and see which are in force", `Check, explain, test and compare policies, and see which set the gate decides by.

A policy directory holds roles.yaml (which groups have which role in which namespace) and Cedar policies (*.cedar). The gate reads it again within
a second of a change; a set that does not load leaves the last good one in force.

A change is best made like this: edit a copy, then "policy check" it, "policy test" its cases, "policy diff" it with what is in force, "policy
replay" it over what people really did, and put it in place.`,
		a.policyStatusCommand(), a.policyShowCommand(), a.policyCheckCommand(), a.policyTestCommand(), a.policyExplainCommand(), a.policyWhoCanCommand(),
		a.policyDiffCommand(), a.policyReplayCommand(), a.policySchemaCommand(), a.policyBundleCommand())
}

func (a *app) policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the Cedar schema that policies are checked against",
		Long:  "Print the Cedar schema that policies are checked against: the entities, actions and circumstances that a policy can speak of.",
		Example: `  bailiwick policy schema > bailiwick.cedarschema   # for an editor
  bailiwick policy schema --json | jq -r '.actions[] | select(.access == "administer") | .name'`,
		Args: usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if !a.asJSON {
				fmt.Fprint(a.out, policy.SchemaText())
				return nil
			}
			type action struct {
				Name     string        `json:"name"`
				Access   policy.Access `json:"access"`
				Scope    policy.Scope  `json:"scope"`
				Mutating bool          `json:"mutating"`
			}
			var actions []action
			for _, known := range policy.Actions() {
				actions = append(actions, action(known))
			}
			return a.out.json(struct {
				Schema  string   `json:"schema"`
				Actions []action `json:"actions"`
			}{policy.SchemaText(), actions})
		},
	}
}
