//lint:file-ignore SA1019 the namespace of a command is deprecated in the API and still obeyed by the server, so it is tested

package serverplugin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/api/adminservice/v1"
	"go.temporal.io/server/api/matchingservice/v1"
	"go.temporal.io/server/common/api"
	"go.temporal.io/server/common/authorization"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// fixture is an opened plugin over real parts.
type fixture struct {
	issuer *bailiwicktest.Issuer
	plugin *Plugin
	auth   *Authorizer
	cfg    Config
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{issuer: bailiwicktest.NewIssuer(t)}
	f.cfg = Config{
		Name: "test", Audience: "bailiwick:test",
		Issuers:   []identity.Issuer{{URL: f.issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "key.pem"),
	}
	if err := policy.WriteStarter(f.cfg.PolicyDir); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.plugin, err = Open(t.Context(), f.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.plugin.Close(); err != nil {
			t.Error(err)
		}
	})
	f.auth = NewAuthorizer(f.plugin.house.Gate(), slog.New(slog.DiscardHandler))
	return f
}

// entries are the recorded entries. Denials are recorded without waiting, so the caller says which one it needs to see.
func (f *fixture) entries(t *testing.T) []audit.Entry {
	t.Helper()
	return bailiwicktest.Entries(t, f.cfg.JournalDir)
}

// incoming is the context of a gRPC call with a token.
func incoming(t *testing.T, token string, more ...string) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs(append([]string{"authorization", "Bearer " + token}, more...)...))
}

func claimsFor(t *testing.T, header string) *authorization.Claims {
	t.Helper()
	c, err := ClaimMapper{}.GetClaims(&authorization.AuthInfo{AuthToken: header})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func target(method, namespace string, req any) *authorization.CallTarget {
	return &authorization.CallTarget{APIName: api.WorkflowServicePrefix + method, Namespace: namespace, Request: req}
}

func startRequest(namespace string) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{Namespace: namespace, WorkflowId: "w", WorkflowType: &commonpb.WorkflowType{Name: "T"}}
}

func TestCaller(t *testing.T) {
	f := newFixture(t)
	alice := f.issuer.User("alice@acme.example", "temporal:payments:write")
	claims := claimsFor(t, "Bearer "+alice)
	result, err := f.auth.Authorize(incoming(t, alice), claims, target("StartWorkflowExecution", "payments", startRequest("payments")))
	if err != nil || result.Decision != authorization.DecisionAllow {
		t.Fatalf("a writer's start: %+v, %v", result, err)
	}
	if result.Principal.GetType() != "user" || result.Principal.GetName() != "alice@acme.example" {
		t.Errorf("principal %v", result.Principal)
	}
	if claims.System != 0 || len(claims.Namespaces) != 0 {
		t.Errorf("claims carry roles of their own: %+v", claims)
	}
	// The same claims a second time are not another call's.
	if result, err := f.auth.Authorize(incoming(t, alice), claims, target("StartWorkflowExecution", "payments", startRequest("payments"))); err == nil || result.Decision == authorization.DecisionAllow {
		t.Errorf("a second admission on the same claims: %+v", result)
	}

	for name, c := range map[string]struct {
		ctx    context.Context
		claims *authorization.Claims
		target *authorization.CallTarget
		want   string
	}{
		"no claims":                 {incoming(t, alice), nil, target("GetSystemInfo", "", &workflowservice.GetSystemInfoRequest{}), "claims_missing"},
		"another mapper's claims":   {incoming(t, alice), &authorization.Claims{System: authorization.RoleAdmin}, target("GetSystemInfo", "", &workflowservice.GetSystemInfoRequest{}), "claims_foreign"},
		"our extension, other type": {incoming(t, alice), &authorization.Claims{AuthType: "jwt", Extensions: &call{authorization: newCredential("")}}, target("GetSystemInfo", "", &workflowservice.GetSystemInfoRequest{}), "claims_foreign"},
		"other namespace":           {incoming(t, alice), claimsFor(t, "Bearer "+alice), target("StartWorkflowExecution", "deploy", startRequest("deploy")), "no_permission"},
		"two tokens":                {metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+alice, "authorization", "Bearer "+alice)), claimsFor(t, "Bearer "+alice), target("StartWorkflowExecution", "payments", startRequest("payments")), "token_malformed"},
		"no token":                  {t.Context(), claimsFor(t, ""), target("GetSystemInfo", "", &workflowservice.GetSystemInfoRequest{}), "token_missing"},
		"two reasons":               {incoming(t, alice, "bailiwick-reason", "a", "bailiwick-reason", "b"), claimsFor(t, "Bearer "+alice), target("StartWorkflowExecution", "payments", startRequest("payments")), "bad_request"},
		"unknown method":            {incoming(t, alice), claimsFor(t, "Bearer "+alice), target("StartEverything", "payments", startRequest("payments")), "unknown_method"},
		"unknown service":           {incoming(t, alice), claimsFor(t, "Bearer "+alice), &authorization.CallTarget{APIName: "/evil.Service/StartWorkflowExecution", Namespace: "payments", Request: startRequest("payments")}, "unknown_method"},
		"nexus completion":          {incoming(t, alice), claimsFor(t, "Bearer "+alice), &authorization.CallTarget{APIName: api.NexusServicePrefix + "DispatchNexusTaskNot", Namespace: "payments", Request: startRequest("payments")}, "unknown_method"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := f.auth.Authorize(c.ctx, c.claims, c.target)
			text := result.Reason
			if err != nil {
				text = status.Convert(err).Message()
			}
			if result.Decision != authorization.DecisionDeny || !strings.HasPrefix(text, c.want) {
				t.Errorf("%+v, %v; want a denial with %s", result, err, c.want)
			}
			if status.Code(err) == codes.Unknown {
				t.Errorf("the error has no gRPC code: %v", err)
			}
		})
	}
}

