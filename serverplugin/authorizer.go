package serverplugin

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/api"
	"go.temporal.io/server/common/authorization"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// Admitter is the part of a gate that the Authorizer uses; gate.Gate is one.
type Admitter interface {
	Admit(context.Context, gate.Call) (*gate.Admission, error)
	AdmitSystem(context.Context, gate.Call) (*gate.Admission, error)
}

// Authorizer asks the gate about each call. It fails closed: claims that it does not recognise are refused.
type Authorizer struct {
	gate   Admitter
	logger *slog.Logger
	proof  proof // nil: no Nexus call counts as Temporal's own
}

// NewAuthorizer mounts a gate as a Temporal authorizer.
func NewAuthorizer(g Admitter, logger *slog.Logger) *Authorizer {
	return &Authorizer{gate: g, logger: logger}
}

var denied = authorization.Result{Decision: authorization.DecisionDeny}

// Authorize decides one call. A refusal is a gRPC status error that carries the gate's reason code, what is missing and what to do next;
// for Nexus over HTTP, whose handler drops errors, the same text is the result's reason.
//
// The server calls it once per call, and again with the same claims for each command that targets another namespace.
func (a *Authorizer) Authorize(ctx context.Context, claims *authorization.Claims, target *authorization.CallTarget) (authorization.Result, error) {
	if claims == nil || target == nil {
		return denied, refuse("claims_missing", "the server passed no claims; mount serverplugin.ClaimMapper and serverplugin.Authorizer together")
	}
	if claims.AuthType == authorization.InternalPrincipalType {
		return a.system(ctx, claims, target)
	}
	c, ok := claims.Extensions.(*call)
	if !ok || claims.AuthType != authType {
		return denied, refuse("claims_foreign", "the claims were made by another claim mapper; mount serverplugin.ClaimMapper")
	}
	return a.caller(ctx, c, target)
}

// caller decides a call from outside.
func (a *Authorizer) caller(ctx context.Context, c *call, target *authorization.CallTarget) (authorization.Result, error) {
	if crossing(target) {
		return a.cross(ctx, c, target)
	}
	if a.internalNexus(c, target) {
		return a.nexus(ctx, target)
	}
	req := a.callOf(ctx, c, target)
	if alias, ok := aliases[target.APIName]; ok {
		alias(&req, target)
	}
	admission, err := a.gate.Admit(ctx, req)
	if err != nil {
		return refusal(target, err)
	}
	if target.Request == nil {
		return denied, refuse("stream_denied", "streams are for Temporal's own clusters") // callOf makes streams unknown to every policy; this line does not rely on it
	}
	if err := checkRemoteCluster(target.Request); err != nil {
		return denied, err
	}
	if c.admission != nil {
		return denied, refuse("admitted_twice", "the server asked twice about one call")
	}
	c.method, c.admission = target.APIName, admission
	typ, name := admission.Principal()
	return authorization.Result{Decision: authorization.DecisionAllow, Principal: &commonpb.Principal{Type: typ, Name: name}}, nil
}

// cross decides the commands of a workflow task that target another namespace, each as the call that it stands for. The admission of the
// task itself stays what the interceptor will see.
func (a *Authorizer) cross(ctx context.Context, c *call, target *authorization.CallTarget) (authorization.Result, error) {
	if c.admission == nil {
		return denied, refuse("command_without_task", "commands are decided only within a workflow task that was admitted")
	}
	requests := commands(target)
	if len(requests) == 0 {
		return denied, refuse("command_unknown", "the workflow task holds no command that this gate can match to "+api.MethodName(target.APIName))
	}
	for _, r := range requests {
		req := a.callOf(ctx, c, target)
		req.Request = r
		if _, err := a.gate.Admit(ctx, req); err != nil {
			return refusal(target, err)
		}
	}
	return authorization.Result{Decision: authorization.DecisionAllow}, nil
}

