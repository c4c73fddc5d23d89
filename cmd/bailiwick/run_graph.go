package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

func (a *app) runGraphCommand() *cobra.Command {
	var namespace, runID, keys, svg string
	bounds := runs.DefaultBounds
	c := &cobra.Command{
		Use:   "graph ID",
		Short: "Draw a run with its children: who did what to each, as a tree or an SVG picture",
		Long: `Draw a run's identity timeline as a tree, with its children, their children and the next runs of a continue-as-new inside it. As with "run show"
each signature is verified and each binding checked; if one is not good, the exit code is 4. What you may not read, and what is beyond
--max-runs and --depth, is named and not followed.`,
		Example: `  bailiwick run graph ship-142
  bailiwick run graph ship-142 --svg ship-142.svg`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeWorkflow,
		RunE: func(c *cobra.Command, args []string) error {
			if bounds.Runs < 1 || bounds.Runs > 1000 || bounds.Depth < 0 || bounds.Depth > 20 {
				return badUsage(c, "--max-runs is %d and --depth %d; 1 to 1000 and 0 to 20 are possible", bounds.Runs, bounds.Depth)
			}
			where, err := a.where()
			if err != nil {
				return err
			}
			ns := a.namespace(namespace, where)
			conns := map[string]client.Client{}
			defer func() {
				for _, conn := range conns {
					conn.Close()
				}
			}()
			read := func(ctx context.Context, cfg runs.Config) (runs.Timeline, error) {
				conn := conns[cfg.Namespace]
				if conn == nil {
					if conn, err = a.dial(ctx, where, cfg.Namespace, ""); err != nil {
						return runs.Timeline{}, err
					}
					conns[cfg.Namespace] = conn
				}
				return runs.Read(ctx, conn, cfg)
			}
			set, err := a.keys(c.Context(), where, keys)
			if err != nil {
				return err
			}
			log := &auditLog{app: a, ctx: c.Context()}
			defer log.close()
			g, err := runs.ReadGraph(c.Context(), read, runs.Config{Namespace: ns, WorkflowID: args[0], RunID: runID, Keys: set, Archive: log.keys(keys), Decision: log.decision, Audience: where.Audience}, bounds)
			if err != nil {
				return err
			}
			switch {
			case svg != "":
				err = a.writeSVG(g, svg)
			case a.asJSON:
				err = a.out.json(g)
			default:
				a.drawGraph(g)
			}
			if err != nil {
				return err
			}
			if !g.OK() {
				return &unproven{fmt.Sprintf("%d attestations in this graph are invalid", g.Invalid)}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	c.Flags().StringVar(&runID, "run-id", "", "a particular run (default: the current one)")
	c.Flags().StringVar(&keys, "keys", "", "verify with the keys in this JWKS file instead of those the control plane publishes")
	c.Flags().StringVar(&svg, "svg", "", "write an SVG picture to this file, or - for standard output")
	c.Flags().IntVar(&bounds.Runs, "max-runs", bounds.Runs, "read at most so many runs")
	c.Flags().IntVar(&bounds.Depth, "depth", bounds.Depth, "follow so many generations of children")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

// writeSVG replaces the file as a whole, so that a viewer never sees half a picture.
func (a *app) writeSVG(g runs.Graph, path string) error {
	var b bytes.Buffer
	if err := g.WriteSVG(&b, time.Local); err != nil {
		return err
	}
	if path == "-" {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".graph-*") // 0600: logins and reasons are in it
	if err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.Bytes())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the picture: %w", err)
	}
	fmt.Fprintf(a.errs, "wrote %s (%d runs)\n", safe(path), g.Runs)
	return nil
}

func (a *app) drawGraph(g runs.Graph) {
	w := a.out
	var walk func(n *runs.Node, indent string)
	walk = func(n *runs.Node, indent string) {
		if n.Timeline == nil {
			fmt.Fprintf(w, "%s %s\n", w.bold(safe(n.WorkflowID)), w.yellow(safe(n.Problem)))
			return
		}
		t := n.Timeline
		head := fmt.Sprintf("%s  %s  %s", w.bold(safe(t.WorkflowID)), a.statusWord(t.Status), w.dim(safe(t.WorkflowType)+" in "+safe(t.Namespace)))
		if t.Owner != nil {
			head += w.dim(", taken over by ") + w.bold(safe(runs.PartyName(*t.Owner)))
		}
		fmt.Fprintln(w, head)
		branches := n.Branches
		for i, s := range t.Steps {
			tee, bar := "├─ ", "│  "
			if i == len(t.Steps)-1 {
				tee, bar = "└─ ", "   "
			}
			fmt.Fprintf(w, "%s%s%s\n", w.dim(indent+tee), a.mark(s.Verdict), " "+a.graphStep(s))
			if g := s.Grounds(); g != "" {
				paint := w.dim
				if s.Verdict == runs.Invalid {
					paint = w.red
				}
				fmt.Fprintf(w, "%s   %s\n", w.dim(indent+bar), paint(safe(g)))
			}
			if len(branches) > 0 && branches[0].Step == i {
				fmt.Fprint(w, w.dim(indent+bar+"└─ "))
				walk(branches[0].Node, indent+bar+"   ")
				branches = branches[1:]
			}
		}
	}
	walk(g.Root, "")
	sum := []string{fmt.Sprintf("%d runs", g.Runs), w.green(fmt.Sprintf("%d verified", g.Verified))}
	if g.Unattested > 0 {
		sum = append(sum, w.yellow(fmt.Sprintf("%d unattested", g.Unattested)))
	}
	if g.Invalid > 0 {
		sum = append(sum, w.red(fmt.Sprintf("%d INVALID", g.Invalid)))
	}
	if g.Left > 0 {
		sum = append(sum, w.yellow(fmt.Sprintf("%d more runs not shown", g.Left)))
	}
	fmt.Fprintf(w, "\n%s\n", strings.Join(sum, ", "))
}

func (a *app) graphStep(s runs.Step) string {
	w := a.out
	parts := []string{w.dim(s.Time.Local().Format("15:04:05")), safe(s.Title())}
	if actor, originator := s.Parties(); actor != nil {
		parts = append(parts, w.dim("by"), w.bold(safe(runs.PartyName(*actor))))
		if originator != nil {
			parts = append(parts, w.dim("for"), w.bold(safe(runs.PartyName(*originator))))
		}
	}
	if s.Verdict == runs.Unattested {
		parts = append(parts, w.yellow("unattested"))
	}
	if s.Verdict == runs.Recorded && s.Decided == nil && s.Principal != "" {
		parts = append(parts, w.dim("by "+safe(s.Principal)+" (native)"))
	}
	if r := s.Result(); r != "" {
		parts = append(parts, w.dim("· "+safe(r)))
	}
	return strings.Join(parts, " ")
}
