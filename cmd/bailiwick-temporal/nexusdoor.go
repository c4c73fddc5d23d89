package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/bailiwick-dev/bailiwick/serverplugin"
)

// nexusDoor is where Temporal's own services send the Nexus operations of workflows. It takes only callers with an internode certificate.
type nexusDoor struct {
	port   int
	server *http.Server
}

// openNexusDoor listens. Without an HTTP port there is nowhere to pass operations on to, and workflows can't call Nexus endpoints.
func openNexusDoor(cfg Config, ports internalPorts, nodes *internode, plugin *serverplugin.Plugin, logger *slog.Logger) (*nexusDoor, error) {
	if cfg.HTTPPort == 0 {
		return nil, nil
	}
	fail := func(err error) (*nexusDoor, error) { return nil, fmt.Errorf("opening the Nexus door: %w", err) }
	ca, err := os.ReadFile(nodes.caFile)
	if err != nil {
		return fail(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fail(errors.New("the internode CA holds no certificate"))
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(ports.nexus)))
	if err != nil {
		return fail(err)
	}
	frontend := &url.URL{Scheme: "http", Host: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.HTTPPort))}
	d := &nexusDoor{ports.nexus, &http.Server{
		Handler: plugin.NexusDoor(frontend), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 1 << 20,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{"h2", "http/1.1"},
			// Read for each handshake: renewals replace the file.
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				c, err := tls.LoadX509KeyPair(nodes.nodeFile, nodes.nodeFile)
				return &c, err
			},
		},
	}}
	go func() {
		if err := d.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the Nexus door failed", "error", err)
		}
	}()
	return d, nil
}

// close cuts what is under way: Temporal has stopped, so nobody waits for it.
func (d *nexusDoor) close() error { return d.server.Close() }
