package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
)

func (a *app) auditSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the log's entries",
		Long: `Print the JSON Schema (draft 2020-12) of the log's entries, as "audit export" writes them natively and as they are in the log. In the log the form is
narrower: field order and spacing are fixed too, so that an entry has one form only. docs/audit-log.md says what the fields mean.`,
		Example: `  bailiwick audit schema > audit-entry.schema.json`,
		Args:    usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.out, audit.EntrySchema())
			return err
		},
	}
}
