package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// proveFlags are what `audit prove` puts into the bundle.
type proveFlags struct {
	indexFlags
	key, keys, attestation, out, blobs string
}

func (a *app) auditProveCommand() *cobra.Command {
	var f proveFlags
	c := &cobra.Command{
		Use:   "prove ID",
		Short: "Write a proof of one entry that anybody can check without a server",
		Long: `Write a proof bundle of one entry: the entry itself, its inclusion proof, the signed checkpoint, the history of the gate's attestation keys, the
issuer's key that signed the caller's token, and the text of the policy set that decided, if it is kept. With --attestation, also the run attestation that belongs to the decision.

Whoever has the bundle and knows the log's verifier key checks it with "bailiwick audit verify-bundle", with no server and no access to the log.
ID is a decision's id, its beginning, or an index. An entry made within the last second is waited for.`,
		Example: `  bailiwick audit prove 01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c11 -o proof.json
  bailiwick audit prove 142 | bailiwick audit verify-bundle -
  bailiwick audit prove 01936f0e --attestation run.jws -o proof.json`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return a.prove(c, f, args[0]) },
	}
	f.register(c)
	c.Flags().StringVarP(&f.out, "output", "o", "", "file to write (default: standard output)")
	c.Flags().StringVar(&f.key, "key", "", "the log's verifier key, or @FILE (default: the context's)")
	c.Flags().StringVar(&f.attestation, "attestation", "", "file with the decision's attestation (a compact JWS)")
	c.Flags().StringVar(&f.keys, "keys", "", "file with the attestation keys (default: the control plane's)")
	c.Flags().StringVar(&f.blobs, "policy-texts", "", "directory of policy texts by digest (default: beside the journal)")
	return c
}

func (a *app) prove(c *cobra.Command, f proveFlags, id string) error {
	ctx := c.Context()
	log, journals, where, err := a.dirs(f.logFlags)
	if err != nil {
		return err
	}
	if log == "" {
		return badUsage(c, "--log is needed beside --journal: only what is sealed can be proven")
	}
	key, err := logKey(f.key, where)
	if err != nil {
		return err
	}
	if key == "" {
		return badUsage(c, "no verifier key is known for this log; give it with --key")
	}
	x, err := a.syncedIndex(ctx, f.indexFlags)
	if err != nil {
		return err
	}
	defer x.Close()
	row, err := x.find(ctx, id)
	if err != nil {
		return err
	}
	cfg := tiles.ProveConfig{Log: log, Journals: journals, VerifierKey: key, Index: row.Index, Blobs: f.blobs}
	if cfg.Blobs == "" {
		cfg.Blobs = blobsOf(journals, row.Entry)
	}
	if cfg.KeyEntries, err = x.keyEntries(ctx, row); err != nil {
		return err
	}
	if cfg.IssuerKeyEntries, err = x.issuerKeyEntries(ctx, row); err != nil {
		return err
	}
	if f.attestation != "" {
		raw, err := os.ReadFile(f.attestation)
		if err != nil {
			return fmt.Errorf("reading the attestation: %w", err)
		}
		cfg.Attestation = strings.TrimSpace(string(raw))
	}
	if cfg.Keys, err = a.keys(ctx, where, f.keys); err != nil {
		if f.attestation != "" || f.keys != "" {
			return err
		}
		if len(cfg.KeyEntries) > 0 {
			fmt.Fprintf(a.errs, "%s without the attestation keys, which could not be had: the proof holds their thumbprints\n", a.errs.yellow("note:"))
		}
	}
	bundle, err := waitSealed(ctx, cfg)
	if err != nil {
		return notProven(err)
	}
	raw, err := bundle.Marshal()
	if err != nil {
		return err
	}
	if f.out == "" {
		_, err := a.out.Write(raw)
		return err
	}
	if err := os.WriteFile(f.out, raw, 0o600); err != nil {
		return fmt.Errorf("writing the proof: %w", err)
	}
	if a.asJSON {
		return a.out.json(map[string]any{"file": f.out, "index": bundle.Entry.Index, "id": row.Entry.ID, "bytes": len(raw), "policy_texts": len(bundle.Policy), "attestation": bundle.Attestation != ""})
	}
	fmt.Fprintf(a.out, "%s entry %d (%s) in %s.\n", a.out.green("Proven:"), bundle.Entry.Index, safe(row.Entry.ID), safe(f.out))
	fmt.Fprintf(a.out, "  check it anywhere: bailiwick audit verify-bundle %s --key '%s'\n", safe(filepath.Base(f.out)), safe(key))
	return nil
}

