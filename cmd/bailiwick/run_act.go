package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
)

// actFlags are what start, signal and update share.
type actFlags struct {
	namespace, reason, input, runID string
	wait                            bool
}

func (f *actFlags) register(a *app, c *cobra.Command) {
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	c.Flags().StringVarP(&f.reason, "reason", "r", "", "what this is for; it is signed into the run and written into the log")
	c.Flags().StringVarP(&f.input, "input", "i", "", "argument as JSON, or @FILE, or @- for standard input")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
}

func (a *app) runCommand() *cobra.Command {
	return group("run", "Start workflows, act on them, and see who did what", `Start workflows, act on them, and see who did what to them.

Every call is made as the person logged in. What the server's policies don't allow is refused, with the permission that is missing.`,
		a.runStartCommand(), a.runSignalCommand(), a.runUpdateCommand(), a.runAdoptCommand(), a.runListCommand(), a.runShowCommand(), a.runGraphCommand())
}

func (a *app) runStartCommand() *cobra.Command {
	var f actFlags
	var queue, id, span string
	c := &cobra.Command{
		Use:   "start TYPE",
		Short: "Start a workflow",
		Long: `Start a workflow as the person logged in. The server signs who you are, the reason and the decision into the run's first event; see it
with "bailiwick run show".`,
		Example: `  bailiwick run start deploy --id ship-142 --input '{"service":"checkout","version":"1.4.2"}' --reason "CHG-7: release 1.4.2"
  bailiwick run start deploy --input @request.json --wait
  bailiwick run start refund --namespace payments --task-queue payments
  bailiwick run start refund --namespace payments --reason "INC-123" --request-access 30m`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeTypes,
		RunE: func(c *cobra.Command, args []string) error {
			input, err := a.input(c, f.input)
			if err != nil {
				return err
			}
			ctx := c.Context()
			where, err := a.where()
			if err != nil {
				return err
			}
			ns := a.namespace(f.namespace, where)
			conn, err := a.dial(ctx, where, ns, f.reason)
			if err != nil {
				return err
			}
			defer conn.Close()
			if queue == "" {
				queue = args[0]
			}
			if id == "" {
				id = args[0] + "-" + time.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:4])
			}
			run, err := a.withAccess(c, span, ns, id, f.reason, func() (client.WorkflowRun, error) {
				return conn.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: queue, WorkflowExecutionErrorWhenAlreadyStarted: true}, args[0], input...)
			})
			if err != nil {
				return fmt.Errorf("starting %s: %w", args[0], err)
			}
			if a.asJSON && !f.wait {
				return a.out.json(map[string]string{"namespace": ns, "workflow_id": run.GetID(), "run_id": run.GetRunID(), "workflow_type": args[0], "task_queue": queue})
			}
			if !a.asJSON {
				fmt.Fprintf(a.out, "%s %s in %s: %s\n  run %s\n", a.out.green("Started"), safe(args[0]), safe(ns), a.out.bold(safe(run.GetID())), run.GetRunID())
				fmt.Fprintln(a.out, a.out.dim("  see it: bailiwick run show "+shellWord(run.GetID())+namespaceHint(f.namespace)))
			}
			if !f.wait {
				return nil
			}
			var result json.RawMessage
			if err := run.Get(ctx, &result); err != nil {
				return fmt.Errorf("%s ended without success: %w", run.GetID(), err)
			}
			if a.asJSON {
				return a.out.json(map[string]any{"namespace": ns, "workflow_id": run.GetID(), "run_id": run.GetRunID(), "workflow_type": args[0], "task_queue": queue, "result": orNull(result)})
			}
			fmt.Fprintf(a.out, "%s %s\n", a.out.green("Completed:"), safe(string(orNull(result))))
			return nil
		},
	}
	f.register(a, c)
	c.Flags().StringVar(&queue, "task-queue", "", "task queue (default: the same as TYPE)")
	c.Flags().StringVar(&id, "id", "", "workflow id (default: TYPE and the time)")
	c.Flags().StringVar(&span, "request-access", "", "if it is refused, ask for access to this workflow for so long (30m, 2h), wait until others approve, and go on")
	c.Flags().BoolVarP(&f.wait, "wait", "w", false, "wait for the result and print it")
	return c
}

