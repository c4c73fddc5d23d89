package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
)

const (
	benchClients = 32
	benchServers = 2 // of each kind: two alike differ by up to a tenth, for all their life
	benchRounds  = 12
	benchSlice   = time.Second
)

// contender is one server under load, and how many starts a second it did in each round.
type contender struct {
	name    string
	clients []workflowservice.WorkflowServiceClient
	headers metadata.MD
	serial  atomic.Int64
	rates   []float64
	costs   []float64 // milliseconds of this process's CPU time for each start, its clients included
}

// BenchmarkStartWorkflow compares StartWorkflow on three kinds of server of the same layout in this process: without an authorizer, with
// Temporal's stock JWT claim mapper and authorizer, and with the plugin. They take turns of a second, so that what else the machine does hits
// all. It reports starts a second (the median of the rounds), the median of each round's ratio, and the same of the CPU time that a start costs,
// which a busy machine distorts least; and the ratio of two servers alike, which says how far to trust the others.
func BenchmarkStartWorkflow(b *testing.B) {
	issuer := bailiwicktest.NewIssuer(b)
	token := issuer.Token(map[string]any{
		"sub": "alice@acme.example", "uid": "00utestalice", "groups": []string{"temporal:payments:write"}, "permissions": []string{"payments:write"},
	})
	bearer := metadata.Pairs("authorization", "Bearer "+token)
	build := map[string]func() *contender{
		"noauth": func() *contender { return benchServer(b, issuer, "noauth", metadata.MD{}, nil) },
		"jwt": func() *contender {
			return benchServer(b, issuer, "jwt", bearer, func() []temporal.ServerOption {
				auth := &config.Authorization{JWTKeyProvider: config.JWTKeyProvider{KeySourceURIs: []string{issuer.URL + "/v1/keys"}, RefreshInterval: time.Hour}}
				return []temporal.ServerOption{
					temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
						return authorization.NewDefaultJWTClaimMapper(authorization.NewDefaultTokenKeyProvider(auth, log.NewNoopLogger()), auth, log.NewNoopLogger())
					}),
					temporal.WithAuthorizer(authorization.NewDefaultAuthorizer()),
				}
			})
		},
		"plugin": func() *contender {
			cfg := testConfig(b, issuer)
			cfg.UI.Enabled = false
			server, err := StartServer(b.Context(), cfg, slog.New(slog.DiscardHandler), func(int) {})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = server.Stop() })
			return newContender(b, "plugin", server.grpcAddress(), bearer)
		},
	}
	kinds := []string{"noauth", "jwt", "plugin"}
	var all []*contender
	of := map[string][]*contender{}
	for range benchServers {
		for _, kind := range kinds {
			c := build[kind]()
			all, of[kind] = append(all, c), append(of[kind], c)
		}
		slices.Reverse(kinds) // none is always built first
	}
	for _, c := range all {
		_, _ = c.load(b, benchSlice) // warm up: caches, pools, the first token
	}
	b.ResetTimer()
	for range b.N {
		for range benchRounds {
			for _, i := range rand.Perm(len(all)) { // not a fixed order: each would always follow the same one
				c := all[i]
				settle(b)
				rate, cost := c.load(b, benchSlice)
				c.rates, c.costs = append(c.rates, rate), append(c.costs, cost)
			}
		}
	}
	b.StopTimer()
	for _, c := range all {
		b.Logf("%-7s %.0f starts/s, %.2f ms of CPU each; rounds %.0f", c.name, median(c.rates), median(c.costs), c.rates)
	}
	rates, costs := func(c *contender) []float64 { return c.rates }, func(c *contender) []float64 { return c.costs }
	for kind, cs := range of {
		b.ReportMetric(median(mean(cs, rates)), kind+"-starts/s")
		b.ReportMetric(median(mean(cs, costs)), kind+"-cpu-ms/start")
		b.ReportMetric(ratio(cs[0].rates, cs[1].rates), kind+"/"+kind) // what chance alone does
	}
	for _, kind := range []string{"noauth", "jwt"} {
		b.ReportMetric(ratio(mean(of["plugin"], rates), mean(of[kind], rates)), "plugin/"+kind)
		b.ReportMetric(ratio(mean(of["plugin"], costs), mean(of[kind], costs)), "plugin/"+kind+"-cpu")
	}
}

