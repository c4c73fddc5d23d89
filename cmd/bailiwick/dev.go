package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/inflight"
)

// devContext is the name of the context that `bailiwick dev` writes unless --context says otherwise.
const devContext = "dev"

// devNamespaces are made in the development environment.
var devNamespaces = []string{"default", "payments", "deploy"}

type devFlags struct {
	state      string
	ports      devPorts
	pick       string // --ports
	base       int    // --port-base
	noUI       bool
	noWorker   bool
	noTemporal bool
	encrypt    bool // personal data in the audit log
	quiet      bool
	groups     string        // --groups
	signals    string        // --signals
	temporal   string        // the server's program
	keyTimes   time.Duration // how long a rotation watches, and lets an old credential run on; 0: devTimes
}

func (a *app) devCommand() *cobra.Command {
	f := devFlags{ports: defaultPorts}
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: org, Temporal, UI, worker, audit log",
		Long: `Run a whole environment on this machine, on loopback only:

  an Okta-compatible development org with a small company in it,
  a Temporal server with Bailiwick inside, and its web UI signed in through the org,
  a control plane that publishes the attestation keys and seals the audit log,
  a demo worker with an identity of its own.

The state directory may hold exports.yaml, witnesses.yaml, anchors.yaml and retention.yaml: where entries are sent, who cosigns checkpoints, where
checkpoints are kept, and how long entries are. The control plane serves figures about exports to Prometheus at /metrics.

State is kept in a directory and survives a restart. Ctrl-C stops everything in order; a second Ctrl-C kills what is left.`,
		Example: `  bailiwick dev
  bailiwick dev --state /tmp/try --port-base 20000
  bailiwick dev --json --ports auto --no-ui`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.choosePorts(c); err != nil {
				return err
			}
			if f.groups != identity.GroupsFromToken && f.groups != identity.GroupsLookup {
				return &usageError{fmt.Errorf("--groups is %q; write token or lookup", f.groups), c.CommandPath()}
			}
			if f.signals != signalsPushed && f.signals != signalsPolled {
				return &usageError{fmt.Errorf("--signals is %q; write push or poll", f.signals), c.CommandPath()}
			}
			return a.dev(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.state, "state", ".bailiwick", "directory of the state")
	fl.IntVar(&f.ports.Org, "org-port", f.ports.Org, "port of the development org")
	fl.IntVar(&f.ports.Control, "control-port", f.ports.Control, "port of the control plane")
	fl.IntVar(&f.ports.GRPC, "grpc-port", f.ports.GRPC, "port of Temporal's frontend")
	fl.IntVar(&f.ports.HTTP, "http-port", f.ports.HTTP, "port of Temporal's HTTP API")
	fl.IntVar(&f.ports.UI, "ui-port", f.ports.UI, "port of the web UI")
	fl.StringVar(&f.pick, "ports", "", `"auto": pick free ports for those not given`)
	fl.IntVar(&f.base, "port-base", 0, "use this port and the next four for those not given")
	fl.BoolVar(&f.noUI, "no-ui", false, "don't run the web UI")
	fl.BoolVar(&f.noWorker, "no-worker", false, "don't run the demo worker")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but the banner and errors")
	fl.BoolVar(&f.encrypt, "encrypt-personal-data", false, "encrypt personal data in the audit log, so that it can be erased; stays on for this state directory")
	fl.StringVar(&f.groups, "groups", identity.GroupsFromToken, `where people's groups are: "token", or "lookup" to ask the directory`)
	must(c.RegisterFlagCompletionFunc("groups", cobra.FixedCompletions([]string{identity.GroupsFromToken, identity.GroupsLookup}, cobra.ShellCompDirectiveNoFileComp)))
	fl.StringVar(&f.signals, "signals", signalsPushed, `how Shared Signals arrive: "push", or "poll" to ask the org for them, as from where nobody can call`)
	must(c.RegisterFlagCompletionFunc("signals", cobra.FixedCompletions([]string{signalsPushed, signalsPolled}, cobra.ShellCompDirectiveNoFileComp)))
	fl.StringVar(&f.temporal, "temporal", "", "the bailiwick-temporal program (default: beside this one, else on PATH)")
	fl.BoolVar(&f.noTemporal, "no-temporal", false, "don't run Temporal and the worker")
	must(fl.MarkHidden("no-temporal"))
	fl.DurationVar(&f.keyTimes, "key-times", 0, "how long a rotation of keys watches for refusals, and lets an old credential run on")
	must(fl.MarkHidden("key-times"))
	c.AddCommand(a.devPeopleCommand(), a.devChaosCommand())
	return c
}

// devEnv is one running development environment. Its parts are started in the order of run and stopped in the opposite one.
type devEnv struct {
	app     *app
	flags   devFlags
	state   stateDir
	say     *console
	control *controlPlane
	org     *orgServer
	temp    *child
	access  *accessWorker
	keeper  *inflight.Service // of runs of who lost access; nil without Temporal
	worker  *supervised
	family  family
	polled  chan okta.Stream // the stream that is to be polled, when it is made
}

