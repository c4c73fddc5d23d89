package serverplugin

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/server/common/authorization"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// Stamper is the part of a gate that the Interceptor uses; gate.Gate is one.
type Stamper interface {
	Stamp(*gate.Admission, any) error
	Learn(a *gate.Admission, req, resp any)
	FilterResponse(*gate.Admission, any)
	Missed(*gate.Admission) bool
}

// Interceptor puts attestations into admitted requests and takes out of responses what the caller may not see.
type Interceptor struct{ gate Stamper }

// NewInterceptor mounts a gate's stamping as a frontend interceptor.
func NewInterceptor(g Stamper) *Interceptor { return &Interceptor{gate: g} }

// Intercept runs innermost, after the Authorizer. It refuses a call that carries no admission for exactly its method: then the Authorizer
// did not run, or ran for something else.
func (i *Interceptor) Intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	claims, ok := ctx.Value(authorization.MappedClaims).(*authorization.Claims)
	if !ok || claims == nil {
		return nil, refuse("no_admission", "the call was not authorized by the gate")
	}
	c, ok := claims.Extensions.(*call)
	if !ok || c.admission == nil || c.method != info.FullMethod {
		return nil, refuse("no_admission", "the call was not authorized by the gate")
	}
	if err := i.gate.Stamp(c.admission, req); err != nil {
		var d *gate.Denial
		if errors.As(err, &d) && d.GRPCStatus().Code() != codes.OK {
			return nil, d.GRPCStatus().Err()
		}
		return nil, status.Error(codes.Unavailable, "attestation_failed: the call was allowed but could not be attested, so it was refused; try again, and tell your operator if it stays so")
	}
	resp, err := handler(ctx, req)
	if err == nil {
		i.gate.Learn(c.admission, req, resp)
		i.gate.FilterResponse(c.admission, resp)
		return resp, nil
	}
	var missing *serviceerror.NotFound
	if errors.As(err, &missing) && i.gate.Missed(c.admission) {
		return nil, status.Error(codes.Unavailable, "run_changed: the run that this call was decided on has ended; try again, and it is decided on the one that runs now")
	}
	return resp, err
}
