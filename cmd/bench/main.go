// Command bench prints each figure that Bailiwick promises beside its baseline, both measured in this run, and writes them as JSON.
//
// It owns the list of figures and their goals. It refuses to be a test: a slow machine prints a miss and exits 0.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one figure. Ratio is value/baseline; Goal says what the ratio or the value should be.
type row struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"`
	Goal     string  `json:"goal"`
	Met      bool    `json:"met"`
}

func main() {
	out := flag.String("o", "build/bench.json", "file to write the figures to")
	quick := flag.Bool("quick", false, "measure for a tenth of the time (rough figures)")
	only := flag.String("only", "", "run one group: tokens, decisions, grants, revocation, attestations, journal, audit, server, evidence, rotation, directory")
	audits := registerAudit()
	flag.Parse()
	m := meter{rounds: 7, slice: 150 * time.Millisecond}
	if *quick {
		m = meter{rounds: 3, slice: 30 * time.Millisecond}
	}
	var rows []row
	for _, group := range []struct {
		name string
		run  func(meter) ([]row, error)
	}{{"tokens", tokens}, {"decisions", decisions}, {"grants", grants}, {"revocation", revocations}, {"attestations", attestations}, {"journal", journals}, {"audit", audits}, {"server", servers}, {"evidence", packs}, {"rotation", rotations}, {"directory", directories}} {
		if *only != "" && *only != group.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", group.name)
		more, err := group.run(m)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", group.name, err)
			os.Exit(1)
		}
		rows = append(rows, more...)
	}
	print(rows)
	if err := write(*out, rows); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func print(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tVALUE\tUNIT\tBASELINE\tRATIO\tGOAL\tMET")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%.4g\t%.3f\t%s\t%v\n", r.Name, r.Value, r.Unit, r.Baseline, r.Ratio, r.Goal, r.Met)
	}
	_ = w.Flush()
}

func write(path string, rows []row) error {
	raw, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the figures: %w", err)
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

// meter measures two functions in alternating slices of time, so that a neighbour's load falls on both.
type meter struct {
	rounds int
	slice  time.Duration
}

// compare returns the median time of one call of each, in microseconds. Each function runs n calls.
func (m meter) compare(ours, baseline func(n int)) (us, base float64) {
	ns, nb := m.calibrate(ours), m.calibrate(baseline)
	var a, b []float64
	for range m.rounds {
		a = append(a, timed(ours, ns))
		b = append(b, timed(baseline, nb))
	}
	return median(a), median(b)
}

// calibrate finds how many calls fill a slice, and warms up on the way.
func (m meter) calibrate(f func(n int)) int {
	for n := 1; ; n *= 2 {
		start := time.Now()
		f(n)
		if took := time.Since(start); took >= m.slice/2 || n >= 1<<24 {
			return max(1, int(float64(n)*float64(m.slice)/float64(took)))
		}
	}
}

func timed(f func(n int), n int) float64 {
	start := time.Now()
	f(n)
	return float64(time.Since(start).Nanoseconds()) / 1e3 / float64(n)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// atMost makes a row whose ratio should be at most goal; atLeast one whose ratio should be at least goal.
func atMost(name, unit string, value, baseline, goal float64) row {
	r := value / baseline
	return row{name, value, unit, baseline, r, fmt.Sprintf("ratio <= %g", goal), r <= goal}
}

func atLeast(name, unit string, value, baseline, goal float64) row {
	r := value / baseline
	return row{name, value, unit, baseline, r, fmt.Sprintf("ratio >= %g", goal), r >= goal}
}
