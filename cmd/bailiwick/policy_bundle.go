package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/policy"
)

func (a *app) policyBundleCommand() *cobra.Command {
	return group("bundle", "Sign a policy directory as one file, and verify such a file", `Sign a policy directory as one file, for gates that pull their policies over HTTP, and verify such a file.

A gate takes a bundle only if one of its keys signed it, if its serial is not lower than that of the last one, and while it has not expired; an
expired bundle without a successor means that everything is refused.`,
		a.bundleKeygenCommand(), a.bundleBuildCommand(), a.bundleVerifyCommand())
}

func (a *app) bundleKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key that signs bundles",
		Long: `Make an Ed25519 key that signs bundles: the private key in FILE (PEM, PKCS #8, readable by you alone) and the public one in FILE.pub, which goes
to the gates. A file that is there is never overwritten.`,
		Example: `  bailiwick policy bundle keygen policy.key`,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			public, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return fmt.Errorf("making a key: %w", err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(private)
			if err != nil {
				return fmt.Errorf("making a key: %w", err)
			}
			spki, err := x509.MarshalPKIXPublicKey(public)
			if err != nil {
				return fmt.Errorf("making a key: %w", err)
			}
			if err := writeNew(args[0], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
				return err
			}
			pub := args[0] + ".pub"
			if err := writeNew(pub, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), 0o644); err != nil {
				return err
			}
			text := base64.StdEncoding.EncodeToString(public)
			if a.asJSON {
				return a.out.json(map[string]string{"private_key": args[0], "public_key": pub, "public_key_base64": text})
			}
			fmt.Fprintf(a.out, "%s private key in %s: keep it where policies are released, and nowhere else\n", a.out.green("Made:"), safe(args[0]))
			field(a.out, "public", safe(pub))
			field(a.out, "", text)
			return nil
		},
	}
}

// writeNew writes a file that must not exist yet.
func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return &coded{Code: "file_exists", Text: path + " exists and is not overwritten", Fix: "name another file, or move that one away"}
	}
	if err != nil {
		return fmt.Errorf("writing a key: %w", err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path) // it was not there before
		return fmt.Errorf("writing a key: %w", err)
	}
	return nil
}

