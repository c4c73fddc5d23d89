package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// dialInternal connects to the internal-frontend as one of the server's own services, for the gate to look up runs. It touches no network
// until the first look-up, so that the gate can be made before the server.
func dialInternal(address string, nodes *internode) (gate.Resolver, func() error, error) {
	ca, err := os.ReadFile(nodes.caFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the internode CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, nil, fmt.Errorf("reading the internode CA: %s holds no certificate", nodes.caFile)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: internodeName, RootCAs: roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(nodes.nodeFile, nodes.nodeFile) // read anew for each connection: it is renewed while the server runs
			return &pair, err
		},
	})))
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the internal frontend: %w", err)
	}
	return gate.Frontend{Client: workflowservice.NewWorkflowServiceClient(conn)}, conn.Close, nil
}
