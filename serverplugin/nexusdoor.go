package serverplugin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/server/common/api"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/service/frontend/configs"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// proof is what tells the Authorizer that a Nexus call over HTTP comes from Temporal's own services. It is drawn when the process starts,
// never leaves it but for the loopback connection from the NexusDoor to the frontend, and opens nothing but Nexus. It hides from formatters
// as a credential does.
type proof func() string

func newProof() proof {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	header := "Bearer bailiwick-internal." + hex.EncodeToString(raw[:])
	return func() string { return header }
}

func (p proof) matches(header string) bool {
	return p != nil && subtle.ConstantTimeCompare([]byte(p()), []byte(header)) == 1
}

// internalNexus reports whether a call is one by which Temporal's own services dispatch an operation that a workflow scheduled, or complete
// one. Only the NexusDoor knows the proof.
func (a *Authorizer) internalNexus(c *call, target *authorization.CallTarget) bool {
	nexus := strings.HasPrefix(target.APIName, api.NexusServicePrefix) || target.APIName == configs.CompleteNexusOperation
	return nexus && a.proof.matches(c.authorization())
}

// nexus lets an internal Nexus call in. Whether the workflow may call the endpoint was decided when its worker scheduled the operation; the
// dispatch is recorded like Temporal's other acts.
func (a *Authorizer) nexus(ctx context.Context, target *authorization.CallTarget) (authorization.Result, error) {
	req := gate.Call{Method: target.APIName, Namespace: target.Namespace, Source: source(ctx)}
	if alias, ok := aliases[target.APIName]; ok {
		alias(&req, target)
	}
	if _, err := a.gate.AdmitSystem(ctx, req); err != nil {
		return refusal(target, err)
	}
	return authorization.Result{
		Decision:  authorization.DecisionAllow,
		Principal: &commonpb.Principal{Type: authorization.InternalPrincipalType, Name: authorization.InternalPrincipalName},
	}, nil
}

// NexusDoor passes the Nexus calls of Temporal's own services on to the frontend's HTTP port, with the proof that they are internal. Whoever
// serves it must require a certificate of the internode CA: it believes everybody who reaches it.
//
// Temporal sends these calls to the internal-frontend's HTTP port. That port can't be used: it has the frontend's TLS settings, takes
// anybody as an administrator, and callback tokens are not signed. An embedder names the door's port there instead.
func (p *Plugin) NexusDoor(frontend *url.URL) http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(frontend)
			r.Out.Host = frontend.Host
			r.Out.Header.Set("Authorization", p.proof())
		},
		ErrorLog: slog.NewLogLogger(p.logger.Handler(), slog.LevelWarn),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "internal_unproven: an internode certificate is required", http.StatusForbidden)
			return
		}
		if p := r.URL.Path; path.Clean(p) != p || p != "/nexus/callback" && !strings.HasPrefix(p, "/nexus/endpoints/") {
			http.NotFound(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	})
}
