package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/directory"
)

func (a *app) directoryCommand() *cobra.Command {
	return group("directory", "What the org says of people and groups", `The control plane keeps a copy of the org's people, groups and memberships, for evidence and reviews, and looks up one person at a time for gates whose
caller's token leaves groups or attributes out. These commands show how old the copy is, bring it up to date and show what is known of somebody.`,
		a.directoryStatusCommand(), a.directorySyncCommand(), a.directoryShowCommand())
}

func (a *app) directoryStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how old the copy of the org is, and what it took of the rate limits",
		Long: `Show how many people, groups and memberships the copy holds, up to when it is true, how far a sync under way is, and what the control plane used of the org's
rate limits. Exit code 4 when there is no whole copy yet, or the last round failed.`,
		Example: `  bailiwick directory status
  bailiwick directory status --json | jq '{as_of, users, groups}'`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			var s directory.Status
			if err := a.controlGet(c.Context(), where, directoryPath+"/status", &s); err != nil {
				return err
			}
			if a.asJSON {
				err = a.out.json(s)
			} else {
				a.showDirectory(s)
			}
			return errors.Join(err, behindOrg(s))
		},
	}
}

// behindOrg is an error when the copy is not what the org says.
func behindOrg(s directory.Status) error {
	switch {
	case s.Error != "":
		return &coded{Code: "directory_behind", Text: "the last round failed: " + safe(s.Error), Fix: "the copy stays as it is; the control plane tries again by itself", exit: exitUnproven}
	case s.AsOf.IsZero():
		return &coded{Code: "directory_incomplete", Text: "the first full sync has not ended", Fix: "bailiwick directory sync waits for it", exit: exitUnproven}
	}
	return nil
}

func (a *app) showDirectory(s directory.Status) {
	w := a.out
	field(w, "copy", fmt.Sprintf("%d people (%d active), %d groups, %d memberships", s.Users, s.Active, s.Groups, s.Memberships))
	if s.AsOf.IsZero() {
		field(w, "true up to", w.yellow("not whole yet"))
	} else {
		field(w, "true up to", fmt.Sprintf("%s (%s ago)", s.AsOf.Local().Format("2006-01-02 15:04:05"), time.Since(s.AsOf).Round(time.Second)))
	}
	if s.Phase != "" {
		field(w, "full sync", progressOf(s))
	} else if !s.Full.IsZero() {
		field(w, "full sync", fmt.Sprintf("%s, %d pages in %s", s.Full.Local().Format("2006-01-02 15:04:05"), s.Requests, s.Took))
	}
	limits, _ := s.Limits.([]any)
	for _, l := range limits {
		if m, ok := l.(map[string]any); ok {
			field(w, "limit", fmt.Sprintf("%v: %v requests, at most %v of %v a minute", m["family"], m["sent"], m["most"], m["limit"]))
		}
	}
}

// progressOf says how far a full sync is.
func progressOf(s directory.Status) string {
	text := fmt.Sprintf("reading %s, %d done", safe(s.Phase), s.Done)
	if s.Of > 0 {
		text = fmt.Sprintf("reading %s, %d of %d groups (%d %%)", safe(s.Phase), s.Done, s.Of, 100*s.Done/s.Of)
	}
	return fmt.Sprintf("%s, %d pages since %s", text, s.Requests, s.Began.Local().Format("15:04:05"))
}

func (a *app) directorySyncCommand() *cobra.Command {
	var full bool
	var within time.Duration
	c := &cobra.Command{
		Use:   "sync",
		Short: "Bring the copy up to date now",
		Long: `Ask the control plane to read what changed in the org since it last did, and wait until it has. With --full, everything is read anew, by pages and within
the share of the rate limit that the copy may use; Ctrl-C ends the waiting and not the sync. Needs what reading the audit log needs.`,
		Example: `  bailiwick directory sync
  bailiwick directory sync --full --wait 1h`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			var before, s directory.Status
			if err := a.controlGet(c.Context(), where, directoryPath+"/status", &before); err != nil {
				return err
			}
			path := directoryPath + "/sync"
			if full {
				path += "?full=true"
			}
			if err := a.controlDo(c.Context(), where, http.MethodPost, path, nil, &s); err != nil {
				return err
			}
			done := func() bool {
				return s.Phase == "" && s.Error == "" && s.AsOf.After(before.AsOf) && (!full || s.Full.After(before.Full))
			}
			failed := func() bool { return s.Error != "" && s.Tried.After(before.Tried) }
			for end := time.Now().Add(within); !done() && !failed() && time.Now().Before(end); {
				select {
				case <-c.Context().Done():
					return c.Context().Err()
				case <-time.After(300 * time.Millisecond):
				}
				phase := s.Phase
				if err := a.controlGet(c.Context(), where, directoryPath+"/status", &s); err != nil {
					return err
				}
				if !a.asJSON && s.Phase != "" && s.Phase != phase {
					fmt.Fprintln(a.errs, progressOf(s))
				}
			}
			if a.asJSON {
				err = a.out.json(s)
			} else {
				a.showDirectory(s)
			}
			if !done() && !failed() {
				return errors.Join(err, &coded{Code: "directory_behind", Text: fmt.Sprintf("not done within %s; it goes on by itself", within), Fix: "bailiwick directory status", exit: exitUnproven})
			}
			return errors.Join(err, behindOrg(s))
		},
	}
	c.Flags().BoolVar(&full, "full", false, "read everything anew")
	c.Flags().DurationVar(&within, "wait", 5*time.Minute, "how long to wait")
	return c
}

func (a *app) directoryShowCommand() *cobra.Command {
	var now bool
	c := &cobra.Command{
		Use:   "show USER",
		Short: "Show what the directory knows of somebody",
		Long: `Show somebody by login or id: whether they may sign in, their groups and their profile, and how old that is. With --now the org is asked. Needs what reading
the audit log needs, and is on record.`,
		Example: `  bailiwick directory show alice@acme.example
  bailiwick directory show alice@acme.example --now --json | jq '.groups[].name'`,
		Args: usage(cobra.ExactArgs(1)), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			path := directoryPath + "/people/" + url.PathEscape(args[0])
			if now {
				path += "?now=true"
			}
			var f directory.Facts
			if err := a.controlGet(c.Context(), where, path, &f); err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(f)
			}
			w := a.out
			state := w.green(safe(f.User.Status))
			if !f.User.Active {
				state = w.red(safe(f.User.Status) + ", may not sign in")
			}
			field(w, "person", fmt.Sprintf("%s (%s)", safe(f.User.Login), safe(f.User.ID)))
			field(w, "state", state)
			field(w, "as of", fmt.Sprintf("%s, by the %s", f.AsOf.Local().Format("2006-01-02 15:04:05"), safe(f.From)))
			names := make([]string, 0, len(f.Groups))
			for _, g := range f.Groups {
				names = append(names, safe(g.Name))
			}
			field(w, "groups", strings.Join(names, ", "))
			attributes := make([]string, 0, len(f.User.Profile))
			for name := range f.User.Profile {
				attributes = append(attributes, name)
			}
			slices.Sort(attributes)
			for _, name := range attributes {
				field(w, safe(name), safe(string(f.User.Profile[name])))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&now, "now", false, "ask the org, not the copy")
	return c
}
