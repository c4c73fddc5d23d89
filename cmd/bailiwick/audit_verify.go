package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

func (a *app) auditVerifyCommand() *cobra.Command {
	var f logFlags
	var key, remember, dsn, tokenFile string
	var against, witnesses []string
	var quorum int
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify the whole log, without a server",
		Long: `Verify the whole log from its files: the checkpoint's signature, every entry and tile up to the signed root, the journals beside it, and that
the log extends the one you verified last (so that cutting it back or rewriting it is noticed). With --index also that the search index is what the
log says; with --against, that it extends checkpoints kept elsewhere; with --witness, that enough witnesses have cosigned it.

Exit code 4 means that something is wrong; each problem has a stable code.`,
		Example: `  bailiwick audit verify
  bailiwick audit verify --index
  bailiwick audit verify --against git:/srv/anchors --witness 'w1.example+1a2b3c4d+BA…' --witness 'w2.example+5e6f7a8b+BA…' --quorum 1
  bailiwick audit verify --log /backup/log --key 'bailiwick.dev+1a2b3c4d+AQ…' --remember last.checkpoint`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			log, journals, where, err := a.dirs(f)
			if err != nil {
				return err
			}
			if key == "" {
				key = where.LogKey
			}
			if name, isFile := strings.CutPrefix(key, "@"); isFile {
				raw, err := os.ReadFile(name)
				if err != nil {
					return fmt.Errorf("reading the verifier key: %w", err)
				}
				key = strings.TrimSpace(string(raw))
			}
			if key == "" {
				return badUsage(c, "no verifier key is known for this log; give it with --key")
			}
			if log == "" {
				return badUsage(c, "--log is needed beside --journal")
			}
			if !c.Flags().Changed("remember") {
				if remember, err = rememberedAt(key); err != nil {
					return err
				}
			}
			cfg := tiles.VerifyConfig{Log: log, Journals: journals, VerifierKey: key, Remember: remember}
			for _, place := range against {
				notes, err := checkpointsOf(c.Context(), place, tokenFile)
				if err != nil {
					return err
				}
				cfg.Against = append(cfg.Against, notes...)
			}
			if cfg.Witnesses, cfg.Quorum = witnesses, quorum; quorum < 0 || quorum > len(witnesses) {
				return badUsage(c, "--quorum is %d of %d witnesses", quorum, len(witnesses))
			}
			if a.errs.tty && !a.asJSON {
				cfg.Progress = func(done, total uint64) {
					fmt.Fprintf(a.errs, "\r\x1b[Kverifying %d of %d entries", done, total)
				}
			}
			report, err := tiles.Verify(c.Context(), cfg)
			if cfg.Progress != nil {
				fmt.Fprint(a.errs, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			if dsn == "" {
				return a.showVerification(report, nil)
			}
			if dsn == besideLog {
				dsn = ""
			}
			x, err := a.openIndex(c.Context(), indexFlags{f, dsn})
			if err != nil {
				return err
			}
			defer x.Close()
			indexed, err := x.Verify(c.Context(), a.progress(x.source, "comparing"))
			if err != nil {
				return err
			}
			return a.showVerification(report, &indexed)
		},
	}
	f.register(c)
	c.Flags().StringVar(&key, "key", "", "the log's verifier key, or @FILE (default: the context's)")
	c.Flags().StringArrayVar(&against, "against", nil, "where checkpoints of this log are kept, which it must extend: FILE, git:DIR or a URL; may be repeated")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with a bearer token for --against URL")
	c.Flags().StringArrayVar(&witnesses, "witness", nil, "verifier key of a witness that must have cosigned; may be repeated")
	c.Flags().IntVar(&quorum, "quorum", 0, "how many of the witnesses are enough (default: all)")
	c.Flags().StringVar(&dsn, "index", "", "also check that the search index is what the log says: of a file or postgres:// URL, or without a value the one beside the log")
	c.Flags().Lookup("index").NoOptDefVal = besideLog
	c.Flags().StringVar(&remember, "remember", "", "file that keeps the last checkpoint found good (default: in BAILIWICK_HOME, one for each log key; empty: none)")
	return c
}