func (a *app) runSignalCommand() *cobra.Command {
	var f actFlags
	c := &cobra.Command{
		Use:   "signal ID NAME",
		Short: "Send a signal to a workflow",
		Long: `Send a signal to a workflow. The server signs who you are, the reason and the decision into the signal's event; that the signal was taken says
nothing of what the workflow makes of it: see "bailiwick run show".`,
		Example:           `  bailiwick run signal ship-142 approve --input '"looks good"' --reason "CHG-7 approved"`,
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: a.completeWorkflow,
		RunE: func(c *cobra.Command, args []string) error {
			input, err := a.input(c, f.input)
			if err != nil {
				return err
			}
			where, err := a.where()
			if err != nil {
				return err
			}
			conn, err := a.dial(c.Context(), where, a.namespace(f.namespace, where), f.reason)
			if err != nil {
				return err
			}
			defer conn.Close()
			var arg any
			if len(input) == 1 {
				arg = input[0]
			}
			if err := conn.SignalWorkflow(c.Context(), args[0], f.runID, args[1], arg); err != nil {
				return fmt.Errorf("signalling %s: %w", args[0], err)
			}
			if a.asJSON {
				return a.out.json(map[string]string{"workflow_id": args[0], "signal": args[1]})
			}
			fmt.Fprintf(a.out, "%s %s to %s.\n", a.out.green("Sent"), safe(args[1]), safe(args[0]))
			return nil
		},
	}
	f.register(a, c)
	c.Flags().StringVar(&f.runID, "run-id", "", "a particular run (default: the current one)")
	return c
}

func (a *app) runUpdateCommand() *cobra.Command {
	var f actFlags
	c := &cobra.Command{
		Use:               "update ID NAME",
		Short:             "Send an update to a workflow",
		Long:              "Send an update to a workflow and wait until the worker has accepted it; with --wait, until it is done, and print its result.",
		Example:           `  bailiwick run update ship-142 set-traffic --input 25 --reason "canary at 25 %" --wait`,
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: a.completeWorkflow,
		RunE: func(c *cobra.Command, args []string) error {
			input, err := a.input(c, f.input)
			if err != nil {
				return err
			}
			where, err := a.where()
			if err != nil {
				return err
			}
			conn, err := a.dial(c.Context(), where, a.namespace(f.namespace, where), f.reason)
			if err != nil {
				return err
			}
			defer conn.Close()
			stage := client.WorkflowUpdateStageAccepted
			if f.wait {
				stage = client.WorkflowUpdateStageCompleted
			}
			h, err := conn.UpdateWorkflow(c.Context(), client.UpdateWorkflowOptions{WorkflowID: args[0], RunID: f.runID, UpdateName: args[1], Args: input, WaitForStage: stage})
			if err != nil {
				return fmt.Errorf("updating %s: %w", args[0], err)
			}
			answer := map[string]any{"workflow_id": args[0], "run_id": h.RunID(), "update": args[1], "update_id": h.UpdateID()}
			if f.wait {
				var result json.RawMessage
				if err := h.Get(c.Context(), &result); err != nil {
					return fmt.Errorf("the update %s of %s failed: %w", args[1], args[0], err)
				}
				answer["result"] = orNull(result)
			}
			if a.asJSON {
				return a.out.json(answer)
			}
			fmt.Fprintf(a.out, "%s %s to %s (update id %s).\n", a.out.green("Accepted"), safe(args[1]), safe(args[0]), safe(h.UpdateID()))
			if f.wait {
				fmt.Fprintf(a.out, "Result: %s\n", safe(string(answer["result"].(json.RawMessage))))
			}
			return nil
		},
	}
	f.register(a, c)
	c.Flags().StringVar(&f.runID, "run-id", "", "a particular run (default: the current one)")
	c.Flags().BoolVarP(&f.wait, "wait", "w", false, "wait for the result and print it")
	return c
}

// maxInput caps an argument, in bytes; Temporal refuses larger ones anyway.
const maxInput = 2 << 20

// input reads --input: nothing, JSON, or a file of JSON. The result holds no or one argument.
func (a *app) input(c *cobra.Command, raw string) ([]any, error) {
	if raw == "" {
		return nil, nil
	}
	content := []byte(raw)
	if name, isFile := strings.CutPrefix(raw, "@"); isFile {
		var err error
		if name == "-" {
			content, err = io.ReadAll(io.LimitReader(a.in, maxInput+1))
		} else {
			content, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the input: %w", err)
		}
	}
	if len(content) > maxInput {
		return nil, badUsage(c, "the input is larger than %d bytes", maxInput)
	}
	if !json.Valid(content) {
		return nil, badUsage(c, `--input is not JSON; a text needs double quotes, as in --input '"text"'`)
	}
	return []any{json.RawMessage(content)}, nil
}

func orNull(m json.RawMessage) json.RawMessage {
	if len(m) == 0 {
		return json.RawMessage("null")
	}
	return m
}

func namespaceHint(flag string) string {
	if flag == "" {
		return ""
	}
	return " --namespace " + shellWord(flag)
}

// shellWord quotes a word for the commands we suggest.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(safe(s), "'", `'\''`) + "'"
}
