package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/evidence"
	"github.com/bailiwick-dev/bailiwick/internal/evidence/evidencetest"
)

// packs measures the making and the checking of an evidence pack of a quarter of a million entries.
func packs(m meter) ([]row, error) {
	n := 250_000
	if m.rounds < 7 { // quick
		n = 25_000
	}
	dir, err := os.MkdirTemp("", "bailiwick-bench-evidence-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log, err := evidencetest.New(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	company := evidencetest.Fill(log, n)
	if err := log.Seal(); err != nil {
		return nil, err
	}
	cfg := evidence.Config{
		Settings: evidence.Settings{From: "2026-10-01", To: "2026-12-31", Framework: "soc2", Rules: evidence.DefaultRules()},
		Log:      os.DirFS(log.Dir), VerifierKey: log.VerifierKey,
		Texts: func(d string) ([]byte, error) {
			if raw, ok := company.Texts[d]; ok {
				return raw, nil
			}
			return nil, fs.ErrNotExist
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	peak := make(chan uint64, 1)
	go func() {
		var most uint64
		for ctx.Err() == nil {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			most = max(most, s.HeapInuse)
			time.Sleep(50 * time.Millisecond)
		}
		peak <- most
	}()
	began := time.Now()
	out := filepath.Join(dir, "pack")
	if _, err := evidence.Make(ctx, cfg, out); err != nil {
		return nil, err
	}
	made := time.Since(began).Seconds()
	began = time.Now()
	v, err := evidence.Verify(ctx, evidence.VerifyConfig{Pack: os.DirFS(out), VerifierKey: log.VerifierKey})
	if err != nil {
		return nil, err
	}
	if !v.OK() {
		return nil, fmt.Errorf("the pack does not verify: %v", v.Problems[0])
	}
	checked := time.Since(began).Seconds()
	stop()
	name := fmt.Sprintf("evidence pack of %d entries", n)
	limit := 60 * float64(n) / 250_000
	return []row{
		{Name: name, Value: made, Unit: "s", Baseline: limit, Ratio: made / limit, Goal: "under a minute for 250000", Met: made < limit},
		{Name: name + ", checked", Value: checked, Unit: "s", Baseline: limit, Ratio: checked / limit, Goal: "under a minute for 250000", Met: checked < limit},
		{Name: name + ", heap", Value: float64(<-peak) / 1e6, Unit: "MB", Baseline: 0, Goal: "bounded", Met: true},
	}, nil
}
