package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	_ "go.temporal.io/server/api/adminservice/v1"
	_ "go.temporal.io/server/api/historyservice/v1"
	_ "go.temporal.io/server/api/matchingservice/v1"
	tokenspb "go.temporal.io/server/api/token/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// public is what may answer a stranger: prefixes of paths by the role of the port, with the reason. Everything else that answers with 2xx
// is a hole.
var public = map[string]map[string]string{
	"org": {
		"/.well-known/":        "discovery is public (OpenID Connect Discovery)",
		"/oauth2/":             "discovery, keys and login pages are public",
		"/":                    "the org's front page",
		"/login":               "the login page",
		"/activate":            "the page for device codes",
		"/oauth2/v1/authorize": "the login page",
	},
	"control": {
		"/.well-known/bailiwick/keys": "attestation keys are public",
		"/log/checkpoint":             "checkpoints are for everybody to compare; they name nobody",
		"/healthz":                    "health says nothing but that it lives",
		"/metrics":                    "how far behind exports are, by sink; it names no person, run or namespace",
	},
	"ui": {
		"/":                "the UI's page and its code; its API is not among them",
		"/auth/sso":        "sends to the login page",
		"/healthz":         "health says nothing but that it lives",
		"/api/v1/settings": "how to sign in",
	},
}

// probes are paths that known servers answer at, and those of our own.
var probes = []string{
	"/", "/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/vars", "/health", "/healthz", "/status", "/stats", "/config", "/env",
	"/api/v1/namespaces", "/api/v1/namespaces/deploy", "/api/v1/namespaces/deploy/workflows", "/api/v1/namespaces/deploy/workflows/any", "/api/v1/cluster-info", "/api/v1/system-info",
	"/api/v1/settings", "/namespaces", "/cluster/namespaces", "/api/v1/nexus/endpoints", "/nexus/endpoints/5a62e4e3-0f43-4d4c-a39a-e6e8c6f4a3b1/services/y/z",
	"/api/v1/users", "/api/v1/users/00ucarol000000000001", "/api/v1/groups", "/api/v1/apps", "/api/v1/logs", "/api/v1/authorizationServers", "/api/v1/authorizationServers/default/credentials/keys",
	"/oauth2/v1/userinfo", "/oauth2/default/v1/userinfo", "/oauth2/v1/clients",
	"/.well-known/bailiwick/keys", "/.well-known/openid-configuration", "/log", "/log/checkpoint", "/checkpoint", "/tile/0/000", "/journal", "/audit", "/api/audit", "/keys", "/.git/config", "/attestation.pem",
}

// TestEveryPortRefusesStrangers walks every listening TCP port of the whole process tree without a token.
func TestEveryPortRefusesStrangers(t *testing.T) {
	needsProc(t)
	d := shared(t)
	methods := grpcMethods(t, namespaceID(t, d))
	if len(methods) < 300 {
		t.Fatalf("only %d gRPC methods are known, so this walk would prove little", len(methods))
	}
	roles := map[int]string{d.ports.org: "org", d.ports.control: "control", d.ports.grpc: "frontend gRPC", d.ports.http: "frontend HTTP", d.ports.ui: "ui"}
	var table strings.Builder
	fmt.Fprintf(&table, "%-22s %-20s %-14s %s\n", "address", "process", "role", "what a stranger gets")
	open := listeners(d.tree())
	seen := map[int]bool{}
	for _, l := range open {
		seen[l.port] = true
		role := roles[l.port]
		if role == "" {
			role = "internal"
		}
		if l.address != "127.0.0.1" {
			t.Errorf("port %d of %s listens on %s, not on loopback only", l.port, l.owner.name, l.address)
		}
		var verdicts []string
		for _, secure := range []bool{false, true} {
			verdicts = append(verdicts, walkGRPC(t, l, role, methods, secure), walkHTTP(t, l, role, secure))
		}
		if role == "internal" {
			// It must have turned us away for lack of a certificate, and not for being something that this test does not speak to.
			if err := handshake(l.port); err == nil || !strings.Contains(err.Error(), "certificate required") {
				t.Errorf("port %d (%s) does not ask for a client certificate: %v", l.port, l.owner.name, err)
			}
			verdicts = append(verdicts, "tls: client certificate required")
		}
		fmt.Fprintf(&table, "%-22s %-20s %-14s %s\n", fmt.Sprintf("%s:%d", l.address, l.port), l.owner.name, role, strings.Join(slices.DeleteFunc(verdicts, func(s string) bool { return s == "" }), "; "))
	}
	for port, role := range roles {
		if !seen[port] {
			t.Errorf("nothing listens on port %d (%s), so the walk missed it", port, role)
		}
	}
	t.Logf("\n%s", &table)
	if err := os.MkdirAll(filepath.Join(root, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "build", "open-ports.txt"), []byte(table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// method is a gRPC method and a request for it that is as good as any, so that nothing but the missing token can be wrong with it.
type method struct {
	name    string
	request []byte
}

// grpcMethods are all methods of Temporal's services, and some that gRPC servers often add. Requests name the namespace "deploy", or its id,
// or hold a task token of it.
func grpcMethods(t *testing.T, namespaceID string) []method {
	out := []method{{name: "/grpc.health.v1.Health/Watch"}, {name: "/grpc.health.v1.Health/Check"}, {name: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
		{name: "/grpc.channelz.v1.Channelz/GetServers"}, {name: "/no.such.Service/Method"}}
	token, err := proto.Marshal(&tokenspb.Task{NamespaceId: namespaceID}) // the other kinds of task token have the id in the same field
	if err != nil {
		t.Fatal(err)
	}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			if !strings.HasPrefix(string(s.FullName()), "temporal.") {
				continue
			}
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				req := dynamicpb.NewMessage(m.Input())
				for name, value := range map[protoreflect.Name]protoreflect.Value{"namespace": protoreflect.ValueOfString("deploy"),
					"namespace_id": protoreflect.ValueOfString(namespaceID), "task_token": protoreflect.ValueOfBytes(token)} {
					if field := m.Input().Fields().ByName(name); field != nil && !field.IsList() && (field.Kind() == protoreflect.StringKind || field.Kind() == protoreflect.BytesKind) {
						if field.Kind() == protoreflect.BytesKind == (name == "task_token") {
							req.Set(field, value)
						}
					}
				}
				raw, err := proto.Marshal(req)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, method{fmt.Sprintf("/%s/%s", s.FullName(), m.Name()), raw})
			}
		}
		return true
	})
	return out
}

