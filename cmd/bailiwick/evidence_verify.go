package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/evidence"
)

func (a *app) evidenceVerifyCommand() *cobra.Command {
	var f logFlags
	var key string
	var fromLog bool
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check an evidence pack, with no server and no log",
		Long: `Check an evidence pack: each file against the manifest, the checkpoint's signature, each entry against the signed root, and everything else by
making the whole pack again from the entries and comparing it byte for byte. Nothing is fetched.

The log's verifier key must come from elsewhere than the pack: from your context, or from whoever runs the log. With --log (or --from-log, for the
context's), the pack is also made again from the log itself, which shows that no entry of the period was left out of it.
Exit code 4 means that the pack is not what it says; each problem has a stable code.`,
		Example: `  bailiwick evidence verify evidence-q4 --key 'bailiwick.dev/dev+1a2b3c4d+AQ…'
  bailiwick evidence verify evidence-q4 --key @log.pub --log /backup/log`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			where, _ := a.where() // without one, flags say all
			key, err := logKey(key, where)
			if err != nil {
				return err
			}
			if key == "" {
				return badUsage(c, "no log key is trusted: give the one that you know with --key; the key in the pack proves nothing by itself")
			}
			cfg := evidence.VerifyConfig{Pack: os.DirFS(args[0]), VerifierKey: key, Progress: a.counting("making it again:")}
			if f.log != "" || fromLog {
				log, _, _, err := a.dirs(f)
				if err != nil {
					return err
				}
				cfg.Log = os.DirFS(log)
			}
			v, err := evidence.Verify(c.Context(), cfg)
			a.clearCounting()
			if errors.Is(err, fs.ErrNotExist) {
				return &coded{Code: "no_pack", Text: fmt.Sprintf("%s is not an evidence pack: %v", args[0], err), Fix: "name the folder that has manifest.json"}
			}
			if err != nil {
				return err
			}
			return a.showVerdict(v)
		},
	}
	c.Flags().StringVar(&key, "key", "", "verifier key of the log, or @FILE (default: the context's)")
	c.Flags().StringVar(&f.log, "log", "", "directory of the sealed log, to make the pack again from it as well")
	c.Flags().BoolVar(&fromLog, "from-log", false, "the same with the context's log")
	return c
}

func (a *app) showVerdict(v evidence.Verdict) error {
	if a.asJSON {
		if err := a.out.json(struct {
			OK bool `json:"ok"`
			evidence.Verdict
		}{v.OK(), v}); err != nil {
			return err
		}
	} else if v.OK() {
		w, m := a.out, v.Manifest
		fmt.Fprintln(w, w.green(w.bold("The pack is what it says.")))
		field(w, "period", fmt.Sprintf("%s to %s", m.Settings.From, m.Settings.To))
		field(w, "log", fmt.Sprintf("%s, %d entries under the checkpoint", safe(m.Log.Origin), m.Log.Size))
		field(w, "root", m.Log.Root)
		field(w, "entries", fmt.Sprintf("%d proven against the root; all figures follow from %d of the period", m.Log.Next-m.Log.First, v.Entries))
		field(w, "files", fmt.Sprintf("%d, %.1f MB, each as made again", v.Files, float64(v.Bytes)/1e6))
		if v.FromLog {
			field(w, "complete", "the log itself gives the same pack")
		} else {
			field(w, "complete", "that nothing of the period was left out shows only with --log")
		}
	} else {
		fmt.Fprintln(a.out, a.out.red(a.out.bold("The pack is NOT what it says.")))
		for i, p := range v.Problems {
			if i == 20 {
				fmt.Fprintf(a.out, "and %d more\n", len(v.Problems)-i)
				break
			}
			fmt.Fprintf(a.out, "%s %s %s\n", a.out.red(p.Code), safe(p.Path), safe(p.Text))
		}
	}
	if !v.OK() {
		return &unproven{fmt.Sprintf("%d problems in the pack", len(v.Problems))}
	}
	return nil
}

func (a *app) evidenceProveCommand() *cobra.Command {
	var key, out string
	c := &cobra.Command{
		Use:   "prove DIR INDEX",
		Short: "Write a proof of one entry of an evidence pack, from the pack alone",
		Long: `Write a proof bundle of one entry of an evidence pack: any that its tables name in the column "index". The log is not needed: the pack has the part
of it that the period lies in. Check the bundle with "bailiwick audit verify-bundle".`,
		Example: `  bailiwick evidence prove evidence-q4 40961 -o proof.json
  bailiwick evidence prove evidence-q4 40961 --key @log.pub | bailiwick audit verify-bundle - --key @log.pub`,
		Args: usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			where, _ := a.where()
			key, err := logKey(key, where)
			if err != nil {
				return err
			}
			if key == "" {
				return badUsage(c, "no verifier key is known for this log; give it with --key")
			}
			index, err := strconv.ParseUint(args[1], 10, 56)
			if err != nil {
				return badUsage(c, "%q is not the index of an entry", args[1])
			}
			raw, err := evidence.Prove(os.DirFS(args[0]), key, index)
			if err != nil {
				return evidenceRefused(err)
			}
			if out == "" {
				_, err := a.out.Write(raw)
				return err
			}
			return os.WriteFile(out, raw, 0o600)
		},
	}
	c.Flags().StringVar(&key, "key", "", "verifier key of the log, or @FILE (default: the context's)")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default: standard output)")
	return c
}
