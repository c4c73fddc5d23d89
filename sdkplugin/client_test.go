package sdkplugin_test

import (
	"context"
	"errors"
	"go/build"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// frontend is a Temporal frontend that remembers the metadata of starts.
type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer
	mu   sync.Mutex
	seen []metadata.MD
}

func (f *frontend) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func (f *frontend) StartWorkflowExecution(ctx context.Context, _ *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, md)
	return &workflowservice.StartWorkflowExecutionResponse{RunId: "r"}, nil
}

func (f *frontend) last() metadata.MD {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[len(f.seen)-1]
}

// serve runs the frontend on a loopback port without TLS.
func serve(t *testing.T) (*frontend, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, s := &frontend{}, grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(s, f)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return f, l.Addr().String()
}

type ownHeaders struct{}

func (ownHeaders) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"x-trace": "t1"}, nil
}

func TestCallsCarryTokenReasonAndGrant(t *testing.T) {
	f, addr := serve(t)
	p := newPlugin(t, sdkplugin.Options{Credentials: sdkplugin.StaticToken("secret-token")})
	c, err := client.Dial(client.Options{HostPort: addr, Plugins: []client.Plugin{p}, HeadersProvider: ownHeaders{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := func(ctx context.Context) metadata.MD {
		t.Helper()
		if _, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "q"}, "w"); err != nil {
			t.Fatal(err)
		}
		return f.last()
	}
	check := func(md metadata.MD, want map[string]string) {
		t.Helper()
		for _, key := range []string{"authorization", "bailiwick-reason", "bailiwick-reason-bin", "bailiwick-grant", "bailiwick-grant-bin", "x-trace"} {
			values := md.Get(key)
			if want[key] == "" && len(values) != 0 || want[key] != "" && (len(values) != 1 || values[0] != want[key]) {
				t.Errorf("%s is %q, want %q", key, values, want[key])
			}
		}
	}
	check(start(t.Context()), map[string]string{"authorization": "Bearer secret-token", "x-trace": "t1"})
	ctx := sdkplugin.WithGrant(sdkplugin.WithReason(t.Context(), "CHG-7: release"), "g-1")
	check(start(ctx), map[string]string{"authorization": "Bearer secret-token", "x-trace": "t1", "bailiwick-reason": "CHG-7: release", "bailiwick-grant": "g-1"})
	check(start(sdkplugin.WithReason(t.Context(), "Änderung für Kürşat")), map[string]string{
		"authorization": "Bearer secret-token", "x-trace": "t1", "bailiwick-reason-bin": "Änderung für Kürşat",
	})
	if _, err := c.ExecuteWorkflow(sdkplugin.WithReason(t.Context(), "a\xff"), client.StartWorkflowOptions{TaskQueue: "q"}, "w"); err == nil {
		t.Error("a reason in invalid UTF-8 was sent")
	}
}

func TestCredentialFailuresReachTheCaller(t *testing.T) {
	_, addr := serve(t)
	refused := &sdkplugin.RefusedError{Endpoint: "issuer.example", Code: "invalid_client", Hint: "check the key"}
	p := newPlugin(t, sdkplugin.Options{Credentials: sdkplugin.TokenFunc(func(context.Context) (string, error) { return "", refused })})
	_, err := client.Dial(client.Options{HostPort: addr, Plugins: []client.Plugin{p}})
	if err == nil || !strings.Contains(err.Error(), "invalid_client") || !strings.Contains(err.Error(), "check the key") {
		t.Errorf("error %v", err)
	}
	var denied *serviceerror.PermissionDenied
	if errors.As(err, &denied) {
		t.Error("a credential failure looks like the server's denial")
	}
}

func TestPlaintextRule(t *testing.T) {
	configure := func(o sdkplugin.Options, c client.Options) (client.Options, error) {
		o.Credentials = sdkplugin.StaticToken("t")
		err := newPlugin(t, o).ConfigureClient(t.Context(), client.PluginConfigureClientOptions{ClientOptions: &c})
		return c, err
	}
	plain := client.ConnectionOptions{TLSDisabled: true}
	for _, host := range []string{"", "127.0.0.1:7233", "localhost:7233", "[::1]:7233", "dns:///localhost:7233", "127.9.9.9:1", "unix:/tmp/s"} {
		if c, err := configure(sdkplugin.Options{}, client.Options{HostPort: host}); err != nil || !c.ConnectionOptions.TLSDisabled {
			t.Errorf("%q: plaintext is not the default: %v", host, err)
		}
	}
	for _, host := range []string{"temporal.example:7233", "10.0.0.1:7233", "localhost.example:7233", "dns:///temporal.example:7233", "xds:///localhost", "127.0.0.1.example:1", "localhost"} {
		local := host == "localhost"
		c, err := configure(sdkplugin.Options{}, client.Options{HostPort: host})
		if err != nil || c.ConnectionOptions.TLSDisabled != local {
			t.Errorf("%q: TLS disabled %v, %v", host, c.ConnectionOptions.TLSDisabled, err)
		}
		if _, err := configure(sdkplugin.Options{}, client.Options{HostPort: host, ConnectionOptions: plain}); (err == nil) != local {
			t.Errorf("%q: plaintext asked for: %v", host, err)
		}
		if _, err := configure(sdkplugin.Options{AllowPlaintext: true}, client.Options{HostPort: host, ConnectionOptions: plain}); err != nil {
			t.Errorf("%q: plaintext insisted on: %v", host, err)
		}
	}
	if _, err := configure(sdkplugin.Options{}, client.Options{Credentials: client.NewAPIKeyStaticCredentials("x")}); err == nil {
		t.Error("two credentials were taken")
	}
}

// A worker that links this package must not link a Temporal server, a policy engine or a database.
func TestImportsStayLight(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(pkg.Imports) == 0 {
		t.Fatal("no imports found")
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := string(out)
	if !strings.Contains(deps, "go.temporal.io/sdk/worker\n") {
		t.Fatalf("the list lacks the SDK:\n%s", deps)
	}
	for dep := range strings.Lines(deps) {
		for _, heavy := range []string{"go.temporal.io/server", "cedar-go", "modernc.org/", "tessera", "bailiwick/policy", "bailiwick/gate", "bailiwick/audit"} {
			if strings.Contains(dep, heavy) {
				t.Errorf("it links %s", strings.TrimSpace(dep))
			}
		}
	}
}