// blobsOf is the directory, of those beside the journals, that has the texts of the set that decided; else that of the first journal.
func blobsOf(journals []string, e audit.Entry) string {
	if len(journals) == 0 {
		return ""
	}
	for _, dir := range journals {
		if e.Decision == nil {
			break
		}
		if _, err := blobs.Get(blobs.Beside(dir), e.Decision.PolicyDigest); err == nil {
			return blobs.Beside(dir)
		}
	}
	return blobs.Beside(journals[0])
}

// logKey resolves --key: a verifier key, @FILE, or else the context's.
func logKey(flag string, where login.Context) (string, error) {
	if flag == "" {
		return where.LogKey, nil
	}
	name, isFile := strings.CutPrefix(flag, "@")
	if !isFile {
		return flag, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("reading the verifier key: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// waitSealed proves an entry, waiting up to 3 s for a running sealer.
func waitSealed(ctx context.Context, cfg tiles.ProveConfig) (b tiles.Bundle, err error) {
	for end := time.Now().Add(3 * time.Second); ; {
		if b, err = tiles.Prove(ctx, cfg); !errors.Is(err, tiles.ErrNotSealed) || time.Now().After(end) {
			return b, err
		}
		select {
		case <-ctx.Done():
			return b, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// notProven names why there is no proof.
func notProven(err error) error {
	var refused *tiles.BundleError
	switch {
	case errors.Is(err, tiles.ErrNotSealed):
		return &coded{Code: "not_sealed", Text: err.Error(), Fix: "is the control plane running? only what is sealed can be proven"}
	case errors.As(err, &refused):
		return &coded{Code: string(refused.Code), Text: safe(refused.Text), Fix: "run: bailiwick audit verify", exit: exitUnproven}
	}
	return err
}

// find finds an entry by index, id, or the beginning of an id.
func (x *openedIndex) find(ctx context.Context, id string) (index.Row, error) {
	unknown := unknownEntry(id)
	if n, err := strconv.ParseUint(id, 10, 56); err == nil && (id == "0" || id[0] != '0') { // ids begin with a zero for centuries
		row, err := x.at(ctx, n)
		if err == nil && row == nil {
			return index.Row{}, unknown
		}
		if err != nil {
			return index.Row{}, err
		}
		return *row, nil
	}
	if strings.ContainsAny(id, "*") || id == "" {
		return index.Row{}, unknown
	}
	q := index.Filter{ID: []string{id}, Limit: 100}
	rows, _, err := x.query(ctx, q)
	if err == nil && len(rows) == 0 && len(id) >= minPrefix {
		q.ID[0] += "*"
		rows, _, err = x.query(ctx, q)
	}
	switch {
	case err != nil:
		return index.Row{}, err
	case len(rows) == 0:
		return index.Row{}, unknown
	case len(rows) > 1:
		return index.Row{}, ambiguous(id, records(rows, 0))
	}
	return rows[0], nil
}

// at returns the entry of an index; nil when there is none.
func (x *openedIndex) at(ctx context.Context, n uint64) (*index.Row, error) {
	size, err := x.Size(ctx)
	if err != nil || n >= size {
		return nil, err
	}
	row, err := x.Get(ctx, n)
	return &row, err
}

// mostKeys is how many keys of its gate a proof's history names, the latest.
const mostKeys = 16

// keyEntries finds the entries by which the gate named its attestation keys before this one: of each key the latest.
func (x *openedIndex) keyEntries(ctx context.Context, row index.Row) ([]uint64, error) {
	found := []uint64{}
	seen := map[string]bool{}
	q := index.Filter{Kind: []audit.Kind{audit.KindGate, audit.KindKey}, Gate: []string{row.Entry.Gate}, KeyUse: []string{"*"}, Limit: 100}
	if row.Entry.Gate == "" {
		return found, nil
	}
	for {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			kid := r.Entry.Detail["attestation_key"]
			if r.Index < row.Index && !seen[kid] {
				seen[kid], found = true, append(found, r.Index)
			}
		}
		if next == "" || len(found) >= mostKeys {
			slices.Sort(found)
			return found, nil
		}
		q.Cursor = next
	}
}

// issuerKeyEntries finds the entry by which the gate put the issuer's key on record that signed the token of this decision: the latest before it.
func (x *openedIndex) issuerKeyEntries(ctx context.Context, row index.Row) ([]uint64, error) {
	found := []uint64{}
	if row.Entry.Gate == "" || row.Entry.Actor.TokenKey == "" {
		return found, nil
	}
	q := index.Filter{Kind: []audit.Kind{audit.KindKey}, Gate: []string{row.Entry.Gate}, Limit: 500}
	for {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Index < row.Index && tiles.HoldsIssuerKey(r.Entry, row.Entry) {
				return append(found, r.Index), nil
			}
		}
		if q.Cursor = next; next == "" {
			return found, nil
		}
	}
}

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
