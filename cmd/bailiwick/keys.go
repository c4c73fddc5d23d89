package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
)

func (a *app) keysCommand() *cobra.Command {
	return group("keys", "See and rotate the keys that everything rests on", `See and rotate keys while they are in use: those by which the issuer signs tokens, those by which services prove who they are, those by which gates
attest, and the one by which the audit log signs its checkpoints.

A rotation is a durable workflow: every verifier has the next key before anything is signed with it, a credential has fetched a real token before a service is
given it, and what is replaced is kept until nothing needs it. One that can't go on is aborted: the old key stays in force, and the audit log says why. The
control plane rotates by itself what is older than 90 days, the log's key excepted. Policy says who may: with the starter set, the group
"security".`,
		a.keysStatusCommand(), a.keysRotateCommand(), a.keysHistoryCommand(), a.keysForgetCommand())
}

const keysPath = "/v1/keys"

func (a *app) keysStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show keys, which verifiers have them, and rotations under way",
		Long: `Show the keys of each issuer, service and gate, which verifiers have the issuers' next keys, and rotations that are under way. Exit code 4 when something is
wrong: a verifier that is silent, a credential that Okta does not know, a rotation that would be refused for another reason than being too early.`,
		Example: `  bailiwick keys status
  bailiwick keys status --json | jq '.verifiers[] | select(.silent)'`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			var s rotation.Status
			if err := a.controlGet(c.Context(), where, keysPath, &s); err != nil {
				return err
			}
			if a.asJSON {
				err = a.out.json(s)
			} else {
				a.showKeys(s)
			}
			return errors.Join(err, keysWrong(s))
		},
	}
}

