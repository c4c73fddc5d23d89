package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/api/adminservice/v1"
	"go.temporal.io/server/api/historyservice/v1"
	"go.temporal.io/server/api/matchingservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// services are all that any port of the process might serve.
var services = []grpc.ServiceDesc{
	workflowservice.WorkflowService_ServiceDesc, operatorservice.OperatorService_ServiceDesc, adminservice.AdminService_ServiceDesc,
	historyservice.HistoryService_ServiceDesc, matchingservice.MatchingService_ServiceDesc,
	healthpb.Health_ServiceDesc, reflectionpb.ServerReflection_ServiceDesc, reflectionalpha.ServerReflection_ServiceDesc,
	{ServiceName: "temporal.server.chasm.lib.scheduler.proto.v1.SchedulerService", Methods: []grpc.MethodDesc{{MethodName: "CreateSchedule"}}},
	{ServiceName: "bailiwick.no.such.Service", Methods: []grpc.MethodDesc{{MethodName: "Call"}}},
}

// withValues is a context that sends these authorization values.
func withValues(t *testing.T, authorization []string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	for _, v := range authorization {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
	}
	return ctx
}

// testDoors walks every port on which this process listens, without a token, and gets in nowhere.
func (e *environment) testDoors(t *testing.T) {
	select {
	case <-e.server.ui.ready:
	case <-time.After(10 * time.Second):
		t.Fatalf("the UI does not run\n%s", e.log.tail())
	}
	_, issuerPort, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimSuffix(e.issuer.URL, "/oauth2/default"), "http://"))
	listening := listeners(t)
	t.Logf("this process listens on %v (the test issuer is %s)", listening, issuerPort)
	for _, want := range []int{e.cfg.GRPCPort, e.cfg.HTTPPort, e.cfg.UIPort} {
		if !slices.ContainsFunc(listening, func(a string) bool { return strings.HasSuffix(a, ":"+strconv.Itoa(want)) }) {
			t.Errorf("port %d is not among the listeners, so that the walk proves nothing", want)
		}
	}
	walked := 0
	for _, address := range listening {
		host, port, _ := net.SplitHostPort(address)
		if ip := net.ParseIP(host); !ip.IsLoopback() {
			t.Errorf("%s is open beyond loopback", address)
		}
		if port == issuerPort {
			continue
		}
		walked++
		if e.named(port) == "internal" {
			t.Run("grpc with the internode certificate", func(t *testing.T) { e.proveInternal(t, address) })
			t.Run("grpc with a stranger's certificate", func(t *testing.T) { e.strangeCertificate(t, address) })
		}
		t.Run("grpc "+e.named(port), func(t *testing.T) {
			walkGRPC(t, address, insecure.NewCredentials())
		})
		t.Run("grpc over TLS without certificate "+e.named(port), func(t *testing.T) {
			walkGRPC(t, address, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}))
		})
		for _, scheme := range []string{"http", "https"} {
			t.Run(scheme+" "+e.named(port), func(t *testing.T) { e.walkHTTP(t, scheme, address) })
		}
	}
	// frontend gRPC and HTTP, UI, internal-frontend, Nexus door, history, matching, worker
	if walked != 8 {
		t.Errorf("walked %d ports, want 8: a port came or went", walked)
	}
}

// proveInternal shows that the door is one, and that the right key opens it: otherwise the walk would prove nothing.
func (e *environment) proveInternal(t *testing.T, address string) {
	node := filepath.Join(e.cfg.StateDir, "tls", "node.pem")
	if err := knock(t, address, node, filepath.Join(e.cfg.StateDir, "tls", "ca.pem")); err != nil {
		t.Errorf("the internode certificate does not open %s: %v", address, err)
	}
}

func (e *environment) strangeCertificate(t *testing.T, address string) {
	other, err := openInternode(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := knock(t, address, other.nodeFile, filepath.Join(e.cfg.StateDir, "tls", "ca.pem")); status.Code(err) != codes.Unavailable {
		t.Errorf("a certificate of another CA: %v", err)
	}
}

// knock asks for any service's health and reports only whether the call got through the door.
func knock(t *testing.T, address, certificate, ca string) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: internodeName,
	})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "any"})
	if code := status.Code(err); code == codes.NotFound || code == codes.OK {
		return nil // an answer of the service itself
	}
	return err
}

