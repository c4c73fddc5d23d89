package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/internal/evidence"
)

// evidenceFlags say what `bailiwick evidence` makes.
type evidenceFlags struct {
	logFlags
	evidence.Settings
	out, key, rules, texts string
	pdf                    string
	pseudonyms             bool
	record                 bool
	directory              bool
}

func (a *app) evidenceCommand() *cobra.Command {
	var f evidenceFlags
	c := &cobra.Command{
		Use:   "evidence --from DAY --to DAY -o DIR",
		Short: "Write an evidence pack for an audit: a report, the entries behind it, and their proofs",
		Long: `Write an evidence pack for an audit. It is a folder with one report (index.html; also report.pdf where Chromium is installed) that an auditor can
read: who had access to what, access requests and approvals, uses of break-glass and their reviews, refused calls, joiners and leavers with the
time from their removal to the loss of access, conflicts of duties, key rotations, and policy changes with their diffs, mapped to the trust
services criteria CC6.1, CC6.2, CC6.3, CC6.6, CC7.2, CC7.3 and CC8.1.

Every figure leads to the entries behind it, and each entry to its proof. The whole log is verified first; the pack holds the part of it that the
period lies in, so that "bailiwick evidence verify" proves every entry, and makes the pack again from them, with no server and no log.

The clock plays no part: the same log and flags give the same bytes. Say with --issued and --by what the cover should say. --rules is a JSON file
with what counts as late and which duties one person must not have both of; "bailiwick evidence rules" prints the defaults.

Where the log holds personal data encrypted, the pack names people, and holds the keys of its entries so that it can be checked (docs/privacy.md):
an erasure afterwards does not reach it. --pseudonyms leaves them out.

With --directory, who holds which role at the identity provider now stands beside who used what, by the control plane's copy of the provider's
directory: its age is told, its digest is put on record, and the report says that it is not made from the log.`,
		Example: `  bailiwick evidence --from 2026-10-01 --to 2026-12-31 --framework soc2 -o evidence-q4
  bailiwick evidence --from 2026-10-01 --to 2026-12-31 --organization 'Acme, Inc.' --by 'E. Auditor' --issued 2027-01-04 -o evidence-q4
  bailiwick evidence --from 2026-10-01 --to 2026-12-31 --directory --record -o evidence-q4
  bailiwick evidence verify evidence-q4
  bailiwick evidence prove evidence-q4 40961 -o proof.json`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.makeEvidence(c, f) },
	}
	f.register(c)
	c.Flags().StringVar(&f.From, "from", "", "first day of the period, such as 2026-10-01 (UTC)")
	c.Flags().StringVar(&f.To, "to", "", "last day of the period")
	c.Flags().StringVar(&f.Framework, "framework", "soc2", "what the pack is mapped to: soc2")
	c.Flags().StringVarP(&f.out, "output", "o", "", "folder to write; it must not exist or be empty")
	c.Flags().StringVar(&f.Organization, "organization", "", "whose evidence it is, for the cover")
	c.Flags().StringVar(&f.By, "by", "", "who makes the pack and has verified the log, for the cover")
	c.Flags().StringVar(&f.Issued, "issued", "", "when, for the cover")
	c.Flags().StringVar(&f.key, "key", "", "the log's verifier key, or @FILE (default: the context's)")
	c.Flags().StringVar(&f.rules, "rules", "", "file with rules (default: those that \"bailiwick evidence rules\" prints)")
	c.Flags().StringVar(&f.texts, "policy-texts", "", "directory of policy texts by digest (default: beside the journal)")
	c.Flags().StringVar(&f.pdf, "pdf", "auto", "print the report to report.pdf: auto (where Chromium is installed), always or never")
	c.Flags().BoolVar(&f.pseudonyms, "pseudonyms", false, "leave personal data that the log holds encrypted as it is: the pack then tells people apart and names none")
	c.Flags().BoolVar(&f.record, "record", false, "put the digest of the pack's manifest on record, so that this pack can be proven to be the one that was issued (needs a login and Audit.Read)")
	c.Flags().BoolVar(&f.directory, "directory", false, "with the people who hold roles at the identity provider now, by the control plane's copy of its directory (needs a login and Audit.Read)")
	must(c.RegisterFlagCompletionFunc("framework", cobra.FixedCompletions([]string{"soc2"}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("pdf", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)))
	c.AddCommand(a.evidenceVerifyCommand(), a.evidenceProveCommand(), a.evidenceRulesCommand())
	return c
}

