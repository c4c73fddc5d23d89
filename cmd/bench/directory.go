package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/directory/orgsource"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

const (
	directoryLimit  = 600  // requests a minute for each family, an org's usual limit for lists
	directoryShare  = 0.25 // that the sync may use of it
	directoryMemory = 64.0 // MiB of heap in use that the sync may add at most
)

// directories measures a first sync of 100,000 people and 5,000 groups. The org's rate limit runs on a clock that waiting moves, so that the minutes
// that the limit takes are counted and not waited for; requests, pages and databases are real.
func directories(m meter) ([]row, error) {
	crowd := devorg.Crowd{People: 100_000, Groups: 5_000, Each: 8}
	if m.rounds < 7 {
		crowd = devorg.Crowd{People: 10_000, Groups: 500, Each: 8}
	}
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var ahead atomic.Int64 // of the clock, ns
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String()
	org, err := devorg.Open(context.Background(), devorg.Config{
		DB: filepath.Join(dir, "org.db"), BaseURL: base, Clock: clock, RateLimits: map[string]int{"users": directoryLimit, "groups": directoryLimit, "logs": directoryLimit},
	})
	if err != nil {
		return nil, err
	}
	defer org.Close()
	if err := org.Fill(context.Background(), crowd); err != nil {
		return nil, err
	}
	server.Config.Handler = org.Handler()
	server.Start()
	defer server.Close()
	client, err := okta.New(okta.Config{
		URL: base, Credentials: okta.APIToken(devorg.APIToken), Share: directoryShare, MaxWait: time.Hour, Clock: clock,
		Sleep: func(ctx context.Context, d time.Duration) error { ahead.Add(int64(d)); return ctx.Err() },
	})
	if err != nil {
		return nil, err
	}
	d, err := directory.Open(context.Background(), directory.Config{File: filepath.Join(dir, "directory.db"), Source: orgsource.Source{Client: client}, Clock: clock})
	if err != nil {
		return nil, err
	}
	defer d.Close()

	runtime.GC()
	peak := watchHeap()
	began, virtual := time.Now(), clock()
	if err := d.Sync(context.Background()); err != nil {
		return nil, err
	}
	worked, took := time.Since(began), clock().Sub(virtual)
	heap := peak()
	s, err := d.Status(context.Background())
	if err != nil {
		return nil, err
	}
	if s.Users < int64(crowd.People) || s.Groups < int64(crowd.Groups) || s.Memberships < int64(crowd.People*crowd.Each) {
		return nil, fmt.Errorf("the copy is not whole: %+v", s)
	}
	sent, most := 0, 0
	for _, u := range client.Usage() {
		sent, most = sent+u.Sent, max(most, u.Most)
	}
	began = time.Now()
	if err := d.Sync(context.Background()); err != nil {
		return nil, err
	}
	again := time.Since(began)
	allowed := float64(directoryLimit) * directoryShare
	// What can't be avoided: pages of 200 people and of 1,000 groups, one request for each group, and those of the members of Everyone.
	least := float64(crowd.People)/200 + float64(crowd.Groups)/1000 + float64(crowd.Groups) + float64(crowd.People)/1000
	size := fmt.Sprintf("directory sync, %d people, %d groups, %d memberships: ", s.Users, s.Groups, s.Memberships)
	return []row{
		{size + "requests (baseline: pages and groups)", float64(sent), "requests", least, float64(sent) / least, "ratio <= 1.05", float64(sent)/least <= 1.05},
		{fmt.Sprintf("%smost in one minute of a limit of %d (baseline: its share)", size, directoryLimit), float64(most), "requests", allowed, float64(most) / allowed, "ratio <= 1", float64(most) <= allowed},
		{size + "minutes that the limit takes (baseline: at the whole share)", took.Minutes(), "min", least / allowed, took.Minutes() / (least / allowed), "ratio <= 1.2", took.Minutes()/(least/allowed) <= 1.2},
		{size + "work of org and client in that time (baseline: that time)", worked.Seconds(), "s", took.Seconds(), worked.Seconds() / took.Seconds(), "ratio <= 0.25", worked.Seconds() <= 0.25*took.Seconds()},
		{size + "peak of heap, org and client in one process (limit)", heap, "MiB", directoryMemory, heap / directoryMemory, "ratio <= 1", heap <= directoryMemory},
		{size + "when nothing changed (baseline: the full sync's work)", again.Seconds() * 1000, "ms", worked.Seconds() * 1000, again.Seconds() / worked.Seconds(), "ratio <= 0.05", again.Seconds() <= 0.05*worked.Seconds()},
	}, nil
}

// watchHeap looks at the heap every 20 ms; the function that it returns ends that and tells the largest that was in use, in MiB.
func watchHeap() (peak func() float64) {
	stop, done := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		most := 0.0
		for {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			most = max(most, float64(s.HeapInuse)/(1<<20))
			select {
			case <-stop:
				done <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 { close(stop); return <-done }
}