// rememberedAt is where this user keeps the last good checkpoint of a log: away from the log itself, so that who can change the one need
// not be able to change the other. A log with a new key is a new log.
func rememberedAt(key string) (string, error) {
	home, err := login.Home()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, "checkpoints")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keeping the last checkpoint: %w", err)
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])), nil
}

// besideLog stands for the search index that the other commands use.
const besideLog = "beside the log"

func (a *app) showVerification(r tiles.Report, indexed *index.Report) error {
	ok := r.OK() && (indexed == nil || indexed.OK())
	sum := fmt.Sprintf("%d problems in the log", uint64(len(r.Problems))+r.Suppressed)
	if r.OK() {
		sum = "the index is not what the log says"
	}
	if len(r.Problems) == 1 && r.Suppressed == 0 {
		sum = "1 problem in the log"
	}
	if a.asJSON {
		if err := a.out.json(struct {
			OK bool `json:"ok"`
			tiles.Report
			Index *index.Report `json:"index,omitempty"`
		}{ok, r, indexed}); err != nil {
			return err
		}
		if !ok {
			return &unproven{sum}
		}
		return nil
	}
	w := a.out
	verdict := w.green("The log verifies.")
	if !r.OK() {
		verdict = w.red("The log does NOT verify.")
	}
	fmt.Fprintln(w, w.bold(verdict))
	row := func(k, v string) { field(w, k, v) }
	row("log", safe(r.Origin))
	row("entries", fmt.Sprintf("%d sealed and hashed to the signed root", r.Entries))
	row("root", safe(r.Root))
	if r.Journal > 0 {
		row("journal", fmt.Sprintf("%d entries, alike in journals and log", r.Journal))
	}
	if r.Elsewhere > 0 {
		row("elsewhere", fmt.Sprintf("%d entries are of gates whose journal is not here, and were not compared with one", r.Elsewhere))
	}
	if r.Unsealed > 0 {
		row("unsealed", fmt.Sprintf("%d acknowledged entries wait in the journal for the next checkpoint", r.Unsealed))
	}
	if r.Against > 0 {
		row("anchored", fmt.Sprintf("extends the checkpoints kept elsewhere, the largest of %d entries", r.Against))
	}
	for _, c := range r.Cosigned {
		row("cosigned", fmt.Sprintf("%d entries, by %s at %s", c.Size, safe(c.Witness), c.Time.Format(time.RFC3339)))
	}
	if r.Remembered > 0 {
		row("history", fmt.Sprintf("extends the log of %d entries that you verified before", r.Remembered))
	}
	for _, k := range r.LogKeys {
		row("log key", fmt.Sprintf("%s, which follows by entry %d at %s", safe(k.Key), k.Index, k.Time.UTC().Format(time.RFC3339)))
	}
	for _, n := range r.Notes {
		row("note", safe(n.String()))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s entry %d: %s\n", w.red(safe(string(p.Code))), p.Index, safe(p.Text))
	}
	if r.Suppressed > 0 {
		fmt.Fprintf(w, "and %d more\n", r.Suppressed)
	}
	if indexed != nil {
		for _, p := range indexed.Problems {
			fmt.Fprintf(w, "%s %s\n", w.red(safe(string(p.Code))), safe(p.Text))
		}
		if indexed.OK() {
			text := fmt.Sprintf("%d entries, what the log says", indexed.Entries)
			if indexed.Unindexed > 0 {
				text += fmt.Sprintf("; %d more are added by the next query", indexed.Unindexed)
			}
			row("index", text)
		} else {
			fmt.Fprintln(w, w.red("The index is NOT what the log says."), "Make it again: bailiwick audit reindex")
		}
	}
	if !ok {
		return &unproven{sum}
	}
	return nil
}
