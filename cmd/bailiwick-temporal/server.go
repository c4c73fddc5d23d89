package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"

	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/serverplugin"
)

const (
	clusterName     = "active"
	historyShards   = 1 // cannot change once a database exists; one suits SQLite, which has one writer
	certificatePoll = time.Hour
)

// Server is a Temporal server with the gate mounted, and the web UI beside it.
type Server struct {
	cfg      Config
	logger   *slog.Logger
	plugin   *serverplugin.Plugin
	temporal []temporal.Server  // as they were started
	nexus    *nexusDoor         // nil without an HTTP port
	hangUp   func() error       // closes the gate's own connection to the server
	ui       *webUI             // nil without UI
	stop     context.CancelFunc // ends the certificate watcher and the UI's waiting
}

// StartServer starts everything, or leaves nothing running. Errors that a user can mend are *Failure. fatal is called, with an exit code,
// when the server finds itself unable to go on.
func StartServer(ctx context.Context, cfg Config, logger *slog.Logger, fatal func(int)) (*Server, error) {
	if err := prepareState(cfg.StateDir); err != nil {
		return nil, err
	}
	if err := requirePorts(cfg); err != nil {
		return nil, err
	}
	internal, err := pickInternalPorts(cfg.Host)
	if err != nil {
		return nil, err
	}
	nodes, err := openInternode(filepath.Join(cfg.StateDir, "tls"), time.Now)
	if err != nil {
		return nil, err
	}
	sql, err := openDatabase(cfg.StateDir, clusterName, cfg.Namespaces)
	if err != nil {
		return nil, err
	}
	runs, hangUp, err := dialInternal(net.JoinHostPort(cfg.Host, strconv.Itoa(internal.internalFrontend)), nodes)
	if err != nil {
		return nil, err
	}
	plugin, err := serverplugin.Open(ctx, serverplugin.Config{
		Name: cfg.Name, Audience: cfg.Audience, Issuers: cfg.issuers(), PolicyDir: cfg.PolicyDir, PolicyBundle: cfg.PolicyBundle, Standing: cfg.Standing,
		JournalDir: cfg.JournalDir, AttestationKey: cfg.AttestationKey, PrivacyDir: cfg.PrivacyDir, AdoptSchedules: cfg.AdoptSchedules, Runs: runs, Logger: logger,
	})
	if err != nil {
		return nil, pluginFailure(cfg, errors.Join(err, hangUp()))
	}

	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{cfg: cfg, logger: logger, plugin: plugin, hangUp: hangUp, stop: stop}
	for _, options := range layouts(cfg, internal, nodes, sql, serverLog{logger, fatal}) {
		server, err := temporal.NewServer(append(options, plugin.ServerOptions()...)...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("making the Temporal server: %w", err), s.Stop())
		}
		if err := server.Start(); err != nil {
			return nil, errors.Join(fmt.Errorf("starting the Temporal server: %w", err), s.Stop())
		}
		s.temporal = append(s.temporal, server)
	}
	if s.nexus, err = openNexusDoor(cfg, internal, nodes, plugin, logger); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := awaitListening(ctx, s.grpcAddress()); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	go nodes.watch(run, certificatePoll, logger)
	// Namespaces from before get the attributes, too. Runs are marked from then on; nothing waits for it.
	go registerAttributes(run, runs, cfg.Namespaces, logger)
	if cfg.UI.Enabled {
		s.ui = startUI(run, cfg, logger)
	}
	return s, nil
}

// layouts are the server without anybody to judge callers, as two servers in one process: the internal-frontend, and all other services.
//
// Temporal sends Nexus operations of workflows to the internal-frontend's HTTP port, which could tell nobody apart. So the internal-frontend
// itself is told of no HTTP port, and the services that send are told of the NexusDoor's.
func layouts(cfg Config, internal internalPorts, nodes *internode, sql *config.SQL, log serverLog) [][]temporal.ServerOption {
	layout := func(nexusPort int, services ...string) []temporal.ServerOption {
		return []temporal.ServerOption{
			temporal.WithConfig(serverConfig(cfg, internal, nexusPort, nodes, sql)), // options that make a claim mapper need it first
			temporal.ForServices(services),
			temporal.WithStaticHosts(hosts(cfg, internal)),
			temporal.WithLogger(log),
			temporal.WithDynamicConfigClient(dynamicSettings()),
		}
	}
	return [][]temporal.ServerOption{layout(0, string(primitives.InternalFrontendService)), layout(internal.nexus, temporal.DefaultServices...)}
}