func (a *app) bundleBuildCommand() *cobra.Command {
	var key, out, expires string
	var serial uint64
	c := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Pack a policy directory and sign it",
		Long: `Pack a policy directory (default: the context's) and sign it. A directory that does not load is refused. The same directory, key, serial and
expiry give the same bytes.

The serial must grow from bundle to bundle, so that nobody can put an old one back; by default it is the time in seconds.`,
		Example: `  bailiwick policy bundle build policies/ --key policy.key --expires 30d -o policy.bundle
  bailiwick policy bundle build policies/ --key policy.key --expires 2027-01-31 --serial 42 -o policy.bundle --json`,
		Args:              usage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeDirs,
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" || out == "" || expires == "" {
				return badUsage(c, "--key, --expires and -o are needed")
			}
			now := time.Now()
			until, err := moment(c, "expires", expires, now)
			if d, derr := duration(expires); derr == nil {
				until, err = now.Add(d), nil
			}
			if err != nil {
				return err
			}
			if !until.After(now) {
				return badUsage(c, "--expires is %q, which is past", expires)
			}
			if !c.Flags().Changed("serial") {
				serial = uint64(now.Unix())
			}
			if serial == 0 {
				return badUsage(c, "--serial is 0; serials begin at 1")
			}
			private, err := readPrivateKey(key)
			if err != nil {
				return err
			}
			dir, err := a.policyDir(first(args))
			if err != nil {
				return err
			}
			raw, err := policy.BuildBundle(dir, private, serial, until.UTC().Truncate(time.Second))
			if err != nil {
				return policyError(dir, err)
			}
			_, m, err := policy.OpenBundle(raw, []ed25519.PublicKey{private.Public().(ed25519.PublicKey)}, serial, now)
			if err != nil {
				return fmt.Errorf("reading the bundle just built: %w", err)
			}
			if err := durable.WriteFile(out, raw, 0o644); err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(m)
			}
			fmt.Fprintf(a.out, "%s %s, %d bytes\n", a.out.green("Built:"), safe(out), len(raw))
			a.showManifest(m)
			return nil
		},
	}
	c.Flags().StringVarP(&key, "key", "k", "", "file of the private key (bailiwick policy bundle keygen)")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write; one that is there is replaced whole")
	c.Flags().StringVar(&expires, "expires", "", "how long it is good: a duration such as 30d, or a time")
	c.Flags().Uint64Var(&serial, "serial", 0, "number that grows from bundle to bundle (default: the time in seconds)")
	return c
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	var keys []string
	var minSerial uint64
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a bundle as a gate would",
		Long: `Verify a bundle as a gate would: its signature by one of the keys, its serial and expiry, and that the policies inside load. Exit code 4 if a gate
would not take it.`,
		Example: `  bailiwick policy bundle verify policy.bundle --key policy.key.pub
  bailiwick policy bundle verify policy.bundle --key 'base64 of the public key' --min-serial 41`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(keys) == 0 {
				return badUsage(c, "--key is needed: the public key, or a file of it")
			}
			var public []ed25519.PublicKey
			for _, k := range keys {
				p, err := readPublicKey(k)
				if err != nil {
					return err
				}
				public = append(public, p)
			}
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("reading the bundle: %w", err)
			}
			_, m, err := policy.OpenBundle(raw, public, minSerial, time.Now())
			if err != nil {
				var wrong *policy.BundleError
				if !errors.As(err, &wrong) {
					return err
				}
				if a.asJSON {
					if err := a.out.json(map[string]any{"ok": false, "code": wrong.Code, "problem": wrong.Error()}); err != nil {
						return err
					}
				} else if m.Serial > 0 { // the signature was good
					a.showManifest(m)
				}
				return &unproven{wrong.Error()}
			}
			if a.asJSON {
				return a.out.json(struct {
					OK bool `json:"ok"`
					policy.Manifest
				}{true, m})
			}
			fmt.Fprintln(a.out, a.out.bold(a.out.green("The bundle verifies.")))
			a.showManifest(m)
			return nil
		},
	}
	c.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key that may have signed it, as a file or in base64; may be repeated")
	c.Flags().Uint64Var(&minSerial, "min-serial", 0, "the lowest serial that is accepted")
	return c
}

func (a *app) showManifest(m policy.Manifest) {
	w := a.out
	field(w, "serial", fmt.Sprint(m.Serial))
	field(w, "expires", m.Expires.Local().Format("2006-01-02 15:04:05 MST")+w.dim(" ("+span(time.Now(), m.Expires)+")"))
	field(w, "digest", safe(m.Digest))
	field(w, "signed by", safe(m.KeyID))
	field(w, "files", list(m.Files))
}

func readPrivateKey(path string) (ed25519.PrivateKey, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	if block, _ := pem.Decode(raw); block != nil && block.Type == "PRIVATE KEY" {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if private, ok := key.(ed25519.PrivateKey); ok {
				return private, nil
			}
		}
	}
	return nil, &coded{Code: "key_malformed", Text: path + " is not an Ed25519 private key in PEM (PKCS #8)", Fix: "make one with bailiwick policy bundle keygen"}
}

// readPublicKey takes the key itself in base64, or a file of PEM, as a gate's configuration does.
func readPublicKey(text string) (ed25519.PublicKey, error) {
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil && len(key) == ed25519.PublicKeySize {
		return key, nil
	}
	raw, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	if block, _ := pem.Decode(raw); block != nil && block.Type == "PUBLIC KEY" {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if public, ok := key.(ed25519.PublicKey); ok {
				return public, nil
			}
		}
	}
	return nil, &coded{Code: "key_malformed", Text: text + " is not an Ed25519 public key in PEM", Fix: "it is the FILE.pub that bailiwick policy bundle keygen made"}
}
