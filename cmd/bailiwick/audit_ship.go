package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/ship"
)

func (a *app) auditShipCommand() *cobra.Command {
	var journal, to, gate, tokenFile string
	c := &cobra.Command{
		Use:   "ship",
		Short: "Send a gate's journal to the control plane on another machine",
		Long: `Send a gate's journal to the control plane, which keeps a replica of it and seals it into the log with those of the other gates. Run it beside the
gate, as another process: the gate does not wait for it. The control plane says where to go on, so it can be stopped and started at any time.

The token is made at the control plane with "bailiwick audit ship-token GATE". It runs until Ctrl-C. Exit code 4 means that the control plane has
another past of this journal than the journal itself.`,
		Example: `  bailiwick audit ship --journal /var/lib/bailiwick/journal --to https://control.example --token-file /etc/bailiwick/ship-token`,
		Args:    usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if journal == "" || to == "" || tokenFile == "" {
				return badUsage(c, "--journal, --to and --token-file are needed")
			}
			s, err := ship.New(ship.Config{Journal: journal, URL: to, Gate: gate, Logger: slog.New(slog.NewTextHandler(a.errs, nil)), Token: func() (string, error) {
				raw, err := os.ReadFile(tokenFile)
				return strings.TrimSpace(string(raw)), err
			}})
			if err != nil {
				return err
			}
			err = s.Run(c.Context())
			if errors.Is(err, ship.ErrDiverged) {
				return &coded{Code: "journal_diverged", Text: err.Error(), Fix: "restore the journal from a copy, or give the gate another name and a new journal", exit: exitUnproven}
			}
			return err
		},
	}
	c.Flags().StringVar(&journal, "journal", "", "directory of the gate's journal")
	c.Flags().StringVar(&to, "to", "", "URL of the control plane")
	c.Flags().StringVar(&gate, "gate", "", "the gate's name (default: the one that the journal names)")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token; read anew for each request, so that it can be replaced")
	return c
}

func (a *app) auditReadTokenCommand() *cobra.Command {
	var file string
	var replace bool
	c := &cobra.Command{
		Use:   "read-token NAME",
		Short: "Let somebody read the entries of the log over HTTP",
		Long: `Make a token with which the entries of the log can be read over HTTP (/log/tile/entries/…), and print it: for a monitor that has no login of its
own. People read them with their access token, if policy lets them (Audit.Read). NAME is whoever gets it: the control plane's log says who read what. Checkpoints and hash tiles need no token. The token's digest goes into the control plane's file of readers, which is
read for each request: take the line out to take the right away.`,
		Example: `  bailiwick audit read-token monitor --readers .bailiwick/keys/readers
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8088/log/tile/entries/000`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if file == "" {
				return badUsage(c, "--readers is needed: the control plane's file of readers")
			}
			token, err := ship.AddToken(file, args[0], replace)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(map[string]string{"reader": args[0], "token": token, "file": file})
			}
			fmt.Fprintln(a.out, token)
			return nil
		},
	}
	c.Flags().StringVar(&file, "readers", "", "the control plane's file of readers; `bailiwick dev` has it in keys/readers of its state")
	c.Flags().BoolVar(&replace, "replace", false, "take out the tokens that NAME had")
	return c
}

func (a *app) auditShipTokenCommand() *cobra.Command {
	var file string
	var replace bool
	c := &cobra.Command{
		Use:   "ship-token GATE",
		Short: "Let a gate on another machine ship its journal here",
		Long: `Make a token with which the gate of that name may send its journal, and print it. Its digest goes into the control plane's file of gates, which is
read for each request. Of a gate that has a token already the old one stays good until --replace takes it out.`,
		Example: `  bailiwick audit ship-token edge-1 --gates .bailiwick/keys/gates > ship-token`,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if file == "" {
				return badUsage(c, "--gates is needed: the control plane's file of gates")
			}
			token, err := ship.AddToken(file, args[0], replace)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(map[string]string{"gate": args[0], "token": token, "file": file})
			}
			fmt.Fprintln(a.out, token)
			return nil
		},
	}
	c.Flags().StringVar(&file, "gates", "", "the control plane's file of gates; `bailiwick dev` has it in keys/gates of its state")
	c.Flags().BoolVar(&replace, "replace", false, "take out the tokens that the gate had")
	return c
}
