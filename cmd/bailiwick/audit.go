package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// logFlags say which log: the context's, or one named by flags.
type logFlags struct{ log, journal string }

func (f *logFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.log, "log", "", "directory of the sealed log (default: the context's)")
	c.Flags().StringVar(&f.journal, "journal", "", "directory of the journal (default: the context's, unless --log is given)")
}

// dirs resolves the flags. A log named by hand is taken alone: the context's journal belongs to another one.
func (a *app) dirs(f logFlags) (log, journal string, c login.Context, err error) {
	c, cerr := a.where()
	if f.log != "" || f.journal != "" {
		return f.log, f.journal, c, nil
	}
	if cerr != nil {
		return "", "", c, cerr
	}
	if c.LogDir == "" && c.JournalDir == "" {
		return "", "", c, &coded{Code: "no_log", Text: fmt.Sprintf("context %s does not say where the log is", c.Name), Fix: "name a copy of it with --log DIR"}
	}
	return c.LogDir, c.JournalDir, c, nil
}

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "Read and verify the record of decisions", `Read and verify the record of decisions: who asked for what, whether it was allowed, by which policy, and why.

The journal holds each decision before a changing call is let through; within a second it is sealed into a Merkle log with a signed checkpoint.
Both are directories of files, and reading and verifying need no server.`,
		a.auditTailCommand(), a.auditShowCommand(), a.auditVerifyCommand())
}

// record is one entry as `--json` prints it.
type record struct {
	Index  uint64 `json:"index"`
	Sealed bool   `json:"sealed"`
	audit.Entry
}

// tailFlags choose what `audit tail` shows.
type tailFlags struct {
	logFlags
	follow, all, denied bool
	namespace           string
	count               int
}

func (f *tailFlags) wants(e audit.Entry) bool {
	if f.namespace != "" && e.Resource.Namespace != f.namespace {
		return false
	}
	refused := e.Decision != nil && !e.Decision.Allow
	switch {
	case f.denied:
		return refused
	case f.all, refused, e.Kind != audit.KindDecision:
		return true
	}
	return e.Access != "work" && e.Access != "read"
}

func (a *app) auditTailCommand() *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show the latest decisions, and follow them with -f",
		Long: `Show the latest decisions. What workers do all day (polls, heartbeats, task results) and allowed reads are left out unless --all is given;
refusals are always shown.`,
		Example: `  bailiwick audit tail
  bailiwick audit tail -f --denied
  bailiwick audit tail --namespace payments --json | jq .actor.login`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.count < 0 {
				return badUsage(c, "--lines is %d; 0 or more are possible", f.count)
			}
			return a.auditTail(c.Context(), f)
		},
	}
	f.register(c)
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on as decisions are made, until Ctrl-C")
	c.Flags().BoolVar(&f.all, "all", false, "also polls, heartbeats, task results and reads")
	c.Flags().BoolVar(&f.denied, "denied", false, "only refusals")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "", "only this namespace")
	c.Flags().IntVarP(&f.count, "lines", "l", 20, "how many of the latest; 0 means all")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

// followEvery is how often `audit tail -f` looks for more.
const followEvery = 300 * time.Millisecond

func (a *app) auditTail(ctx context.Context, f tailFlags) error {
	log, journal, _, err := a.dirs(f.logFlags)
	if err != nil {
		return err
	}
	cfg := tiles.ScanConfig{Log: log, Journal: journal}
	var latest []record
	for r, err := range tiles.Scan(ctx, cfg) {
		if err != nil && r.Raw == nil {
			return err
		}
		cfg.From = r.Index + 1
		if err != nil {
			fmt.Fprintf(a.errs, "%s entry %d cannot be read: %s (run: bailiwick audit verify)\n", a.errs.red("malformed:"), r.Index, safe(err.Error()))
			continue
		}
		if f.wants(r.Entry) {
			latest = append(latest, record{r.Index, r.Sealed, r.Entry})
			if f.count > 0 && len(latest) >= 2*f.count+1024 { // bounded, and moved seldom
				latest = append(latest[:0], latest[len(latest)-f.count:]...)
			}
		}
	}
	if f.count > 0 && len(latest) > f.count {
		latest = latest[len(latest)-f.count:]
	}
	for _, r := range latest {
		if err := a.printEntry(r); err != nil {
			return err
		}
	}
	for f.follow {
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is how one stops following
		case <-time.After(followEvery):
		}
		for r, err := range tiles.Scan(ctx, cfg) {
			if err != nil && r.Raw == nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			cfg.From = r.Index + 1
			if err == nil && f.wants(r.Entry) {
				if err := a.printEntry(record{r.Index, r.Sealed, r.Entry}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// printEntry prints one line.
func (a *app) printEntry(r record) error {
	if a.asJSON {
		return a.out.json(r)
	}
	w := a.out
	e := r.Entry
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", w.dim(e.Time.Local().Format("01-02 15:04:05")))
	switch {
	case e.Decision == nil:
		fmt.Fprintf(&b, "%s %s %s", w.cyan("·"), string(e.Kind), safe(details(e)))
		fmt.Fprintln(w, b.String())
		return nil
	case e.Decision.Allow:
		b.WriteString(w.green("✓ "))
	default:
		b.WriteString(w.red("✗ "))
	}
	fmt.Fprintf(&b, "%-22s %-26s %s", clip(who(e.Actor), 40), safe(e.Action), w.bold(target(e)))
	if e.Reason != "" {
		fmt.Fprintf(&b, "  %s", w.dim("“"+clip(safe(e.Reason), 80)+"”"))
	}
	if !e.Decision.Allow {
		fmt.Fprintf(&b, "  %s", w.red(safe(string(e.Decision.Code))))
		if e.Decision.Missing != "" {
			fmt.Fprintf(&b, " %s", w.dim("missing: "+safe(e.Decision.Missing)))
		}
	}
	fmt.Fprintln(w, b.String())
	return nil
}

func who(p audit.Party) string {
	switch {
	case p.Login != "":
		return safe(p.Login)
	case p.Principal != "":
		return safe(p.Principal)
	}
	return "nobody"
}

// target names the narrowest thing that an entry is about.
func target(e audit.Entry) string {
	r := e.Resource
	parts := []string{r.Namespace}
	for _, p := range []string{r.WorkflowID, r.ScheduleID, r.TaskQueue, r.Endpoint} {
		if p != "" {
			parts = append(parts, p)
			break
		}
	}
	s := strings.Trim(strings.Join(parts, "/"), "/")
	for _, p := range []string{r.Signal, r.Update, r.Query} {
		if p != "" {
			s += " " + p
		}
	}
	if r.WorkflowType != "" {
		s += " (" + r.WorkflowType + ")"
	}
	return clip(safe(s), 100)
}

func details(e audit.Entry) string {
	var b strings.Builder
	for _, k := range []string{"event", "policy_digest", "error_digest", "attestation_key"} {
		if v := e.Detail[k]; v != "" {
			fmt.Fprintf(&b, "%s=%s ", k, clip(v, 16))
		}
	}
	return strings.TrimSpace(b.String())
}

func (a *app) auditShowCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one entry of the log: a decision's id, its beginning, or an index",
		Example: `  bailiwick audit show 01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c11
  bailiwick audit show 142`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.findEntry(c.Context(), f, args[0])
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(r)
			}
			a.showEntry(r)
			return nil
		},
	}
	f.register(c)
	return c
}

