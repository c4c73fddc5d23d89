package main

import (
	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// completeContexts offers the contexts there are.
func completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, err := login.ContextNames()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces offers the namespaces that the context lists. It asks no server: a key press must not make a call.
func (a *app) completeNamespaces(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := a.where()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return c.Namespaces, cobra.ShellCompDirectiveNoFileComp
}

// completeTypes offers the demo's workflow types in the development environment.
func (a *app) completeTypes(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if c, err := a.where(); err == nil && c.Name == devContext && len(args) == 0 {
		return []string{"deploy"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