// mean is what the servers of one kind did on the average in each round.
func mean(cs []*contender, of func(*contender) []float64) []float64 {
	out := make([]float64, len(of(cs[0])))
	for _, c := range cs {
		for i, v := range of(c) {
			out[i] += v / float64(len(cs))
		}
	}
	return out
}

// settle waits until the servers have done what the starts so far left behind, so that no contender pays for the one before it.
func settle(b *testing.B) {
	b.Helper()
	for range 30 {
		used := cpuTime(b)
		time.Sleep(100 * time.Millisecond)
		if cpuTime(b)-used < 15*time.Millisecond {
			return
		}
	}
}

// benchServer starts a server of the layout that StartServer has, with another authorizer or none.
func benchServer(b *testing.B, issuer *bailiwicktest.Issuer, name string, headers metadata.MD, authorizer func() []temporal.ServerOption) *contender {
	b.Helper()
	cfg := testConfig(b, issuer)
	if err := prepareState(cfg.StateDir); err != nil {
		b.Fatal(err)
	}
	internal, err := pickInternalPorts(cfg.Host)
	if err != nil {
		b.Fatal(err)
	}
	nodes, err := openInternode(filepath.Join(cfg.StateDir, "tls"), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	sql, err := openDatabase(cfg.StateDir, clusterName, cfg.Namespaces)
	if err != nil {
		b.Fatal(err)
	}
	for _, options := range layouts(cfg, internal, nodes, sql, serverLog{slog.New(slog.DiscardHandler), func(int) {}}) {
		if authorizer != nil {
			options = append(options, authorizer()...)
		}
		server, err := temporal.NewServer(options...)
		if err != nil {
			b.Fatal(err)
		}
		if err := server.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = server.Stop() })
	}
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.GRPCPort))
	if err := awaitListening(b.Context(), address); err != nil {
		b.Fatal(err)
	}
	return newContender(b, name, address, headers)
}

func newContender(b *testing.B, name, address string, headers metadata.MD) *contender {
	b.Helper()
	c := &contender{name: name, headers: headers}
	for range benchClients {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		c.clients = append(c.clients, workflowservice.NewWorkflowServiceClient(conn))
	}
	return c
}

// load starts workflows with every client for a while. It returns how many were started a second, and the CPU time of each in milliseconds.
func (c *contender) load(b *testing.B, d time.Duration) (rate, cost float64) {
	b.Helper()
	ctx := metadata.NewOutgoingContext(b.Context(), c.headers)
	var done atomic.Int64
	var failed atomic.Pointer[error]
	began, used := time.Now(), cpuTime(b)
	until := began.Add(d)
	var group sync.WaitGroup
	for _, client := range c.clients {
		group.Go(func() {
			for time.Now().Before(until) {
				if err := c.start(ctx, client); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		b.Fatalf("%s: %v", c.name, *err)
	}
	n := float64(done.Load())
	return n / time.Since(began).Seconds(), float64((cpuTime(b) - used).Microseconds()) / 1000 / n
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (c *contender) start(ctx context.Context, client workflowservice.WorkflowServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	id := fmt.Sprintf("bench-%d", c.serial.Add(1))
	_, err := client.StartWorkflowExecution(ctx, start("payments", id, "Hello"))
	return err
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// ratio is the median over the rounds: what slows the machine for a whole round falls out.
func ratio(a, b []float64) float64 {
	var each []float64
	for i := range a {
		each = append(each, a[i]/b[i])
	}
	return median(each)
}
