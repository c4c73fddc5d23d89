package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// writeTerraform writes the wanted state for Terraform. The keys are beside it, because the state would hold them otherwise.
func (a *app) writeTerraform(dir string, plan *oktasetup.Plan) error {
	files, err := plan.Terraform(oktaFiles{dir}.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing Terraform files: %w", err)
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if err := durable.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			return fmt.Errorf("writing Terraform files: %w", err)
		}
	}
	if a.asJSON {
		return a.out.json(map[string]any{"directory": dir, "files": names})
	}
	for _, name := range names {
		fmt.Fprintln(a.out, safe(filepath.Join(dir, name)))
	}
	fmt.Fprintf(a.out, "\n%s\nNext: terraform init && terraform plan. Private keys are in %s.\n", summary(plan), safe(filepath.Join(dir, "keys")))
	return nil
}
