package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
)

// subjectFlags say about whom, and where to.
type subjectFlags struct {
	logFlags
	subject string
	format  string
	out     string
}

// subjectReport is everything that the log holds about one person. History: v 1 (2026-11) first.
type subjectReport struct {
	Type    string          `json:"type"` // bailiwick-subject
	Version int             `json:"v"`
	Log     string          `json:"log"` // of which log
	Subject string          `json:"subject"`
	Persons []subjectPerson `json:"persons"` // who that is; several when a login went from one person to another
	Made    time.Time       `json:"made"`
	Size    uint64          `json:"log_size"` // entries looked at
	Entries []record        `json:"entries"`
}

type subjectPerson struct {
	Principal string `json:"principal"`
	Login     string `json:"login,omitempty"`
}

// auditSubject writes what the log holds about a person, for that person: as JSON, or as a page.
func (a *app) auditSubject(ctx context.Context, f subjectFlags) (err error) {
	log, journals, _, err := a.dirs(f.logFlags)
	if err != nil {
		return err
	}
	report, err := aboutSubject(ctx, tiles.ScanConfig{Log: log, Journals: journals, Placed: true}, f.subject)
	if err != nil {
		return err
	}
	if len(report.Entries) == 0 {
		return &coded{Code: "subject_unknown", Text: fmt.Sprintf("the log holds nothing readable about %q", f.subject), Fix: "a login or a principal, as `bailiwick audit query` shows them"}
	}
	var out io.Writer = a.out.Writer
	if f.out != "" {
		file, cerr := os.OpenFile(f.out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if cerr != nil {
			return fmt.Errorf("creating the file: %w", cerr)
		}
		defer func() {
			if err = errors.Join(err, file.Close()); err != nil {
				_ = os.Remove(f.out)
			}
		}()
		out = file
	}
	w := bufio.NewWriter(out)
	if f.format == "html" {
		err = subjectPage.Execute(w, report)
	} else {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "\t")
		err = enc.Encode(report)
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if f.out != "" {
		fmt.Fprintf(a.errs, "%d entries about %s in %s\n", len(report.Entries), safe(f.subject), safe(f.out))
	}
	return nil
}

// aboutSubject reads the log twice: to find out who is meant, by all the names of one person, and then what is about them.
func aboutSubject(ctx context.Context, cfg tiles.ScanConfig, subject string) (subjectReport, error) {
	report := subjectReport{Type: "bailiwick-subject", Version: 1, Subject: subject, Made: time.Now().UTC().Truncate(time.Second), Entries: []record{}}
	add := func(p audit.Party) {
		q := subjectPerson{p.Principal, p.Login}
		if p.Principal != "" && !slices.ContainsFunc(report.Persons, func(have subjectPerson) bool { return have.Principal == q.Principal }) {
			report.Persons = append(report.Persons, q)
		}
	}
	for r, err := range scan(ctx, cfg) {
		if err != nil && !errors.Is(err, audit.ErrMalformed) {
			return report, err
		}
		if e := r.Entry; e.Actor.Principal == subject || e.Actor.Login == subject {
			add(e.Actor)
		} else if e.Detail["subject"] == subject || e.Detail["login"] == subject {
			add(audit.Party{Principal: e.Detail["subject"], Login: e.Detail["login"]})
		}
	}
	if len(report.Persons) == 0 {
		report.Persons = []subjectPerson{{Login: subject}}
	}
	for r, err := range scan(ctx, cfg) {
		if err != nil {
			continue // told above, or malformed
		}
		report.Size = r.Index + 1
		if slices.ContainsFunc(report.Persons, func(p subjectPerson) bool { return privacy.Concerns(&r.Entry, p.Principal, p.Login) }) {
			report.Entries = append(report.Entries, record{r.Index, r.Sealed, r.Entry})
		}
	}
	return report, ctx.Err()
}

//go:embed audit_subject.html
var subjectHTML string

var subjectPage = template.Must(template.New("subject").Funcs(template.FuncMap{
	"target":  target,
	"details": details,
	"outcome": func(e audit.Entry) string {
		switch {
		case e.Decision == nil:
			return ""
		case e.Decision.Allow:
			return "allowed"
		}
		return "refused: " + string(e.Decision.Code)
	},
}).Parse(subjectHTML))
