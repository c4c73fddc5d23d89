package index

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// benchEntries is how large the index of the benchmarks is: BAILIWICK_INDEX_ENTRIES, else 50,000. With BAILIWICK_INDEX_FILE it is kept
// there, and not made again.
func benchIndex(b *testing.B) (*Index, int) {
	b.Helper()
	size := 50_000
	if s := os.Getenv("BAILIWICK_INDEX_ENTRIES"); s != "" {
		var err error
		if size, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	path := os.Getenv("BAILIWICK_INDEX_FILE")
	if path == "" {
		path = filepath.Join(b.TempDir(), "index.db")
	}
	x := opened(b, path)
	l := &log{size: size, forgetful: true}
	began := time.Now()
	n, err := x.Sync(b.Context(), l.source)
	if err != nil {
		b.Fatal(err)
	}
	if n > 0 {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("indexed %d entries in %v (making them included), %d bytes an entry", n, time.Since(began).Round(time.Millisecond), info.Size()/int64(size))
	}
	return x, size
}

func BenchmarkQuery(b *testing.B) {
	x, size := benchIndex(b)
	at := func(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }
	for name, f := range map[string]Filter{
		"newest":              {},
		"actor":               {Actor: []string{"person13@acme.example"}},
		"workflow":            {Workflow: []string{"order-77"}},
		"id":                  {ID: []string{generated(size / 3).ID}},
		"denied":              {Allow: yes(false)},
		"forbidden":           {Code: []string{"forbidden"}},
		"actor-denied-week":   {Actor: []string{"person13@acme.example"}, Allow: yes(false), From: at(size / 2), To: at(size/2 + 7*86400)},
		"agent-in-namespace":  {Agent: []string{"agent1"}, Namespace: []string{"ns3"}},
		"reason":              {Reason: "chg-17"},
		"grant":               {Grant: []string{"grant-8"}},
		"hour":                {From: at(size / 2), To: at(size/2 + 3600)},
		"dense-but-disjoint":  {Action: []string{"PollWorkflowTaskQueue"}, Allow: yes(false)},
		"not-work":            {NotAccess: []string{"work", "read"}},
		"key-use":             {KeyUse: []string{"key-0"}},
		"workflow-prefix":     {Workflow: []string{"order-77*"}},
		"source-and-operates": {Source: []string{"10.0.13.1"}, Access: []string{"operate"}},
	} {
		b.Run(name, func(b *testing.B) {
			f.Limit = 50
			var took []time.Duration
			rows := 0
			for b.Loop() {
				began := time.Now()
				found, _, err := x.Query(b.Context(), f)
				if err != nil {
					b.Fatal(err)
				}
				took, rows = append(took, time.Since(began)), len(found)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(rows), "rows")
		})
	}
}

func BenchmarkSync(b *testing.B) {
	l := &log{size: blockSize * 2}
	for i := range l.size {
		l.record(i)
	}
	for b.Loop() {
		x := opened(b, filepath.Join(b.TempDir(), "index.db"))
		if _, err := x.Sync(b.Context(), l.source); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*l.size)/b.Elapsed().Seconds(), "entries/s")
}