func (a *app) makeEvidence(c *cobra.Command, f evidenceFlags) error {
	if f.From == "" || f.To == "" || f.out == "" {
		return badUsage(c, "--from, --to and --output are needed")
	}
	if f.pdf != "auto" && f.pdf != "always" && f.pdf != "never" {
		return badUsage(c, "--pdf is %q; auto, always and never are possible", f.pdf)
	}
	if f.directory && f.pseudonyms {
		return badUsage(c, "--directory names people and --pseudonyms says that none is to be named: leave one away")
	}
	log, journals, where, err := a.dirs(f.logFlags)
	if err != nil {
		return err
	}
	if log == "" {
		return badUsage(c, "--log is needed beside --journal: only what is sealed is evidence")
	}
	key, err := logKey(f.key, where)
	if err != nil {
		return err
	}
	if key == "" {
		return badUsage(c, "no verifier key is known for this log; give it with --key")
	}
	f.Rules = evidence.DefaultRules()
	if f.rules != "" {
		raw, err := os.ReadFile(f.rules)
		if err != nil {
			return fmt.Errorf("reading the rules: %w", err)
		}
		if f.Rules, err = evidence.ParseRules(raw); err != nil {
			return evidenceRefused(err)
		}
	}
	var kept []string
	if f.texts != "" {
		kept = []string{f.texts}
	} else {
		for _, dir := range journals {
			kept = append(kept, blobs.Beside(dir))
		}
	}
	cfg := evidence.Config{Settings: f.Settings, Log: os.DirFS(log), VerifierKey: key, Progress: a.counting("reading the log:")}
	cfg.Texts = func(digest string) ([]byte, error) {
		for _, dir := range kept {
			if raw, err := blobs.Get(dir, digest); err == nil {
				return raw, nil
			}
		}
		return nil, fs.ErrNotExist
	}
	if !f.pseudonyms {
		personal, err := opener(log, journals)
		if err != nil {
			return err
		}
		if keys, err := personal.Discloser(); err != nil {
			return fmt.Errorf("reading the keys of personal data: %w", err)
		} else if keys != nil {
			cfg.Disclose = keys.Disclose
		}
	}
	var listed listingHead
	if f.directory {
		if listed, err = a.evidencePeople(c.Context(), where, &cfg); err != nil {
			return err
		}
	}
	began := time.Now()
	sum, err := evidence.Make(c.Context(), cfg, f.out)
	a.clearCounting()
	if err != nil {
		return evidenceRefused(err)
	}
	pdf, note := "", ""
	if f.pdf != "never" {
		if pdf, err = printPDF(c.Context(), f.out); err != nil {
			if f.pdf == "always" {
				return err
			}
			note = err.Error()
		}
	}
	recorded := ""
	if f.record {
		if recorded, err = a.recordEvidence(c.Context(), f.out, cfg.Settings, sum); err != nil {
			return &coded{Code: "evidence_not_recorded", Text: fmt.Sprintf("the pack in %s is made, but not on record: %v", safe(f.out), err), Fix: "log in as who may read the audit log (Audit.Read), remove the folder and make it again"}
		}
	}
	if a.asJSON {
		return a.out.json(struct {
			evidence.Summary
			Entry   string  `json:"entry,omitempty"` // by which it is on record
			Dir     string  `json:"dir"`
			PDF     string  `json:"pdf,omitempty"`
			Seconds float64 `json:"seconds"`
		}{sum, recorded, f.out, pdf, time.Since(began).Seconds()})
	}
	w := a.out
	fmt.Fprintf(w, "%s in %s\n", w.green(w.bold("Evidence pack written")), safe(filepath.Join(f.out, "index.html")))
	field(w, "log", fmt.Sprintf("%s: all %d entries verified to the signed root %s", safe(sum.Origin), sum.Size, sum.Root))
	field(w, "period", fmt.Sprintf("%s to %s: %d entries, %d of them cited with a proof", f.From, f.To, sum.Entries, sum.Cited))
	if f.directory {
		field(w, "directory", fmt.Sprintf("as it was %s (%s); on record: %s", listed.AsOf.Local().Format("2006-01-02 15:04:05"), span(time.Now(), listed.AsOf), safe(cfg.Settings.Directory.Entry)))
	}
	exceptions := w.green("none")
	if sum.Exceptions > 0 {
		exceptions = w.yellow(strconv.Itoa(sum.Exceptions)) + "; see the criteria in the report"
	}
	field(w, "exceptions", exceptions)
	field(w, "size", fmt.Sprintf("%d files, %.1f MB, in %s", sum.Files, float64(sum.Bytes)/1e6, time.Since(began).Round(10*time.Millisecond)))
	if recorded != "" {
		field(w, "on record", safe(recorded))
	}
	if pdf != "" {
		field(w, "pdf", safe(filepath.Join(f.out, pdf)))
	} else if note != "" {
		field(w, "pdf", "none: "+safe(note))
	}
	fmt.Fprintf(w, "  check it anywhere: bailiwick evidence verify %s --key '%s'\n", safe(f.out), safe(key))
	return nil
}