// TestStreams shows that not even an administrator of everything gets a stream.
func TestStreams(t *testing.T) {
	f := newFixture(t)
	root := f.issuer.User("root@acme.example", "temporal:payments:admin")
	for _, method := range []string{
		adminservice.AdminService_StreamWorkflowReplicationMessages_FullMethodName,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", healthpb.Health_Watch_FullMethodName,
	} {
		for name, ctx := range map[string]context.Context{"nobody": t.Context(), "root": incoming(t, root)} {
			result, err := f.auth.Authorize(ctx, claimsFor(t, ""), &authorization.CallTarget{APIName: method})
			if err == nil || result.Decision != authorization.DecisionDeny {
				t.Errorf("%s opens %s: %+v", name, method, result)
			}
		}
	}
	result, err := f.auth.Authorize(internodeContext(t), &authorization.Claims{AuthType: "temporal", System: authorization.RoleAdmin},
		&authorization.CallTarget{APIName: adminservice.AdminService_StreamWorkflowReplicationMessages_FullMethodName})
	if err != nil || result.Decision != authorization.DecisionAllow {
		t.Errorf("Temporal's own stream: %+v, %v", result, err)
	}
}

// internodeContext is the context of a call whose peer proved itself by a certificate.
func internodeContext(t *testing.T) context.Context {
	return withTLS(t, tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}})
}

func withTLS(t *testing.T, state tls.ConnectionState) context.Context {
	return peer.NewContext(t.Context(), &peer.Peer{
		Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, AuthInfo: credentials.TLSInfo{State: state},
	})
}

func TestSystem(t *testing.T) {
	f := newFixture(t)
	internal := func() *authorization.Claims {
		c, err := authorization.NewInternalClaimMapper().GetClaims(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	req := startRequest("payments")
	for name, ctx := range map[string]context.Context{
		"no peer (HTTP)":                  t.Context(),
		"plaintext peer":                  peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{}}),
		"TLS without certificate":         withTLS(t, tls.ConnectionState{HandshakeComplete: true}),
		"certificate that is not checked": withTLS(t, tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}),
		"a user's token":                  incoming(t, f.issuer.User("alice@acme.example", "temporal:payments:write")),
	} {
		result, err := f.auth.Authorize(ctx, internal(), target("StartWorkflowExecution", "payments", req))
		if err == nil || result.Decision != authorization.DecisionDeny || !strings.HasPrefix(status.Convert(err).Message(), "internal_unproven") {
			t.Errorf("%s gets in as Temporal itself: %+v, %v", name, result, err)
		}
	}
	claims := internal()
	result, err := f.auth.Authorize(internodeContext(t), claims, target("StartWorkflowExecution", "payments", req))
	if err != nil || result.Decision != authorization.DecisionAllow || result.Principal.GetType() != "temporal" {
		t.Fatalf("Temporal's own call: %+v, %v", result, err)
	}
	if c, ok := claims.Extensions.(*call); !ok || c.admission == nil || !c.admission.System() {
		t.Error("the interceptor would not see the admission")
	}
	if _, err := f.auth.Authorize(internodeContext(t), internal(), &authorization.CallTarget{
		APIName: api.AdminServicePrefix + "AddOrUpdateRemoteCluster", Request: &adminservice.AddOrUpdateRemoteClusterRequest{},
	}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty address from inside: %v", err)
	}
}

