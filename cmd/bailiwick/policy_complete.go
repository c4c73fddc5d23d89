package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// completeActions offers the actions, with what each is.
func completeActions(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, act := range policy.Actions() {
		if strings.HasPrefix(strings.ToLower(act.Name), strings.ToLower(prefix)) {
			names = append(names, act.Name+"\t"+string(act.Access)+" on a "+strings.Replace(string(act.Scope), "taskqueue", "task queue", 1))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func completeDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func completeYAML(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