// Stop ends the UI, the server and the gate, in this order: no call is decided after the last "stopped" entry.
func (s *Server) Stop() error {
	s.stop()
	if s.ui != nil {
		s.ui.stop()
	}
	var failed []error
	for _, server := range slices.Backward(s.temporal) {
		if err := server.Stop(); err != nil {
			failed = append(failed, fmt.Errorf("stopping the Temporal server: %w", err))
		}
	}
	if s.nexus != nil {
		failed = append(failed, s.nexus.close())
	}
	return errors.Join(append(failed, s.hangUp(), s.plugin.Close())...)
}

func (s *Server) grpcAddress() string {
	return net.JoinHostPort(s.cfg.Host, strconv.Itoa(s.cfg.GRPCPort))
}

// pluginFailure says which part of the gate could not be opened, and what to do.
func pluginFailure(cfg Config, err error) error {
	if _, ok := errors.AsType[*policy.LoadError](err); ok {
		return &Failure{Code: "policy_invalid", Detail: err.Error(), Fix: "correct the lines that are named; bailiwick policy check shows the same", Path: cfg.PolicyDir}
	}
	return &Failure{Code: "gate_failed", Detail: err.Error(), Fix: "the detail names the part and what it needs"}
}

// prepareState makes the state directory and proves that it can be written.
func prepareState(dir string) error {
	fail := func(err error) error {
		return &Failure{Code: "state_unwritable", Detail: fmt.Sprintf("state_dir: %v", err), Fix: "make the directory writable for this user, or choose another state_dir", Path: dir}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fail(err)
	}
	return nil
}

func requirePorts(cfg Config) error {
	if err := requirePort(cfg.Host, "grpc_port", cfg.GRPCPort); err != nil {
		return err
	}
	if cfg.HTTPPort != 0 {
		if err := requirePort(cfg.Host, "http_port", cfg.HTTPPort); err != nil {
			return err
		}
	}
	if cfg.UI.Enabled {
		return requirePort(cfg.Host, "ui_port", cfg.UIPort)
	}
	return nil
}

// serverConfig is the server's static configuration. Metrics and pprof are absent: their ports would answer anybody.
func serverConfig(cfg Config, ports internalPorts, nexusPort int, nodes *internode, sql *config.SQL) *config.Config {
	service := func(grpc, http int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: grpc, HTTPPort: http, BindOnIP: cfg.Host}}
	}
	frontend := service(cfg.GRPCPort, cfg.HTTPPort)
	frontend.RPC.HTTPAdditionalForwardedHeaders = []string{"Bailiwick-Reason", "Bailiwick-Grant"}
	return &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: cfg.Host},
			TLS: config.RootTLS{
				Internode: config.GroupTLS{
					Server: config.ServerTLS{CertFile: nodes.nodeFile, KeyFile: nodes.nodeFile, ClientCAFiles: []string{nodes.caFile}, RequireClientAuth: true},
					Client: config.ClientTLS{ServerName: internodeName, RootCAFiles: []string{nodes.caFile}},
				},
				RefreshInterval: certificatePoll,
			},
		},
		Persistence: config.Persistence{
			DefaultStore: sqliteplugin.PluginName, VisibilityStore: sqliteplugin.PluginName, NumHistoryShards: historyShards,
			DataStores: map[string]config.DataStore{sqliteplugin.PluginName: {SQL: sql}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
				Enabled: true, InitialFailoverVersion: 1, RPCAddress: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.GRPCPort)),
			}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			string(primitives.FrontendService):         frontend,
			string(primitives.InternalFrontendService): service(ports.internalFrontend, nexusPort),
			string(primitives.HistoryService):          service(ports.history, 0),
			string(primitives.MatchingService):         service(ports.matching, 0),
			string(primitives.WorkerService):           service(ports.worker, 0),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		// PublicClient stays empty: the server's own workers then use the internal-frontend.
	}
}

func hosts(cfg Config, ports internalPorts) map[primitives.ServiceName]static.Hosts {
	at := func(port int) static.Hosts {
		return static.SingleLocalHost(net.JoinHostPort(cfg.Host, strconv.Itoa(port)))
	}
	return map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService:         at(cfg.GRPCPort),
		primitives.InternalFrontendService: at(ports.internalFrontend),
		primitives.HistoryService:          at(ports.history),
		primitives.MatchingService:         at(ports.matching),
		primitives.WorkerService:           at(ports.worker),
	}
}

// dynamicSettings are the plugin's, and a few of a server to try things on.
func dynamicSettings() dynamicconfig.StaticClient {
	out := dynamicconfig.StaticClient{
		// Workflows may act on other namespaces: the gate decides there each command that does.
		dynamicconfig.EnableCrossNamespaceCommands.Key(): true,
		// Workflows can be paused.
		dynamicconfig.WorkflowPauseEnabled.Key(): true,
	}
	maps.Copy(out, serverplugin.DynamicConfig())
	return out
}

// awaitListening waits until the frontend accepts connections.
func awaitListening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the frontend to listen on %s: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