func TestCrossNamespaceCommands(t *testing.T) {
	f := newFixture(t)
	const both = "temporal:payments:worker"
	task := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "payments", Commands: []*commandpb.Command{
		{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{
			StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{Namespace: "deploy", WorkflowId: "child-1", WorkflowType: &commonpb.WorkflowType{Name: "Child"}}}},
		{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{
			StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{Namespace: "deploy", WorkflowId: "child-2", WorkflowType: &commonpb.WorkflowType{Name: "Child"}}}},
		{CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{
			SignalExternalWorkflowExecutionCommandAttributes: &commandpb.SignalExternalWorkflowExecutionCommandAttributes{Namespace: "deploy", SignalName: "go", Execution: &commonpb.WorkflowExecution{WorkflowId: "other"}}}},
		{CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{
			RequestCancelExternalWorkflowExecutionCommandAttributes: &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{Namespace: "deploy", WorkflowId: "other"}}},
	}}
	ask := func(token, method string) (*call, authorization.Result, error) {
		claims := claimsFor(t, "Bearer "+token)
		if _, err := f.auth.Authorize(incoming(t, token), claims, target("RespondWorkflowTaskCompleted", "payments", task)); err != nil {
			t.Fatalf("the task itself: %v", err)
		}
		first := claims.Extensions.(*call).admission
		result, err := f.auth.Authorize(incoming(t, token), claims, target(method, "deploy", task))
		c := claims.Extensions.(*call)
		if c.admission != first || c.method != api.WorkflowServicePrefix+"RespondWorkflowTaskCompleted" {
			t.Errorf("%s replaced the task's own admission", method)
		}
		return c, result, err
	}
	narrow := f.issuer.User("narrow@acme.example", both)
	wide := f.issuer.User("wide@acme.example", both, "temporal:deploy:write")
	for _, method := range []string{"StartWorkflowExecution", "SignalWorkflowExecution", "RequestCancelWorkflowExecution"} {
		if _, result, err := ask(narrow, method); err == nil || result.Decision != authorization.DecisionDeny {
			t.Errorf("%s into a namespace without a role: %+v", method, result)
		}
		if _, result, err := ask(wide, method); err != nil || result.Decision != authorization.DecisionAllow {
			t.Errorf("%s with a role there: %v", method, err)
		}
	}
	if _, _, err := ask(wide, "TerminateWorkflowExecution"); err == nil {
		t.Error("an act that no command stands for was allowed")
	}
	if _, err := f.auth.Authorize(incoming(t, wide), claimsFor(t, "Bearer "+wide), target("StartWorkflowExecution", "deploy", task)); err == nil {
		t.Error("commands were decided without their task")
	}
	children := 0
	for _, e := range f.entries(t) {
		if e.Action == "StartWorkflowExecution" && e.Actor.Login == "wide@acme.example" && strings.HasPrefix(e.Resource.WorkflowID, "child-") && e.Resource.WorkflowType == "Child" && e.Resource.Namespace == "deploy" {
			children++
		}
	}
	if children != 2 {
		t.Errorf("%d children are recorded, want both", children)
	}
}

func TestNexusOverHTTP(t *testing.T) {
	f := newFixture(t)
	req := &matchingservice.DispatchNexusTaskRequest{Request: &nexuspb.Request{
		Header:  map[string]string{"bailiwick-reason": "by nexus"},
		Variant: &nexuspb.Request_StartOperation{StartOperation: &nexuspb.StartOperationRequest{Service: "s", Operation: "o"}},
	}}
	at := &authorization.CallTarget{APIName: api.NexusServicePrefix + "DispatchByEndpoint", Namespace: "payments", NexusEndpointName: "pay", Request: req}
	// The handler sets metadata of its own but no authorization; the header that the mapper saw counts.
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("client-name", "nexus"))
	alice := f.issuer.User("alice@acme.example", "temporal:payments:write")
	if result, err := f.auth.Authorize(ctx, claimsFor(t, "Bearer "+alice), at); err != nil || result.Decision != authorization.DecisionAllow {
		t.Errorf("a writer: %+v, %v", result, err)
	}
	result, err := f.auth.Authorize(ctx, claimsFor(t, "Bearer "+f.issuer.User("rita@acme.example", "temporal:payments:read")), at)
	if err != nil || result.Decision != authorization.DecisionDeny || !strings.HasPrefix(result.Reason, "no_permission") {
		t.Errorf("a reader's denial must be a reason, because the handler drops errors: %+v, %v", result, err)
	}
	last := f.entries(t)
	found := false
	for _, e := range last {
		found = found || e.Action == "StartNexusOperationExecution" && e.Resource.Endpoint == "pay" && e.Reason == "by nexus" && e.Resource.Namespace == "payments"
	}
	if !found {
		t.Error("the call is not recorded with its endpoint and reason")
	}
}

