package main

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// csvColumns are in the order of `audit query --format csv`. Add at the end only: scripts count on it.
var csvColumns = []struct {
	name string
	of   func(r record) string
}{
	{"index", func(r record) string { return strconv.FormatUint(r.Index, 10) }},
	{"sealed", func(r record) string { return strconv.FormatBool(r.Sealed) }},
	{"time", func(r record) string { return r.Entry.Time.UTC().Format(time.RFC3339Nano) }},
	{"id", func(r record) string { return r.Entry.ID }},
	{"kind", func(r record) string { return string(r.Entry.Kind) }},
	{"gate", func(r record) string { return r.Entry.Gate }},
	{"principal", func(r record) string { return r.Entry.Actor.Principal }},
	{"login", func(r record) string { return r.Entry.Actor.Login }},
	{"client_id", func(r record) string { return r.Entry.Actor.ClientID }},
	{"agents", func(r record) string { return strings.Join(r.Entry.Actor.Actors, " ") }},
	{"action", func(r record) string { return r.Entry.Action }},
	{"access", func(r record) string { return r.Entry.Access }},
	{"namespace", func(r record) string { return r.Entry.Resource.Namespace }},
	{"workflow_type", func(r record) string { return r.Entry.Resource.WorkflowType }},
	{"workflow_id", func(r record) string { return r.Entry.Resource.WorkflowID }},
	{"run_id", func(r record) string { return r.Entry.Resource.RunID }},
	{"task_queue", func(r record) string { return r.Entry.Resource.TaskQueue }},
	{"signal", func(r record) string { return r.Entry.Resource.Signal }},
	{"update", func(r record) string { return r.Entry.Resource.Update }},
	{"query", func(r record) string { return r.Entry.Resource.Query }},
	{"schedule_id", func(r record) string { return r.Entry.Resource.ScheduleID }},
	{"endpoint", func(r record) string { return r.Entry.Resource.Endpoint }},
	{"decision", func(r record) string {
		switch d := r.Entry.Decision; {
		case d == nil:
			return ""
		case d.Allow:
			return "allow"
		}
		return "deny"
	}},
	{"code", decided(func(r record) string { return string(r.Entry.Decision.Code) })},
	{"policies", decided(func(r record) string { return strings.Join(r.Entry.Decision.Policies, " ") })},
	{"missing", decided(func(r record) string { return r.Entry.Decision.Missing })},
	{"reason", func(r record) string { return r.Entry.Reason }},
	{"grant", func(r record) string { return r.Entry.Grant }},
	{"source", func(r record) string { return r.Entry.Source }},
	{"token_id", func(r record) string { return r.Entry.Actor.TokenID }},
	{"policy_digest", decided(func(r record) string { return r.Entry.Decision.PolicyDigest })},
	{"request_digest", func(r record) string { return r.Entry.RequestDigest }},
}

func decided(of func(record) string) func(record) string {
	return func(r record) string {
		if r.Entry.Decision == nil {
			return ""
		}
		return of(r)
	}
}

// writeCSV writes records by RFC 4180, harmless to spreadsheets and terminals.
func writeCSV(w io.Writer, page []record, header bool) error {
	out := csv.NewWriter(w)
	row := make([]string, len(csvColumns))
	if header {
		for i, c := range csvColumns {
			row[i] = c.name
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	for _, r := range page {
		for i, c := range csvColumns {
			row[i] = cell(c.of(r))
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// cell makes text from outside harmless in a spreadsheet: what could be read as a formula is marked as text with an apostrophe, and what
// is not printable is written as an escape. Spreadsheets look behind leading spaces, and take the full-width signs too.
func cell(s string) string {
	s = safe(s)
	if lead := strings.TrimLeft(s, " \u00a0\u3000"); lead != "" && strings.ContainsRune("=+-@|%＝＋－＠", []rune(lead)[0]) {
		return "'" + s
	}
	return s
}