// namespaceID asks for the id of namespace "deploy" as someone who may.
func namespaceID(t *testing.T, d *dev) string {
	c := sdkClient(t, d, d.user(t, "carol@acme.example").token(t), "deploy")
	defer c.Close()
	res, err := c.WorkflowService().DescribeNamespace(patience(t), &workflowservice.DescribeNamespaceRequest{Namespace: "deploy"})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetNamespaceInfo().GetId()
}

// plain passes bytes as they are.
type plain struct{}

func (plain) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (plain) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (plain) Name() string                       { return "proto" }

// walkGRPC calls every method and sums up the answers; an answer other than a refusal fails the test.
func walkGRPC(t *testing.T, l listener, role string, methods []method, secure bool) string {
	creds, label := insecure.NewCredentials(), "grpc"
	if secure {
		creds, label = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), "grpc+tls" // a stranger does not mind whom it talks to
	}
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", l.port), grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	count := map[codes.Code]int{}
	for _, m := range methods {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var reply []byte
		err := conn.Invoke(ctx, m.name, &m.request, &reply)
		cancel()
		code := status.Code(err)
		count[code]++
		switch code {
		case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		case codes.Unavailable: // no gRPC here, or not with us
			if len(count) == 1 && count[code] == 2 {
				return ""
			}
		default:
			t.Errorf("port %d (%s, %s): %s without a token answers %v %q", l.port, role, label, m.name, code, status.Convert(err).Message())
		}
	}
	return label + ": " + sum(count)
}

// handshake makes a TLS connection without a client certificate and reads the server's answer to that.
func handshake(port int) error {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes after the client has finished
	return err
}

func sum[K comparable](count map[K]int) string {
	var parts []string
	for k, n := range count {
		parts = append(parts, fmt.Sprintf("%v×%d", k, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// walkHTTP asks for every probe, by GET and POST, and fails the test for an answer that is neither a refusal nor public.
func walkHTTP(t *testing.T, l listener, role string, secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	c := &http.Client{
		Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // as above
	}
	defer c.CloseIdleConnections()
	count := map[string]int{}
	paths := slices.Clone(probes)
	for prefix := range public[role] {
		paths = append(paths, prefix)
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "POST"} {
			req, err := http.NewRequest(method, fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, l.port, path), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := c.Do(req)
			if err != nil {
				if len(count) == 0 {
					return "" // it does not speak HTTP, or not with us
				}
				continue
			}
			body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what of it came is judged
			res.Body.Close()
			count[fmt.Sprint(res.StatusCode)]++
			secrets.expectNone(t, fmt.Sprintf("port %d's answer to %s %s", l.port, method, path), body)
			switch {
			case slices.Contains([]int{400, 401, 403, 404, 405, 415, 501}, res.StatusCode): // 501: the HTTP API's word for a wrong method
			case res.StatusCode >= 300 && res.StatusCode < 400 && toLogin(res.Header.Get("Location")):
			case mayAnswer(role, path, res, body):
			default:
				t.Errorf("port %d (%s): %s %s without a token answers %s: %.200s", l.port, role, method, path, res.Status, body)
			}
		}
	}
	return scheme + ": " + sum(count)
}

func toLogin(location string) bool {
	return strings.Contains(location, "/login") || strings.Contains(location, "/authorize") || strings.Contains(location, "/auth/sso") || strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//")
}

// mayAnswer reports whether the answer is one of the public ones. The UI gives its page, which holds no data, for any path it does not know.
func mayAnswer(role, path string, res *http.Response, body []byte) bool {
	path, _, _ = strings.Cut(path, "?")
	for prefix := range public[role] {
		if path == prefix || strings.HasSuffix(prefix, "/") && prefix != "/" && strings.HasPrefix(path, prefix) {
			return res.StatusCode < 500
		}
	}
	return role == "ui" && !strings.HasPrefix(path, "/api/v1/") && strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") && strings.Contains(string(body), "<html")
}