// dev runs the environment until ctx ends (Ctrl-C, SIGTERM), which is a success, or until a part that the others need fails.
func (a *app) dev(ctx context.Context, f devFlags) (err error) {
	d := &devEnv{app: a, flags: f, say: newConsole(a.errs, f.quiet)}
	if !f.noTemporal {
		if d.flags.temporal, err = findTemporal(f.temporal); err != nil {
			return err
		}
	}
	if d.state, err = openState(f.state); err != nil {
		return err
	}
	defer d.state.unlock()
	if err := f.checkPorts(); err != nil {
		return err
	}
	kill := onSecondSignal(d)
	defer kill()
	defer func() { err = errors.Join(err, d.stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before stop, so that nothing is started any more

	started := time.Now()
	if err := d.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C while starting
		}
		return err
	}
	if err := d.announce(time.Since(started)); err != nil {
		return err
	}
	return d.watch(ctx)
}

func (d *devEnv) start(ctx context.Context) (err error) {
	d.say.step("development org", d.orgURL())
	if d.org, err = startOrg(ctx, d); err != nil {
		return err
	}
	worker, err := d.org.registerWorker(ctx, d.state.path("keys", "worker.pem"))
	if err != nil {
		return err
	}
	d.say.step("control plane", d.controlURL())
	if d.control, err = startControl(ctx, d); err != nil {
		return err
	}
	if err := d.writeContext(); err != nil {
		return err
	}
	if d.flags.noTemporal {
		return nil
	}
	d.say.step("Temporal", fmt.Sprintf("127.0.0.1:%d (the first start makes its database)", d.flags.ports.GRPC))
	if d.temp, err = d.startTemporal(ctx); err != nil {
		return err
	}
	d.say.step("access requests", "namespace "+access.Namespace)
	if d.access, err = d.startAccess(ctx, d.control.access); err != nil {
		return err
	}
	if !d.flags.noWorker {
		d.say.step("demo worker", "task queue deploy, namespace deploy")
		if d.worker, err = d.startWorker(ctx, worker); err != nil {
			return err
		}
		go d.ensureSchedule(ctx)
	}
	return nil
}

// watch waits until ctx ends or a part fails that the rest can't do without.
func (d *devEnv) watch(ctx context.Context) error {
	var temporal <-chan struct{}
	if d.temp != nil {
		temporal = d.temp.done
	}
	select {
	case <-ctx.Done():
		return nil
	case <-temporal:
		return &coded{Code: "temporal_stopped", Text: fmt.Sprintf("Temporal ended by itself (%s)", d.temp.how()), Fix: "its log: " + d.temp.logPath, Path: d.temp.logPath}
	case err := <-d.control.failed:
		return fmt.Errorf("the control plane failed: %w", err)
	case err := <-d.org.failed:
		return fmt.Errorf("the development org failed: %w", err)
	}
}

// stop ends the parts in order: the worker while Temporal still answers, Temporal while the journal is still sealed, then the sealer when it
// has sealed the last entry, then the org.
func (d *devEnv) stop() error {
	var failed []error
	if d.worker != nil || d.temp != nil || d.control != nil || d.org != nil {
		d.say.line("", "stopping …")
	}
	if d.worker != nil {
		failed = append(failed, d.worker.stop())
	}
	if d.access != nil {
		failed = append(failed, d.access.stop())
	}
	if d.temp != nil {
		failed = append(failed, d.temp.stop(15*time.Second))
	}
	if d.control != nil {
		failed = append(failed, d.control.stop())
	}
	if d.org != nil {
		failed = append(failed, d.org.stop())
	}
	return errors.Join(failed...)
}

func (d *devEnv) orgURL() string { return fmt.Sprintf("http://127.0.0.1:%d", d.flags.ports.Org) }
func (d *devEnv) controlURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d", d.flags.ports.Control)
}
func (d *devEnv) uiURL() string    { return fmt.Sprintf("http://localhost:%d", d.flags.ports.UI) }
func (d *devEnv) issuer() string   { return d.orgURL() + "/oauth2/default" }
func (d *devEnv) address() string  { return fmt.Sprintf("127.0.0.1:%d", d.flags.ports.GRPC) }
func (d *devEnv) tokenURL() string { return d.issuer() + "/v1/token" }
func (d *devEnv) keysURL() string  { return d.controlURL() + "/.well-known/bailiwick/keys" }
func (d *devEnv) audience() string { return "bailiwick:" + d.name() }

func (d *devEnv) name() string {
	if d.app.context != "" {
		return d.app.context
	}
	return devContext
}

// writeContext tells the other commands where everything is.
func (d *devEnv) writeContext() error {
	c := login.Context{
		Name: d.name(), Issuer: d.issuer(), ClientID: devorg.CLIClient, Scopes: defaultScopes, Audience: d.audience(),
		Address: d.address(), HTTP: fmt.Sprintf("http://127.0.0.1:%d", d.flags.ports.HTTP), ControlURL: d.controlURL(),
		LogDir: d.state.path("log"), JournalDir: d.state.path("journal"), Journals: []string{d.state.path("journal-control")}, ReplicaDir: d.state.path("replicas"), LogKey: d.control.verifierKey, PolicyDir: d.state.path("policy"),
		DefaultNamespace: "deploy", Namespaces: devNamespaces, Profile: d.app.profile,
	}
	if !d.flags.noUI {
		c.UI = d.uiURL()
	}
	return c.Save()
}

// findTemporal finds the server's program.
func findTemporal(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("finding the Temporal server: %w", err)
		}
		return filepath.Abs(named)
	}
	return findBeside("bailiwick-temporal")
}
