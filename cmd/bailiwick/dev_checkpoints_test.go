package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/audit/witness"
)

// With witnesses.yaml and anchors.yaml a development environment's checkpoints are cosigned and kept elsewhere, and with exports.yaml Prometheus
// reads how far behind each sink is.
func TestDevKeepsCheckpointsElsewhere(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	dir := t.TempDir()
	state, anchor := filepath.Join(dir, "state"), filepath.Join(dir, "kept")
	if err := os.MkdirAll(filepath.Join(state, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, key, err := tiles.LoadOrCreateKey(filepath.Join(state, "keys", "log.key"), "bailiwick.dev/dev")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := witness.LoadOrCreateKey(filepath.Join(dir, "witness.key"), "w1.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.New(witness.Config{Dir: filepath.Join(dir, "signed"), Signer: signer, Logs: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w)
	defer func() { server.Close(); _ = w.Close() }()
	for name, text := range map[string]string{
		"witnesses.yaml": "version: 1\nevery: 1s\nwitnesses: [{url: " + server.URL + ", key: " + signer.VerifierKey() + "}]\n",
		"anchors.yaml":   "version: 1\nevery: 100ms\nanchors: [" + anchor + "]\n",
		"exports.yaml":   "version: 1\nsinks: [{name: disk, type: file, file: {path: out.jsonl}}]\n",
	} {
		if err := os.WriteFile(filepath.Join(state, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := startDev(t, "--state", state, "--ports", "auto")
	r.await(t)
	cfg := tiles.VerifyConfig{Log: filepath.Join(state, "log"), VerifierKey: key, Witnesses: []string{signer.VerifierKey()}, Quorum: 1}
	eventually(t, "a checkpoint is cosigned", func() bool {
		report, err := tiles.Verify(t.Context(), cfg)
		return err == nil && report.OK() && len(report.Cosigned) == 1
	})
	eventually(t, "the cosigned checkpoint is anchored", func() bool {
		kept, err := tiles.ReadAnchor(t.Context(), tiles.AnchorConfig{}, tiles.Anchor(anchor))
		if err != nil || len(kept) == 0 || !strings.Contains(string(kept[len(kept)-1]), "\n\u2014 w1.example ") {
			return false
		}
		against := cfg
		against.Against = kept
		report, err := tiles.Verify(context.Background(), against)
		return err == nil && report.OK() && report.Against > 0
	})
	eventually(t, "the sink's lag is told", func() bool {
		raw, err := fetch(t.Context(), r.ready.Control+"/metrics")
		return err == nil && strings.Contains(string(raw), `bailiwick_export_behind_entries{sink="disk",type="file"}`)
	})
	if code := r.end(t); code != 0 {
		t.Errorf("%d: %s", code, r.errs.String())
	}
}

func TestCheckpointFiles(t *testing.T) {
	d := &devEnv{state: stateDir{dir: t.TempDir()}}
	if cfg, err := d.witnesses("key"); err != nil || len(cfg.Witnesses) != 0 {
		t.Errorf("without a file: %+v %v", cfg, err)
	}
	if cfg, err := d.anchors(); err != nil || len(cfg.Anchors) != 0 {
		t.Errorf("without a file: %+v %v", cfg, err)
	}
	signer, err := witness.LoadOrCreateKey(d.state.path("key"), "w1.example")
	if err != nil {
		t.Fatal(err)
	}
	good := "{url: http://w1.example, key: " + signer.VerifierKey() + "}"
	for text, want := range map[string]string{
		"": "version is 0", "version: 2\nwitnesses: [" + good + "]": "version is 2", "version: 1": "names 0 witnesses", "version: 1\ncolor: red": "color",
		"version: 1\nquorum: 2\nwitnesses: [" + good + "]": "of which 2", "version: 1\nevery: 1ms\nwitnesses: [" + good + "]": "a second is the least",
		"version: 1\nwitnesses: [{url: w1.example, key: k}]": "not a URL", "version: 1\nwitnesses: [{url: http://w1.example, key: k}]": "witness 1",
		"version: 1\nwitnesses: [" + good + ", " + good + "]": "named twice", "version: 1\nwitnesses: [" + good + "]": "",
	} {
		if err := os.WriteFile(d.state.path("witnesses.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := d.witnesses("key")
		told(t, text, err, "bad_witnesses", want)
		if want == "" && (len(cfg.Witnesses) != 1 || cfg.Key != "key") {
			t.Errorf("%q: %+v", text, cfg)
		}
	}
	for text, want := range map[string]string{
		"version: 1": "names no place", "version: 1\nanchors: ['git:']": "not a place", "version: 1\nevery: -1s\nanchors: [a]": "below zero", "anchors: [a]": "version is 0",
		"version: 1\nanchors: [a, 'git:b', 'file:/c', 'https://d']": "",
	} {
		if err := os.WriteFile(d.state.path("anchors.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := d.anchors()
		told(t, text, err, "bad_anchors", want)
		if want == "" {
			got := []string{string(cfg.Anchors[0]), string(cfg.Anchors[1]), string(cfg.Anchors[2]), string(cfg.Anchors[3])}
			if strings.Join(got, " ") != strings.Join([]string{d.state.path("a"), "git:" + d.state.path("b"), "/c", "https://d"}, " ") {
				t.Errorf("%v", got)
			}
		}
	}
}

// told checks that a file was refused with that code for that reason; "" means that it was not.
func told(t *testing.T, file string, err error, code, why string) {
	t.Helper()
	if why == "" {
		if err != nil {
			t.Errorf("%q: %v", file, err)
		}
		return
	}
	var c *coded
	if !errors.As(err, &c) || c.Code != code || !strings.Contains(c.Text, why) {
		t.Errorf("%q: %v, want %q", file, err, why)
	}
}