// evidenceRefused gives stable codes to what can't be made.
func evidenceRefused(err error) error {
	switch {
	case errors.Is(err, evidence.ErrSettings):
		return &coded{Code: "evidence_settings", Text: safe(err.Error()), Fix: "see `bailiwick evidence --help`", exit: exitUsage}
	case errors.Is(err, evidence.ErrLog):
		return &coded{Code: "log_unproven", Text: safe(err.Error()), Fix: "run: bailiwick audit verify", exit: exitUnproven}
	case errors.Is(err, evidence.ErrEmpty):
		return &coded{Code: "evidence_empty", Text: safe(err.Error()), Fix: "choose another period, or another --log"}
	case errors.Is(err, evidence.ErrExists):
		return &coded{Code: "evidence_exists", Text: safe(err.Error()), Fix: "name a folder that does not exist with -o"}
	case errors.Is(err, fs.ErrNotExist):
		return &coded{Code: "no_log", Text: safe(err.Error()), Fix: "is anything sealed yet? name the log with --log DIR"}
	}
	return err
}

// counting tells a person how far a long reading is; nil where nobody looks.
func (a *app) counting(doing string) func(done, total uint64) {
	if !a.errs.tty || a.asJSON {
		return nil
	}
	told := time.Now()
	return func(done, total uint64) {
		if time.Since(told) > 200*time.Millisecond {
			told = time.Now()
			fmt.Fprintf(a.errs, "\r\x1b[K%s %d %%", doing, min(100, done*100/max(total, 1)))
		}
	}
}

func (a *app) clearCounting() {
	if a.errs.tty && !a.asJSON {
		fmt.Fprint(a.errs, "\r\x1b[K")
	}
}

func (a *app) evidenceRulesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "Print the rules that a pack is made by, to change them",
		Long: `Print the rules that a pack is made by unless --rules names others: how a group's name tells namespace and role, how long access may last after
a removal, how soon break-glass must be reviewed, and which duties one person must not have both of.`,
		Example: `  bailiwick evidence rules > rules.json
  bailiwick evidence --from 2026-10-01 --to 2026-12-31 --rules rules.json -o evidence-q4`,
		Args: usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return writeRules(a.out, evidence.DefaultRules()) },
	}
}

// pdfTimeout is how long Chromium may take to print a report.
const pdfTimeout = 2 * time.Minute

// printPDF prints the report beside it and returns the file's name.
func printPDF(ctx context.Context, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pdfTimeout)
	defer cancel()
	chromium, err := findChromium()
	if err != nil {
		return "", err
	}
	return evidence.PDFName, chromium.print(ctx, filepath.Join(dir, "index.html"), filepath.Join(dir, evidence.PDFName))
}

func writeRules(w io.Writer, r evidence.Rules) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