func (e *environment) named(port string) string {
	switch port {
	case strconv.Itoa(e.cfg.GRPCPort):
		return "frontend"
	case strconv.Itoa(e.cfg.HTTPPort):
		return "http api"
	case strconv.Itoa(e.cfg.UIPort):
		return "ui"
	case strconv.Itoa(e.server.nexus.port):
		return "nexus door"
	}
	return "internal"
}

// walkGRPC calls every method of every service with an empty request.
func walkGRPC(t *testing.T, address string, transport credentials.TransportCredentials) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	seen := map[codes.Code]int{}
	for _, service := range services {
		for _, m := range service.Methods {
			method := "/" + service.ServiceName + "/" + m.MethodName
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
			cancel()
			seen[status.Code(err)]++
			if !shut(err) {
				t.Errorf("%s answered %v", method, err)
			}
		}
		for _, s := range service.Streams {
			method := "/" + service.ServiceName + "/" + s.StreamName
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			stream, err := conn.NewStream(ctx, &s, method)
			if err == nil {
				_ = stream.SendMsg(&emptypb.Empty{})
				_ = stream.CloseSend()
				err = stream.RecvMsg(&emptypb.Empty{})
			}
			cancel()
			seen[status.Code(err)]++
			if !shut(err) {
				t.Errorf("stream %s answered %v", method, err)
			}
		}
	}
	t.Logf("answers: %v", seen)
}

// shut reports whether an answer shows a closed door: refused by the gate, or nothing there, or no TLS handshake.
func shut(err error) bool {
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unauthenticated, codes.PermissionDenied:
		return true
	case codes.Unavailable:
		return true // the transport: a refused handshake, or a port that does not speak HTTP/2
	case codes.Unimplemented:
		return strings.HasPrefix(st.Message(), "unknown service") || strings.HasPrefix(st.Message(), "unknown method") ||
			strings.Contains(st.Message(), "unexpected HTTP status code")
	case codes.InvalidArgument:
		// The server checks that a task token is there, and that a namespace's name is not too long, before it authorizes. Neither tells
		// anything about what the server holds.
		return st.Message() == "Task token not set on request." || st.Message() == "Namespace length exceeds limit."
	}
	return false
}

// open are the only pages that may answer 200 to anybody. They are the same on every installation.
var open = map[string]string{
	"GET /swagger.json":    "the API's published description",
	"GET /openapi.yaml":    "the API's published description",
	"GET /healthz":         "the UI server's liveness",
	"GET /":                "the UI's static page, which asks to sign in",
	"GET /api/v1/settings": "how to sign in",
}

