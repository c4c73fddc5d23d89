package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/serverplugin"
)

// registerAttributes adds to the namespaces what they lack of the search attributes that the gate sets.
func registerAttributes(ctx context.Context, runs gate.Frontend, namespaces []string, logger *slog.Logger) {
	for _, name := range namespaces {
		if err := serverplugin.RegisterSearchAttributes(ctx, runs.Operator, name); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "runs of a namespace are not marked with who started them; their memo says it", "namespace", name, "error", err)
		}
	}
}

// dialInternal connects to the internal-frontend as one of the server's own services, for the gate to look up runs. It touches no network
// until the first look-up, so that the gate can be made before the server.
func dialInternal(address string, nodes *internode) (runs gate.Frontend, hangUp func() error, err error) {
	ca, err := os.ReadFile(nodes.caFile)
	if err != nil {
		return runs, nil, fmt.Errorf("reading the internode CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return runs, nil, fmt.Errorf("reading the internode CA: %s holds no certificate", nodes.caFile)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: internodeName, RootCAs: roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(nodes.nodeFile, nodes.nodeFile) // read anew for each connection: it is renewed while the server runs
			return &pair, err
		},
	})))
	if err != nil {
		return runs, nil, fmt.Errorf("connecting to the internal frontend: %w", err)
	}
	return gate.Frontend{Client: workflowservice.NewWorkflowServiceClient(conn), Operator: operatorservice.NewOperatorServiceClient(conn)}, conn.Close, nil
}