func (a *app) findEntry(ctx context.Context, f logFlags, id string) (record, error) {
	log, journal, _, err := a.dirs(f)
	if err != nil {
		return record{}, err
	}
	var found []record
	for r, err := range tiles.Scan(ctx, tiles.ScanConfig{Log: log, Journal: journal}) {
		if err != nil && r.Raw == nil {
			return record{}, err
		}
		if fmt.Sprint(r.Index) == id || r.Entry.ID == id {
			return record{r.Index, r.Sealed, r.Entry}, nil
		}
		if len(id) >= 8 && strings.HasPrefix(r.Entry.ID, id) {
			found = append(found, record{r.Index, r.Sealed, r.Entry})
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return record{}, &coded{Code: "entry_unknown", Text: fmt.Sprintf("no entry %q in the log", id), Fix: "see `bailiwick audit tail --all`; an id's first 8 characters are enough"}
	}
	return record{}, &coded{Code: "entry_ambiguous", Text: fmt.Sprintf("%d entries begin with %q", len(found), id), Fix: "give more of the id"}
}

func (a *app) showEntry(r record) {
	w, e := a.out, r.Entry
	row := func(k, v string) { field(w, k, v) }
	row("entry", fmt.Sprintf("%d, %s", r.Index, map[bool]string{true: "sealed in the log", false: "in the journal, not sealed yet"}[r.Sealed]))
	row("id", safe(e.ID))
	row("time", e.Time.Local().Format("2006-01-02 15:04:05.000 MST"))
	row("kind", safe(string(e.Kind)))
	row("gate", safe(e.Gate))
	row("who", w.bold(who(e.Actor)))
	row("principal", safe(e.Actor.Principal))
	row("client", safe(e.Actor.ClientID))
	row("acting by", list(e.Actor.Actors))
	row("groups", list(e.Actor.Groups))
	row("token id", safe(e.Actor.TokenID))
	row("from", safe(e.Source))
	row("action", safe(e.Action))
	row("access", safe(e.Access))
	res := e.Resource
	for _, p := range [][2]string{{"namespace", res.Namespace}, {"type", res.WorkflowType}, {"workflow", res.WorkflowID}, {"run", res.RunID}, {"task queue", res.TaskQueue},
		{"signal", res.Signal}, {"update", res.Update}, {"query", res.Query}, {"schedule", res.ScheduleID}, {"endpoint", res.Endpoint}} {
		row(p[0], safe(p[1]))
	}
	row("reason", safe(e.Reason))
	row("grant", safe(e.Grant))
	if d := e.Decision; d != nil {
		verdict := w.green("allowed")
		if !d.Allow {
			verdict = w.red("refused") + ", " + safe(string(d.Code))
		}
		row("decision", verdict)
		row("missing", safe(d.Missing))
		row("because", list(d.Reasons))
		row("policies", list(d.Policies))
		row("policy set", safe(d.PolicyDigest))
	}
	row("request", safe(e.RequestDigest))
	for k, v := range e.Detail {
		row(safe(k), safe(v))
	}
}

// field prints a labelled line; nothing when there is no value.
func field(w *terminal, k, v string) {
	if v != "" {
		fmt.Fprintf(io.Writer(w), "%s %s\n", w.dim(fmt.Sprintf("%-11s", k)), v)
	}
}
