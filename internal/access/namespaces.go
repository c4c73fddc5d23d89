package access

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// exists refuses a namespace that there is none of, whoever asks and however urgently: a grant for it would open nothing. Where nobody can tell, it
// may be asked for.
func (s *Service) exists(r *http.Request, c *identity.Claims, namespace string) *Refusal {
	if !s.cfg.CheckNamespaces {
		return nil
	}
	all, err := s.namespaces(r.Context())
	if err != nil {
		s.cfg.Logger.WarnContext(r.Context(), "whether a namespace exists could not be found out", "namespace", namespace, "error", err)
		return nil
	}
	if slices.Contains(all, namespace) {
		return nil
	}
	var seen []string
	for _, name := range all {
		look := policy.Request{Principal: c, Action: "DescribeNamespace", Resource: policy.Resource{Namespace: name}, Context: policy.Context{Now: s.cfg.Clock()}}
		if s.cfg.Judge.Decide(look).Allow {
			seen = append(seen, name)
		}
	}
	slices.Sort(seen)
	next := "ask for one that there is"
	if len(seen) > 0 {
		next = "you can see " + strings.Join(seen, ", ")
	}
	return &Refusal{Status: 400, Code: "namespace_unknown", Detail: fmt.Sprintf("there is no namespace %.100q", namespace), Next: next}
}

// namespaces lists those of the server, as the control plane's own client sees them.
func (s *Service) namespaces(ctx context.Context) (names []string, err error) {
	t, err := s.temporal()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for req := (&workflowservice.ListNamespacesRequest{PageSize: 1000}); ; {
		res, err := t.WorkflowService().ListNamespaces(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("listing namespaces: %w", err)
		}
		for _, n := range res.GetNamespaces() {
			names = append(names, n.GetNamespaceInfo().GetName())
		}
		if req.NextPageToken = res.GetNextPageToken(); len(req.NextPageToken) == 0 {
			return names, nil
		}
	}
}
