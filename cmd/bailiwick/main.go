// Command bailiwick signs people in, starts and inspects Temporal workflows as them, reads and verifies the audit log, and runs the whole
// product on one machine for development.
//
// It owns the command line: flags, what is printed and the exit codes. It refuses to judge anything by itself: identity, policy, signatures
// and the log are judged by the packages it calls. It does not link the Temporal server; bailiwick-temporal, beside it, does.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	release()
	os.Exit(code)
}

// run is the program; its result is the exit code. It ends early when ctx does.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := newApp(in, out, errs)
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	a.asJSON = a.asJSON || slices.Contains(args, "--json") // a wrong flag ends the parsing before the parser gets there
	return a.report(err)
}

// app is what the commands share.
type app struct {
	in        io.Reader
	out, errs *terminal

	asJSON  bool
	color   string
	context string // --context
	profile string // --profile

	refusal atomic.Pointer[error] // the gate's last word; see hear
}

func newApp(in io.Reader, out, errs io.Writer) *app {
	return &app{in: in, out: newTerminal(out), errs: newTerminal(errs)}
}

const about = `Bailiwick makes every Temporal call prove its caller.

Start with "bailiwick dev", which runs a whole environment on this machine, or with "bailiwick login" if your company runs one. Then start a
workflow with "bailiwick run start", see who did what to it with "bailiwick run show", and check the record with "bailiwick audit verify".`

const environment = `
Exit codes:
  0  done
  1  it failed; the message says why
  2  wrong command line
  3  refused: not logged in, or not permitted; the message names the reason code
  4  verification failed: a signature, a binding or the log is not what it should be

Environment:
  BAILIWICK_HOME        where contexts are kept (default: "bailiwick" in your configuration directory)
  BAILIWICK_CONTEXT     the context to use, as --context
  BAILIWICK_INDEX       the audit log's search index, as --index of "audit query"
  BAILIWICK_PRIVACY_KEYS
                        directories of the keys that encrypt personal data (default: "privacy" beside the log)
  TEMPORAL_CONFIG_FILE  the stock temporal CLI's configuration file, which is also the token store
  TEMPORAL_NAMESPACE    the namespace, unless --namespace is given
  NO_COLOR              if set, no colours
`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "bailiwick",
		Short:         "Identity, authorization and proof for Temporal",
		Long:          about,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.setColor()
		},
	}
	root.SetVersionTemplate("bailiwick {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{err, c.CommandPath()} })
	root.SetUsageTemplate(root.UsageTemplate() + "{{if not .HasParent}}" + environment + "{{end}}")
	f := root.PersistentFlags()
	f.BoolVar(&a.asJSON, "json", false, "print JSON, for programs")
	f.StringVar(&a.color, "color", "auto", "colours: auto, always or never")
	f.StringVar(&a.context, "context", "", "the environment to use (default: $BAILIWICK_CONTEXT, else the current one)")
	f.StringVar(&a.profile, "profile", "", "profile of the stock CLI's file that holds your tokens (default: the context's, else \"bailiwick\")")
	must(root.RegisterFlagCompletionFunc("context", completeContexts))
	must(root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)))

	root.AddGroup(&cobra.Group{ID: "you", Title: "You:"}, &cobra.Group{ID: "work", Title: "Work:"}, &cobra.Group{ID: "record", Title: "Record and rules:"}, &cobra.Group{ID: "operate", Title: "Operate:"})
	add := func(group string, cs ...*cobra.Command) {
		for _, c := range cs {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("you", a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.tokenCommand())
	add("work", a.runCommand(), a.scheduleCommand(), a.accessCommand())
	add("record", a.auditCommand(), a.policyCommand(), a.evidenceCommand())
	add("operate", a.devCommand(), a.oktaCommand(), a.standingCommand(), a.directoryCommand(), a.keysCommand(), a.versionCommand())
	root.AddCommand(a.demoWorkerCommand())
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  bailiwick version --json",
		Args:    usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if a.asJSON {
				return a.out.json(map[string]string{"version": version})
			}
			fmt.Fprintf(a.out, "bailiwick %s\n", version)
			return nil
		},
	}
}

// group makes a command that only holds others: alone it prints help, with an unknown word it is a usage error.
func group(use, short, long string, cs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Long: long, Args: usage(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	g.AddCommand(cs...)
	return g
}

// must is for registrations that fail only when this program names a flag that it does not have.
func must(err error) {
	if err != nil {
		panic("bailiwick: " + err.Error())
	}
}
