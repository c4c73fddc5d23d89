package audit

import _ "embed"

//go:embed entry.schema.json
var entrySchema string

// EntrySchema is the JSON Schema (draft 2020-12) of entries. The canonical form is narrower: it also fixes the order of fields and how each
// value is written, which ParseEntry checks.
func EntrySchema() string { return entrySchema }