func (e *environment) walkHTTP(t *testing.T, scheme, address string) {
	client := &http.Client{
		Timeout:       5 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: false},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	// The UI asks for its CSRF token before it looks at anything else. Anybody can get one, so the walk does.
	csrf := &http.Cookie{}
	if resp, err := client.Get(scheme + "://" + address + "/"); err == nil {
		resp.Body.Close()
		for _, c := range resp.Cookies() {
			if c.Name == "_csrf" {
				csrf = c
			}
		}
	}
	answers := map[string]int{}
	for _, door := range e.routes(t) {
		method, path, _ := strings.Cut(door, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, scheme+"://"+address+path, bytes.NewReader([]byte("{}")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if csrf.Value != "" {
			req.AddCookie(csrf)
			req.Header.Set("X-CSRF-TOKEN", csrf.Value)
		}
		resp, err := client.Do(req)
		if err != nil {
			answers["no HTTP"]++
			continue // not a page: a gRPC port, or a TLS handshake that failed
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		answers[strconv.Itoa(resp.StatusCode)]++
		switch {
		case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		case scheme == "http" && resp.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "an HTTP request to an HTTPS server"):
			// the Nexus door's port, which speaks TLS only
		case open[door] != "" && resp.StatusCode == http.StatusOK:
		case method == "GET" && resp.StatusCode == http.StatusOK && bytes.Contains(body, []byte("<!doctype html>")):
			// the UI's static page answers for any path that is not the API's
		default:
			t.Errorf("%s answered %d: %.200s", door, resp.StatusCode, body)
		}
	}
	t.Logf("answers: %v", answers)
}

// routes are all routes of the HTTP API, taken from its own description, and whatever else a Temporal process may serve.
func (e *environment) routes(t *testing.T) []string {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/swagger.json", e.cfg.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	out := []string{
		"GET /", "GET /healthz", "GET /swagger.json", "GET /openapi.yaml", "GET /metrics", "GET /debug/pprof/", "GET /debug/vars", "GET /debug/pprof/heap",
		"GET /api/v1/settings", "GET /api/v1/namespaces", "GET /api/v1/cluster-info", "GET /api/v1/system-info", "GET /api/v1/me",
		"POST /nexus/endpoints/00000000-0000-0000-0000-000000000000/services/s/o", "POST /namespaces/payments/task-queues/greetings/nexus-services/s/o",
	}
	for path, methods := range doc.Paths {
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + "payments" + after
		}
		for method := range methods {
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	if len(out) < 100 {
		t.Fatalf("the API's description lists only %d routes", len(out))
	}
	slices.Sort(out)
	return out
}

// listeners are the addresses on which this process accepts TCP connections, from the kernel's own tables.
func listeners(t *testing.T) []string {
	t.Helper()
	mine := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	for _, fd := range fds {
		if link, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(link, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	var out []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue // no IPv6
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != "0A" || !mine[fields[9]] { // 0A = LISTEN
				continue
			}
			out = append(out, kernelAddress(t, fields[1]))
		}
		f.Close()
	}
	slices.Sort(out)
	return out
}

// kernelAddress turns "0100007F:1C41" (each 32-bit word in host order, here little-endian) into 127.0.0.1:7233.
func kernelAddress(t *testing.T, s string) string {
	t.Helper()
	hexIP, hexPort, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(hexPort, 16, 16)
	if err != nil {
		t.Fatalf("parsing %q: %v", s, err)
	}
	var ip net.IP
	for i := 0; i+8 <= len(hexIP); i += 8 {
		word, err := strconv.ParseUint(hexIP[i:i+8], 16, 32)
		if err != nil {
			t.Fatalf("parsing %q: %v", s, err)
		}
		ip = append(ip, byte(word), byte(word>>8), byte(word>>16), byte(word>>24))
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
}

// testRemoteCluster sends the addresses that end an unprotected server.
func (e *environment) testRemoteCluster(t *testing.T) {
	root := e.issuer.User("root@acme.example", "platform")
	roles := filepath.Join(e.cfg.PolicyDir, "roles.yaml")
	before, err := os.ReadFile(roles)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(before, []byte("groups: []"), []byte("groups:\n  - name: platform\n    roles: { \"*\": admin }"), 1)
	if err := os.WriteFile(roles, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(roles, before, 0o600) })
	conn, err := grpc.NewClient(e.server.grpcAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	operator := operatorservice.NewOperatorServiceClient(conn)
	ctx := as(t, root)
	deadline := time.Now().Add(10 * time.Second)
	for { // until the policy counts
		_, err := operator.ListClusters(ctx, &operatorservice.ListClustersRequest{})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the administrator is not let in: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, address := range []string{"", "nowhere", ":7233", "host:", "host:0", "host:99999", "a/b:1", "x%zz:1", "::1:7233", "[::1]"} {
		_, err := operator.AddOrUpdateRemoteCluster(ctx, &operatorservice.AddOrUpdateRemoteClusterRequest{FrontendAddress: address})
		if st := status.Convert(err); st.Code() != codes.InvalidArgument || !strings.HasPrefix(st.Message(), "remote_cluster_address") {
			t.Errorf("address %q: %v", address, err)
		}
	}
	if _, err := adminservice.NewAdminServiceClient(conn).AddOrUpdateRemoteCluster(ctx, &adminservice.AddOrUpdateRemoteClusterRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("through the admin service: %v", err)
	}
	// An administrator may use streams of other services no more than anybody else.
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
	if err == nil {
		_ = stream.CloseSend()
		err = stream.RecvMsg(&emptypb.Empty{})
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("reflection: %v", err)
	}
	if resp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "temporal.api.workflowservice.v1.WorkflowService"}); err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health with a token: %v, %v", resp, err)
	}
}
