package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
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
