package export

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// otlpGRPCSink sends log records to a collector over gRPC: TLS, or plain text on loopback when no certificate authority is named.
type otlpGRPCSink struct {
	cfg  OTLPConfig
	conn *grpc.ClientConn
	to   collector.LogsServiceClient
}

func newOTLPGRPCSink(cfg OTLPConfig) (*otlpGRPCSink, error) {
	host, _, err := net.SplitHostPort(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("reading the collector's address: %w", err)
	}
	var with credentials.TransportCredentials
	if netaddr.Loopback(host) && cfg.TLS == (TLSConfig{}) {
		with = insecure.NewCredentials()
	} else {
		tlsConfig, err := cfg.TLS.config(host)
		if err != nil {
			return nil, err
		}
		with = credentials.NewTLS(tlsConfig)
	}
	dial := dialer(host, cfg.Timeout)
	conn, err := grpc.NewClient("passthrough:///"+cfg.Endpoint, grpc.WithTransportCredentials(with), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return dial.DialContext(ctx, "tcp", to) }))
	if err != nil {
		return nil, fmt.Errorf("making a connection to the collector: %w", err)
	}
	return &otlpGRPCSink{cfg: cfg, conn: conn, to: collector.NewLogsServiceClient(conn)}, nil
}

// Send implements Sink.
func (s *otlpGRPCSink) Send(ctx context.Context, batch []Message) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	for k, v := range s.cfg.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(k), v)
	}
	token, err := readSecret(s.cfg.TokenFile)
	if err != nil {
		return err
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	var options []grpc.CallOption
	if s.cfg.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	answer, err := s.to.Export(ctx, otlpRequest(batch, time.Now()), options...)
	if err != nil {
		return judgeStatus(err)
	}
	return otlpAnswer(answer, len(batch))
}

// judgeStatus follows the table of retryable codes in the OTLP specification.
func judgeStatus(err error) error {
	st := status.Convert(err)
	text := clip(st.Message())
	if st.Code() == codes.ResourceExhausted && strings.Contains(text, "larger than max") { // gRPC's own limit on messages: a half may fit
		return &batchRefused{Code: "grpc_" + st.Code().String(), Text: text}
	}
	switch st.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss, codes.ResourceExhausted, codes.Unknown, codes.Internal:
		failed := fmt.Errorf("the collector answered %v: %s", st.Code(), text)
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() > 0 {
				return &later{after: info.GetRetryDelay().AsDuration(), err: failed}
			}
		}
		return failed
	case codes.InvalidArgument, codes.FailedPrecondition:
		return &batchRefused{Code: "grpc_" + st.Code().String(), Text: text}
	}
	return fmt.Errorf("the collector answered %v: %s: %w", st.Code(), text, errHold)
}

// Close implements Sink.
func (s *otlpGRPCSink) Close() error {
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("closing the connection to the collector: %w", err)
	}
	return nil
}
