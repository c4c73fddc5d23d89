package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/audit/witness"
)

// witnessesFile is witnesses.yaml in the state directory. History: version 1 (2026-11) first.
type witnessesFile struct {
	Version   int           `yaml:"version"`
	Quorum    int           `yaml:"quorum"` // how many must cosign; default all
	Every     time.Duration `yaml:"every"`  // at most one round so often; default 10s
	Witnesses []struct {
		URL string `yaml:"url"`
		Key string `yaml:"key"` // NAME+HASH+KEY, as `bailiwick audit witness` prints it
	} `yaml:"witnesses"`
}

// anchorsFile is anchors.yaml in the state directory. History: version 1 (2026-11) first.
type anchorsFile struct {
	Version   int           `yaml:"version"`
	Every     time.Duration `yaml:"every"`      // at most one checkpoint so often; default 10m
	TokenFile string        `yaml:"token_file"` // with a bearer token for URLs; relative to the file
	Anchors   []string      `yaml:"anchors"`    // FILE, git:DIR or a URL; relative to the file
}

// startCheckpoints has the log's checkpoints cosigned and kept elsewhere, as witnesses.yaml and anchors.yaml of the state directory say, until
// it is stopped. A file that is wrong is told before anything starts; a witness that is down is not a reason not to start.
func (d *devEnv) startCheckpoints(ctx context.Context, key string, logger *slog.Logger) (stop func(), err error) {
	cosign, err := d.witnesses(key)
	if err != nil {
		return nil, err
	}
	anchor, err := d.anchors()
	if err != nil {
		return nil, err
	}
	cosign.Log, cosign.Logger, anchor.Log, anchor.Logger = d.state.path("log"), logger, d.state.path("log"), logger
	// Like the sealer they outlive ctx: what is written while a gate stops is cosigned, too, if there is time.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	run := func(what string, f func() error) {
		running.Go(func() {
			if err := f(); err != nil {
				logger.ErrorContext(ctx, "checkpoints are not kept elsewhere any more", "by", what, "error", err)
			}
		})
	}
	if len(cosign.Witnesses) > 0 {
		run("witnesses", func() error { return tiles.RunCosigning(ctx, cosign) })
	}
	if len(anchor.Anchors) > 0 {
		run("anchors", func() error { return tiles.RunAnchoring(ctx, anchor) })
	}
	return func() { cancel(); running.Wait() }, nil
}

// witnesses reads witnesses.yaml; without one there are none.
func (d *devEnv) witnesses(key string) (cfg tiles.CosignConfig, err error) {
	var f witnessesFile
	path := d.state.path("witnesses.yaml")
	there, err := readStateFile(path, &f, &f.Version)
	if !there && err == nil {
		return cfg, nil
	}
	if err == nil && (len(f.Witnesses) == 0 || f.Quorum < 0 || f.Quorum > len(f.Witnesses)) {
		err = fmt.Errorf("it names %d witnesses, of which %d must cosign", len(f.Witnesses), f.Quorum)
	}
	if err == nil && f.Every != 0 && f.Every < time.Second {
		err = fmt.Errorf("every is %v; a second is the least", f.Every)
	}
	cfg = tiles.CosignConfig{Key: key, Quorum: f.Quorum, Interval: f.Every}
	for i, w := range f.Witnesses {
		u, wrong := url.Parse(w.URL)
		if err == nil && (wrong != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			err = fmt.Errorf("witness %d: %q is not a URL", i+1, w.URL)
		}
		if _, wrong := witness.NewVerifier(w.Key); err == nil && wrong != nil {
			err = fmt.Errorf("witness %d: %w", i+1, wrong)
		}
		for _, other := range cfg.Witnesses {
			if err == nil && other.Key == w.Key {
				err = fmt.Errorf("witness %d is named twice, and counts once", i+1)
			}
		}
		cfg.Witnesses = append(cfg.Witnesses, tiles.WitnessURL{URL: w.URL, Key: w.Key})
	}
	if err != nil {
		return cfg, &coded{Code: "bad_witnesses", Text: fmt.Sprintf("%s: %v", path, err), Fix: `write "version: 1" and "witnesses: [{url: URL, key: KEY}]" with the key that "bailiwick audit witness" prints, or remove it`, Path: path}
	}
	return cfg, nil
}

// anchors reads anchors.yaml; without one there are none.
func (d *devEnv) anchors() (cfg tiles.AnchorConfig, err error) {
	var f anchorsFile
	path := d.state.path("anchors.yaml")
	there, err := readStateFile(path, &f, &f.Version)
	if !there && err == nil {
		return cfg, nil
	}
	beside := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(path), p)
	}
	if err == nil && (len(f.Anchors) == 0 || f.Every < 0) {
		err = errors.New("it names no place, or a time below zero")
	}
	cfg = tiles.AnchorConfig{Interval: f.Every}
	if f.TokenFile != "" {
		cfg.Token = tokenFrom(beside(f.TokenFile))
	}
	for i, a := range f.Anchors {
		dir, isGit := strings.CutPrefix(a, "git:")
		switch {
		case strings.HasPrefix(a, "https://") || strings.HasPrefix(a, "http://"):
		case isGit && dir != "":
			a = "git:" + beside(dir)
		case isGit || a == "":
			if err == nil {
				err = fmt.Errorf("anchor %d: %q is not a place; write FILE, git:DIR or a URL", i+1, a)
			}
		default:
			a = beside(strings.TrimPrefix(a, "file:"))
		}
		cfg.Anchors = append(cfg.Anchors, tiles.Anchor(a))
	}
	if err != nil {
		return cfg, &coded{Code: "bad_anchors", Text: fmt.Sprintf("%s: %v", path, err), Fix: `write "version: 1" and "anchors: [PLACE]", each a FILE, git:DIR or a URL, or remove it`, Path: path}
	}
	return cfg, nil
}

// readStateFile reads a YAML file of the state directory, whose version must be 1. there is false when there is none.
func readStateFile(path string, to any, version *int) (there bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	in := yaml.NewDecoder(bytes.NewReader(raw))
	in.KnownFields(true)
	if err := in.Decode(to); err != nil && !errors.Is(err, io.EOF) {
		return true, err
	}
	if *version != 1 {
		return true, fmt.Errorf("version is %d; this build reads version 1", *version)
	}
	return true, nil
}