// keysWrong is an error when a key or a verifier is not as it should be.
func keysWrong(s rotation.Status) error {
	var wrong []string
	problem := func(what string, p rotation.Problem) {
		if p.Code != "" && p.Code != "too_soon" && p.Code != "next_key_waiting" {
			wrong = append(wrong, what+": "+p.Code)
		}
	}
	for _, i := range s.Issuers {
		problem("issuer "+safe(i.ID), i.Problem)
	}
	for _, c := range s.Clients {
		if c.Code != "secrets_full" || len(s.Rotations) == 0 { // in the middle of a rotation there are two
			problem("client "+safe(c.ID), c.Problem)
		}
	}
	for _, g := range s.Attestations {
		problem("gate "+safe(g.ID), g.Problem)
	}
	for _, l := range s.Checkpoints {
		problem("log "+safe(l.ID), l.Problem)
	}
	for _, v := range s.Verifiers {
		if v.Silent {
			wrong = append(wrong, "verifier "+safe(v.Name)+" is silent")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &coded{Code: "keys_wrong", Text: strings.Join(wrong, "; "), Fix: "bailiwick keys status says more of each", exit: exitUnproven}
}

func (a *app) keysRotateCommand() *cobra.Command {
	var reason string
	var dryRun, noWait bool
	c := &cobra.Command{
		Use:   "rotate USE [TARGET]",
		Short: "Rotate a key while it is in use",
		Long: `Rotate a key. USE is issuer (an authorization server's signing keys), client (a service's key or secret), attestation (a gate's signing keys) or checkpoint (the
audit log's key: both sign for a while, and who knows the log by the old one follows); TARGET is the id that "bailiwick keys status" shows, and may be left out where there is one. The command shows each step and waits; without a terminal, or when it is
interrupted, the rotation goes on by itself. --dry-run looks what would be done and whether anything is in its way, and changes nothing.

Exit code 4 when the rotation was aborted (the old key is in force) or tokens were refused.`,
		Example: `  bailiwick keys rotate issuer --dry-run
  bailiwick keys rotate issuer --reason "quarterly"
  bailiwick keys rotate client 0oadeployworker00001 --reason "CHG-12" --no-wait
  bailiwick keys rotate attestation dev --json
  bailiwick keys rotate checkpoint --reason "yearly" --no-wait`,
		Args: usage(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, args []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			body := rotation.RotateBody{Use: args[0], Target: strings.Join(args[1:], ""), Reason: reason}
			if dryRun {
				var look rotation.Look
				if err := a.controlDo(c.Context(), where, http.MethodPost, keysPath+"/rotations?dry_run=true", body, &look); err != nil {
					return err
				}
				return a.showLook(look)
			}
			var r rotation.Rotation
			if err := a.controlDo(c.Context(), where, http.MethodPost, keysPath+"/rotations", body, &r); err != nil {
				return err
			}
			if !noWait {
				if r, err = a.followRotation(c.Context(), where, r); err != nil {
					return err
				}
			}
			return a.showRotation(r)
		},
	}
	c.Flags().StringVarP(&reason, "reason", "r", "", "why; it is put on record")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be done, and change nothing")
	c.Flags().BoolVar(&noWait, "no-wait", false, "begin it and return")
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"issuer\tan authorization server's signing keys", "client\ta service's key or secret", "attestation\ta gate's signing keys", "checkpoint\tthe audit log's key"}, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// followRotation shows each step until the rotation has ended. A control plane that is away for a while does not end it.
func (a *app) followRotation(ctx context.Context, where login.Context, r rotation.Rotation) (rotation.Rotation, error) {
	const patience = 2 * time.Minute
	path := keysPath + "/rotations/" + url.PathEscape(string(r.Use)) + "/" + url.PathEscape(r.Target)
	id, heard := r.ID, time.Now()
	show := a.rotationProgress()
	for {
		show(r)
		if r.State != rotation.Running {
			return r, nil
		}
		select {
		case <-ctx.Done():
			fmt.Fprintln(a.errs, "the rotation goes on by itself: bailiwick keys status")
			return r, ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
		var now rotation.Rotation
		switch err := a.controlGet(ctx, where, path, &now); {
		case err == nil && now.ID != id:
			return r, &coded{Code: "rotation_replaced", Text: "another rotation of it has begun since", Fix: "bailiwick keys history"}
		case err == nil:
			r, heard = now, time.Now()
		case ctx.Err() == nil && time.Since(heard) > patience:
			return r, err
		}
	}
}

// rotationProgress returns what shows a rotation as it goes: each step once it has ended and, on a terminal, the one that runs.
func (a *app) rotationProgress() func(rotation.Rotation) {
	if a.asJSON {
		return func(rotation.Rotation) {}
	}
	told := 0
	return func(r rotation.Rotation) {
		w := a.errs
		if w.tty {
			fmt.Fprint(w, "\r\x1b[K")
		}
		for ; told < len(r.Steps) && (r.Steps[told].State == rotation.Completed || r.Steps[told].State == rotation.Failed); told++ {
			s := r.Steps[told]
			mark, detail := w.green("ok  "), ""
			if s.State == rotation.Failed {
				mark = w.red("no  ")
			}
			if s.Detail != "" {
				detail = w.dim("  " + safe(s.Detail))
			}
			fmt.Fprintf(w, "%s%s%s\n", mark, safe(s.Title), detail)
		}
		if w.tty && told < len(r.Steps) && r.State == rotation.Running {
			s := r.Steps[told]
			text := safe(s.Title) + " … " + time.Since(s.Began).Truncate(time.Second).String()
			if r.Waiting != "" {
				text += ": " + safe(r.Waiting)
			} else if s.Detail != "" {
				text += ", " + safe(s.Detail)
			}
			fmt.Fprint(w, "..  "+clip(text, max(w.width-6, 40)))
		}
	}
}

func (a *app) keysForgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget VERIFIER",
		Short: "Take a verifier that is gone for good off the register",
		Long: `Take a verifier off the register, so that rotations wait for it no more. Do it only when the gate is gone: one that still verifies tokens would refuse those of a key
that it does not have. One that lives is back with its next report.`,
		Example: `  bailiwick keys forget edge-7`,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			var out struct {
				Forgotten string `json:"forgotten"`
			}
			if err := a.controlDo(c.Context(), where, http.MethodDelete, keysPath+"/verifiers/"+url.PathEscape(args[0]), nil, &out); err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(out)
			}
			fmt.Fprintf(a.out, "%s is waited for no more\n", safe(out.Forgotten))
			return nil
		},
	}
}
