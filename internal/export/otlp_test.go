package export

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // as a collector has it
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// take checks a request's records and counts them.
func take(t *testing.T, got *counted, req *collector.ExportLogsServiceRequest) {
	for _, rl := range req.GetResourceLogs() {
		if a := rl.GetResource().GetAttributes(); len(a) != 1 || a[0].GetKey() != "service.name" || a[0].GetValue().GetStringValue() != "bailiwick" {
			t.Errorf("resource %v", a)
		}
		for _, sl := range rl.GetScopeLogs() {
			for _, r := range sl.GetLogRecords() {
				index := indexOf(t, []byte(r.GetBody().GetStringValue()))
				attrs := map[string]string{}
				for _, kv := range r.GetAttributes() {
					attrs[kv.GetKey()] = kv.GetValue().GetStringValue()
					if kv.GetKey() == "bailiwick.index" && kv.GetValue().GetIntValue() != int64(index) {
						t.Errorf("index %v", kv)
					}
				}
				want := decision(int(index), index%5 != 4)
				severity, outcome := logs.SeverityNumber_SEVERITY_NUMBER_INFO, "allow"
				if !want.Decision.Allow {
					severity, outcome = logs.SeverityNumber_SEVERITY_NUMBER_WARN, "deny"
				}
				if r.GetTimeUnixNano() != uint64(want.Time.UnixNano()) || r.GetSeverityNumber() != severity || attrs["bailiwick.outcome"] != outcome || attrs["bailiwick.id"] != want.ID ||
					attrs["user.name"] != "alice@acme.example" || r.GetEventName() != "bailiwick.decision" {
					t.Errorf("record %v", r)
				}
				got.add(index)
			}
		}
	}
}

func TestOTLPOverHTTP(t *testing.T) {
	t.Parallel()
	var got counted
	var calls atomic.Int64
	a := newAuthority(t, "127.0.0.1")
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var req collector.ExportLogsServiceRequest
		if err == nil {
			err = proto.Unmarshal(raw, &req)
		}
		if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Authorization") != "Bearer tok" || r.Header.Get("X-Tenant") != "acme" {
			t.Errorf("%v %v", err, r.Header)
		}
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		take(t, &got, &req)
		answer := &collector.ExportLogsServiceResponse{}
		if calls.Load() == 3 {
			answer.PartialSuccess = &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "too odd"}
		}
		raw, _ = proto.Marshal(answer)
		_, _ = w.Write(raw)
	}))
	ts.TLS = serverTLS(a)
	ts.StartTLS()
	defer ts.Close()
	log := newMemoryLog(t, decisions(50)...)
	cfg := config(t, SinkConfig{Type: "otlp", Batch: BatchConfig{Entries: 20}, OTLP: &OTLPConfig{Endpoint: ts.URL + "/v1/logs", TokenFile: secretFile(t, "tok"), Headers: map[string]string{"X-Tenant": "acme"}, TLS: TLSConfig{CAFile: a.file}}})
	r := start(t, cfg, Options{Log: log})
	until(t, "all entries", func() bool { return r.status(t).Next == 50 })
	// The second batch was rejected in part: the protocol forbids to send it again, so all of it waits for `audit export retry`.
	s := r.status(t)
	if got.len() != 50 || got.most() != 1 || s.Dead != 20 || s.Delivered != 30 {
		t.Errorf("%d entries, %+v", got.len(), s)
	}
	if report, err := Retry(t.Context(), cfg, "sink", Options{Log: log}); err != nil || report.Sent != 20 || report.Dead != 0 {
		t.Errorf("%+v %v", report, err)
	}

	// Without the authority the collector is not trusted, and nothing is sent.
	sent := calls.Load()
	s2, err := newOTLPSink(OTLPConfig{Endpoint: ts.URL, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := s2.Send(t.Context(), []Message{{Body: []byte("{}")}}); err == nil || !strings.Contains(err.Error(), "certificate") || calls.Load() != sent {
		t.Errorf("an unknown authority: %v", err)
	}
}

// collectorServer is a collector over gRPC.
type collectorServer struct {
	collector.UnimplementedLogsServiceServer
	t     *testing.T
	got   counted
	calls atomic.Int64
}

func (c *collectorServer) Export(ctx context.Context, req *collector.ExportLogsServiceRequest) (*collector.ExportLogsServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("authorization"); len(v) != 1 || v[0] != "Bearer tok" {
		return nil, status.Error(codes.Unauthenticated, "who?")
	}
	switch c.calls.Add(1) {
	case 1:
		return nil, status.Error(codes.Unavailable, "not yet")
	case 2:
		st, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(600 * time.Millisecond)})
		if err != nil {
			c.t.Error(err)
		}
		return nil, st.Err()
	}
	records := req.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()
	for _, r := range records {
		if strings.Contains(r.GetBody().GetStringValue(), `"pay-7"`) {
			return nil, status.Error(codes.InvalidArgument, "no sevens")
		}
	}
	take(c.t, &c.got, req)
	return &collector.ExportLogsServiceResponse{}, nil
}

func TestOTLPOverGRPC(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "localhost")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collectorServer{t: t}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(serverTLS(a))))
	collector.RegisterLogsServiceServer(srv, c)
	go func() { _ = srv.Serve(l) }()
	defer srv.Stop()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cfg := config(t, SinkConfig{Type: "otlp", Format: FormatNative, OTLP: &OTLPConfig{Endpoint: "localhost:" + port, Protocol: "grpc", Gzip: true, TokenFile: secretFile(t, "tok"), TLS: TLSConfig{CAFile: a.file}}})
	r := start(t, cfg, Options{Log: newMemoryLog(t, decisions(30)...)})
	until(t, "all entries", func() bool { return r.status(t).Next == 30 })
	if c.got.len() != 29 || c.got.most() != 1 || r.status(t).Dead != 1 {
		t.Errorf("%d entries, %+v", c.got.len(), r.status(t))
	}
	dead, err := state(cfg.State).buried("sink")
	if err != nil || len(dead) != 1 || dead[0].Index != 7 || dead[0].Code != "grpc_InvalidArgument" {
		t.Errorf("%+v %v", dead, err)
	}
	// A wrong token is for the operator to mend.
	s, err := newOTLPGRPCSink(OTLPConfig{Endpoint: "localhost:" + port, Timeout: 5 * time.Second, TLS: TLSConfig{CAFile: a.file}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(t.Context(), []Message{{Body: []byte("{}")}}); err == nil || !strings.Contains(err.Error(), "operator") {
		t.Errorf("without a token: %v", err)
	}
}