// system lets in Temporal's own services: the claims come from the server's internal claim mapper, which runs on the internal-frontend
// only, and a certificate of the internode CA proves that the caller is inside. Without one (the internal-frontend's HTTP port, or a
// server without internode mTLS) anybody who finds the port would be an administrator.
func (a *Authorizer) system(ctx context.Context, claims *authorization.Claims, target *authorization.CallTarget) (authorization.Result, error) {
	if authorization.PeerCert(authorization.TLSInfoFromContext(ctx)) == nil {
		a.logger.WarnContext(ctx, "refused a call on the internal frontend without an internode certificate", "method", target.APIName)
		return denied, refuse("internal_unproven", "the internal frontend serves only Temporal's own services, which prove themselves by an internode certificate")
	}
	if err := checkRemoteCluster(target.Request); err != nil {
		return denied, err
	}
	admission, err := a.gate.AdmitSystem(ctx, gate.Call{Method: target.APIName, Namespace: target.Namespace, Request: target.Request, Source: source(ctx)})
	if err != nil {
		return refusal(target, err)
	}
	if !crossing(target) {
		// The internal mapper makes new claims for each call, so this is the call's own copy.
		claims.Extensions = &call{method: target.APIName, admission: admission}
	}
	return authorization.Result{
		Decision:  authorization.DecisionAllow,
		Principal: &commonpb.Principal{Type: authorization.InternalPrincipalType, Name: authorization.InternalPrincipalName},
	}, nil
}

// callOf is the call as the gate sees it. All values of the metadata are handed on, so that doubled ones are refused there. Nexus over HTTP
// has no authorization metadata; then the header that the mapper saw counts.
func (a *Authorizer) callOf(ctx context.Context, c *call, target *authorization.CallTarget) gate.Call {
	values := func(key string) []string { return metadata.ValueFromIncomingContext(ctx, key) }
	out := gate.Call{
		Method: target.APIName, Namespace: target.Namespace, Request: target.Request,
		Authorization: values("authorization"),
		IDToken:       values(gate.MetadataIDToken),
		Reason:        append(values(gate.MetadataReason), values(gate.MetadataReason+"-bin")...),
		Grant:         values(gate.MetadataGrant),
		Source:        source(ctx),
		Task:          taskOf(target.Request),
	}
	if len(out.Authorization) == 0 {
		if header := c.authorization(); header != "" {
			out.Authorization = []string{header}
		}
	}
	if target.Request == nil {
		// A stream: its messages are not seen before it is let in, so there is nothing to decide on. No policy knows this name.
		out.Method = "stream:" + target.APIName
	}
	return out
}

// source is the caller's address. The HTTP API calls its handlers in process and without a peer; there the gateway puts the address it saw
// last into x-forwarded-for.
func source(ctx context.Context) netip.Addr {
	text := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		text = p.Addr.String()
	} else if v := metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"); len(v) > 0 {
		last := v[len(v)-1]
		text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap()
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// crossing reports whether the server asks about commands inside a workflow task rather than about a call of its own.
func crossing(target *authorization.CallTarget) bool {
	_, task := target.Request.(*workflowservice.RespondWorkflowTaskCompletedRequest)
	return task && target.APIName != api.WorkflowServicePrefix+"RespondWorkflowTaskCompleted"
}

// refusal turns the gate's error into what the server passes on.
func refusal(target *authorization.CallTarget, err error) (authorization.Result, error) {
	var d *gate.Denial
	if !errors.As(err, &d) {
		return denied, refuse("gate_failed", "the gate could not decide; try again, and tell your operator if it stays so")
	}
	if strings.HasPrefix(target.APIName, api.NexusServicePrefix) {
		return authorization.Result{Decision: authorization.DecisionDeny, Reason: d.Error()}, nil
	}
	st := d.GRPCStatus()
	if st.Code() == codes.OK { // a denial must never read as success
		return denied, refuse(d.Code, d.Message)
	}
	return denied, st.Err()
}

func refuse(code, message string) error {
	return status.Error(codes.PermissionDenied, code+": "+message)
}
