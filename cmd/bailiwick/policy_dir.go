package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// policyFlags say which policy set: a directory, or the context's.
type policyFlags struct{ dir string }

func (f *policyFlags) register(c *cobra.Command) {
	c.Flags().StringVarP(&f.dir, "policies", "p", "", "policy directory (default: the context's)")
	must(c.MarkFlagDirname("policies"))
}

// policyDir is the directory named, or the context's.
func (a *app) policyDir(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	where, err := a.where()
	if err != nil {
		return "", err
	}
	if where.PolicyDir == "" {
		return "", &coded{Code: "no_policy_dir", Text: fmt.Sprintf("context %s does not name a policy directory", where.Name), Fix: "name one; see --help"}
	}
	return where.PolicyDir, nil
}

// policySet loads a directory that is named, or the context's.
func (a *app) policySet(named string) (*policy.Set, string, error) {
	dir, err := a.policyDir(named)
	if err != nil {
		return nil, "", err
	}
	s, err := policy.LoadSet(dir)
	return s, dir, policyError(dir, err)
}

// policyError makes a set that does not load a failure with a code; its text names each problem with file, line and fix.
func policyError(dir string, err error) error {
	var wrong *policy.LoadError
	if errors.As(err, &wrong) {
		return &coded{Code: "policy_invalid", Text: fmt.Sprintf("%s does not load:\n%s", dir, wrong.Error()), Fix: "see bailiwick policy check " + shellWord(dir)}
	}
	if _, missing := os.Stat(dir); err != nil && errors.Is(missing, fs.ErrNotExist) {
		return &coded{Code: "no_policy_dir", Text: fmt.Sprintf("there is no policy directory %s", dir), Fix: "name one; see --help"}
	}
	return err
}

// policyText is one file of a policy set.
type policyText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// unpackPolicy takes the texts of a set apart: the schema first, then the files by name (policy.Set.Archive says how they are laid out).
func unpackPolicy(archive []byte) ([]policyText, error) {
	var texts []policyText
	for rest := archive; len(rest) > 0; {
		if len(rest) < 16 {
			return nil, errors.New("unpacking policies: the end is missing")
		}
		name, size := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
		rest = rest[16:]
		if name > uint64(len(rest)) || size > uint64(len(rest))-name {
			return nil, errors.New("unpacking policies: the end is missing")
		}
		texts = append(texts, policyText{string(rest[:name]), string(rest[name : name+size])})
		rest = rest[name+size:]
	}
	if len(texts) == 0 || texts[0].Name != "schema" {
		return nil, errors.New("unpacking policies: they do not begin with their schema")
	}
	return texts, nil
}

// keptPolicy finds the texts that had the digest, as the gate kept them beside its journal. Wrapped blobs.ErrNotFound: it kept none.
func (a *app) keptPolicy(f logFlags, digest string) ([]policyText, error) {
	_, journals, _, err := a.dirs(f)
	if err != nil {
		return nil, err
	}
	raw, err := []byte(nil), fmt.Errorf("no journal is named, beside which policies are kept: %w", blobs.ErrNotFound)
	for _, dir := range journals {
		if raw, err = blobs.Get(blobs.Beside(dir), digest); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return unpackPolicy(raw)
}

// keptSet loads a set that is no longer in force from its texts. exact is false when it was made for another version of Bailiwick, whose
// schema was another: the policies are the same, and what they mean may differ in what is new.
func (a *app) keptSet(f logFlags, digest string) (s *policy.Set, exact bool, err error) {
	texts, err := a.keptPolicy(f, digest)
	if err != nil {
		return nil, false, err
	}
	dir, err := os.MkdirTemp("", "bailiwick-policy-")
	if err != nil {
		return nil, false, fmt.Errorf("unpacking policies: %w", err)
	}
	defer os.RemoveAll(dir)
	for _, t := range texts[1:] {
		if t.Name != filepath.Base(t.Name) || t.Name == ".." || t.Name == "." {
			return nil, false, fmt.Errorf("unpacking policies: %q is not a file's name", t.Name)
		}
		if err := os.WriteFile(filepath.Join(dir, t.Name), []byte(t.Text), 0o600); err != nil {
			return nil, false, fmt.Errorf("unpacking policies: %w", err)
		}
	}
	if s, err = policy.LoadSet(dir); err != nil {
		return nil, false, fmt.Errorf("the policies that were in force (%s) don't load in this version of Bailiwick: %w", clip(digest, 12), errors.Unwrap(err))
	}
	if exact = s.Digest() == digest; !exact && texts[0].Text == policy.SchemaText() {
		return nil, false, fmt.Errorf("the policies kept as %s are others", clip(digest, 12))
	}
	return s, exact, nil
}