func TestHealthIsForTheAuthenticated(t *testing.T) {
	f := newFixture(t)
	check := &authorization.CallTarget{APIName: healthpb.Health_Check_FullMethodName, Request: &healthpb.HealthCheckRequest{}}
	if _, err := f.auth.Authorize(t.Context(), claimsFor(t, ""), check); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without token: %v", err)
	}
	erin := f.issuer.User("erin@acme.example") // no role anywhere
	if _, err := f.auth.Authorize(incoming(t, erin), claimsFor(t, "Bearer "+erin), check); err != nil {
		t.Errorf("with a token: %v", err)
	}
}

func TestRemoteClusterAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"temporal.example:7233": true, "127.0.0.1:7233": true, "[::1]:7233": true, "a-b_c.d:1": true,
		"": false, "host": false, ":1": false, "host:": false, "host:0": false, "host:65536": false, "host:+1": false, "dns:///x:1": false,
		"x%2f:1": false, "h st:1": false, "h\x00st:1": false, "[zz]:1": false, "[::1%25lo]:1": false, strings.Repeat("a", 254) + ":1": false,
	} {
		err := checkRemoteCluster(&operatorservice.AddOrUpdateRemoteClusterRequest{FrontendAddress: address})
		if (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := checkRemoteCluster(startRequest("payments")); err != nil {
		t.Errorf("another request: %v", err)
	}
}

// TestCredentialsHide prints claims in every way that a server might log them.
func TestCredentialsHide(t *testing.T) {
	claims := claimsFor(t, "Bearer secret-token")
	c := claims.Extensions.(*call)
	encoded, _ := json.Marshal(claims)
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "claims", claims, "call", *c)
	texts := []string{string(encoded), logged.String()}
	for _, verb := range []string{"%s", "%q", "%v", "%+v", "%#v", "%x", "%X", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, any(*c)), fmt.Sprintf(verb, any(claims)))
	}
	for _, text := range texts {
		if strings.Contains(text, "secret") || strings.Contains(strings.ToLower(text), "736563726574") {
			t.Errorf("the token shows in %s", text)
		}
	}
}

func TestInterceptor(t *testing.T) {
	f := newFixture(t)
	alice := f.issuer.User("alice@acme.example", "temporal:payments:write")
	i := NewInterceptor(f.plugin.house.Gate())
	req := startRequest("payments")
	info := &grpc.UnaryServerInfo{FullMethod: api.WorkflowServicePrefix + "StartWorkflowExecution"}
	reached := 0
	handler := func(context.Context, any) (any, error) {
		reached++
		return &workflowservice.StartWorkflowExecutionResponse{}, nil
	}
	with := func(claims *authorization.Claims) context.Context {
		return context.WithValue(t.Context(), authorization.MappedClaims, claims)
	}

	admitted := claimsFor(t, "Bearer "+alice)
	if _, err := f.auth.Authorize(incoming(t, alice), admitted, target("StartWorkflowExecution", "payments", req)); err != nil {
		t.Fatal(err)
	}
	for name, ctx := range map[string]context.Context{
		"no claims":                t.Context(),
		"nil claims":               with(nil),
		"foreign claims":           with(&authorization.Claims{System: authorization.RoleAdmin}),
		"never admitted":           with(claimsFor(t, "Bearer "+alice)),
		"internal, never admitted": with(&authorization.Claims{AuthType: "temporal", System: authorization.RoleAdmin}),
	} {
		if _, err := i.Intercept(ctx, req, info, handler); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := i.Intercept(with(admitted), req, &grpc.UnaryServerInfo{FullMethod: api.WorkflowServicePrefix + "TerminateWorkflowExecution"}, handler); status.Code(err) != codes.PermissionDenied {
		t.Errorf("admitted for another method: %v", err)
	}
	if reached != 0 {
		t.Fatalf("%d refused calls reached the handler", reached)
	}
	if _, err := i.Intercept(with(admitted), req, info, handler); err != nil || reached != 1 {
		t.Errorf("the admitted call: %v", err)
	}
	if len(req.GetHeader().GetFields()) != 1 {
		t.Errorf("the request carries %v", req.GetHeader())
	}
}
