package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

func (a *app) auditVerifyBundleCommand() *cobra.Command {
	var keys []string
	var attestationKeys, audience string
	c := &cobra.Command{
		Use:   "verify-bundle FILE",
		Short: "Check a proof of an entry, with no server and no log",
		Long: `Check a proof bundle that "bailiwick audit prove" wrote: that the checkpoint is signed by a log key that you trust, that the entry is in the log at its
index, that the gate's attestation keys were named by it in the log, that the attestation says what the entry says, and that the policy texts are
those that decided. Nothing is fetched. FILE may be - for standard input.

The log's verifier key must come from elsewhere than the bundle: from your context, or from whoever runs the log.
Exit code 4 means that the bundle does not prove what it says; the message begins with a stable code.`,
		Example: `  bailiwick audit verify-bundle proof.json
  bailiwick audit verify-bundle proof.json --key 'bailiwick.dev/dev+1a2b3c4d+AQ…'
  bailiwick audit verify-bundle - --key @log.pub --json < proof.json | jq .entry.actor.login`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			trust := tiles.Trust{Audience: audience}
			for _, k := range keys {
				key, err := logKey(k, login.Context{})
				if err != nil {
					return err
				}
				trust.LogKeys = append(trust.LogKeys, key)
			}
			if len(keys) == 0 {
				if where, err := a.where(); err == nil && where.LogKey != "" {
					trust.LogKeys = []string{where.LogKey}
				}
			}
			if len(trust.LogKeys) == 0 {
				return badUsage(c, "no log key is trusted: give the one that you know with --key; the key in the bundle proves nothing by itself")
			}
			if attestationKeys != "" {
				raw, err := os.ReadFile(attestationKeys)
				if err != nil {
					return fmt.Errorf("reading the attestation keys: %w", err)
				}
				if trust.AttestationKeys, err = attest.ParseKeySet(raw); err != nil {
					return fmt.Errorf("reading the attestation keys: %w", err)
				}
			}
			raw, err := a.readBundle(args[0])
			if err != nil {
				return err
			}
			report, err := tiles.VerifyBundle(raw, trust)
			return a.showBundle(report, err)
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "verifier key of a log that you trust, or @FILE; may be repeated (default: the context's)")
	c.Flags().StringVar(&attestationKeys, "keys", "", "file with the attestation keys that you trust (default: those that the log itself proves)")
	c.Flags().StringVar(&audience, "audience", "", "environment that the attestation must be made for (default: any)")
	return c
}

func (a *app) readBundle(name string) ([]byte, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading the bundle: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, tiles.MaxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return raw, nil
}

func (a *app) showBundle(r tiles.BundleReport, err error) error {
	var refused *tiles.BundleError
	if errors.As(err, &refused) {
		if a.asJSON {
			if err := a.out.json(map[string]any{"ok": false, "error": refused.Code, "detail": refused.Text}); err != nil {
				return err
			}
		} else {
			fmt.Fprintln(a.out, a.out.red(a.out.bold("The bundle does NOT prove what it says.")))
			fmt.Fprintf(a.out, "%s %s\n", a.out.red(safe(string(refused.Code))), safe(refused.Text))
		}
		return &unproven{string(refused.Code)}
	}
	if err != nil {
		return err
	}
	if a.asJSON {
		return a.out.json(struct {
			OK bool `json:"ok"`
			tiles.BundleReport
		}{true, r})
	}
	w := a.out
	fmt.Fprintln(w, w.green(w.bold("The bundle proves this entry.")))
	field(w, "log", fmt.Sprintf("%s, %d entries under the checkpoint", safe(r.Origin), r.Size))
	field(w, "root", r.Root)
	for _, k := range r.LogKeys {
		field(w, "log key", fmt.Sprintf("%s, which follows by entry %d at %s", safe(k.Key), k.Index, k.Time.UTC().Format(time.RFC3339)))
	}
	for _, k := range r.Keys {
		field(w, "key", fmt.Sprintf("%s, named by the gate in entry %d at %s", safe(k.KeyID), k.Index, k.Time.UTC().Format(time.RFC3339)))
	}
	switch {
	case r.Attestation == nil:
		field(w, "attestation", "none in the bundle")
	case r.KeyKnownBy == "log":
		field(w, "attestation", fmt.Sprintf("agrees with the entry; signed by %s, a key that the log proves; for %s", safe(r.AttestedBy), safe(r.Attestation.Audience)))
	default:
		field(w, "attestation", fmt.Sprintf("agrees with the entry; signed by %s, a key that you trust; for %s", safe(r.AttestedBy), safe(r.Attestation.Audience)))
	}
	switch {
	case r.IssuerKey != nil:
		field(w, "token key", fmt.Sprintf("%s of %s, as the gate saw it in entry %d at %s", safe(r.IssuerKey.KeyID), safe(r.IssuerKey.Issuer), r.IssuerKey.Index, r.IssuerKey.Time.UTC().Format(time.RFC3339)))
	case r.Entry.Actor.TokenKey != "":
		field(w, "token key", fmt.Sprintf("%s; the key itself is not in the bundle", safe(r.Entry.Actor.TokenKey)))
	}
	if len(r.Policy) > 0 {
		var names []string
		for _, p := range r.Policy {
			names = append(names, p.Name)
		}
		field(w, "policy", fmt.Sprintf("the texts that decided: %s", list(names)))
	} else {
		field(w, "policy", "no texts in the bundle")
	}
	fmt.Fprintln(w)
	a.showEntry(record{r.Index, true, r.Entry})
	return nil
}
