package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// servers measures StartWorkflow on real servers of three kinds side by side: with the plugin, with Temporal's stock JWT authorizer, and with none.
// It is a Go benchmark of cmd/bailiwick-temporal, whose layout it shares; this reads the metrics that it prints.
func servers(meter) ([]row, error) {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkStartWorkflow$", "-benchtime", "1x", "github.com/bailiwick-dev/bailiwick/cmd/bailiwick-temporal")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running the server benchmark: %w\n%s%s", err, out, stderr.String())
	}
	figures := map[string]float64{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		// "BenchmarkStartWorkflow-2  1  123 ns/op  0.98 plugin/noauth": numbers, each followed by its unit.
		fields := strings.Fields(s.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("reading the server benchmark's line %q: %w", s.Text(), err)
			}
			figures[fields[i+1]] = v
		}
	}
	ours, none, stock := figures["plugin-starts/s"], figures["noauth-starts/s"], figures["jwt-starts/s"]
	cpu := figures["plugin-cpu-ms/start"]
	if ours == 0 || none == 0 || stock == 0 || cpu == 0 {
		return nil, fmt.Errorf("the server benchmark printed no figures:\n%s", out)
	}
	return []row{
		atLeast("StartWorkflow, 32 clients (baseline: no authorizer)", "starts/s", ours, none, 0.97),
		atLeast("StartWorkflow, 32 clients (baseline: stock JWT authorizer)", "starts/s", ours, stock, 0.97),
		// What else the machine does hits CPU time least.
		atMost("StartWorkflow, CPU time of a start (baseline: no authorizer)", "ms", cpu, figures["noauth-cpu-ms/start"], 1/0.97),
		atMost("StartWorkflow, CPU time of a start (baseline: stock JWT authorizer)", "ms", cpu, figures["jwt-cpu-ms/start"], 1/0.97),
	}, nil
}
