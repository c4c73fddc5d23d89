package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// identityReport is what `bailiwick whoami --json` prints.
type identityReport struct {
	Login      string    `json:"login"`
	UserID     string    `json:"user_id,omitempty"`
	Issuer     string    `json:"issuer"`
	ClientID   string    `json:"client_id"`
	Groups     []string  `json:"groups"`
	Scopes     []string  `json:"scopes"`
	AuthTime   time.Time `json:"auth_time,omitzero"`
	Expires    time.Time `json:"expires"`
	Context    string    `json:"context"`
	Address    string    `json:"temporal_address"`
	Accepted   bool      `json:"accepted"` // the server verified the token
	Namespaces []string  `json:"namespaces"`
	Problem    string    `json:"problem,omitempty"`
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "whoami",
		Short:   "Show who you are, and what the server lets you see",
		Example: "  bailiwick whoami\n  bailiwick whoami --profile carol --json",
		Long: `Show what your token says of you, and ask the server which namespaces you have a role in.

What the token says is decoded, not verified; that the server accepts it is the proof. Groups are mapped to roles by the server's policies
(policy directory, roles.yaml): a group such as temporal:deploy:write usually means the role write in namespace deploy.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.whoami(c.Context()) },
	}
}

func (a *app) whoami(ctx context.Context) error {
	where, err := a.where()
	if err != nil {
		return err
	}
	session, err := a.session(where)
	if err != nil {
		return err
	}
	p, err := session.Profile(ctx)
	if err != nil {
		return err
	}
	who, err := login.DecodeUnverified(p.AccessToken)
	if err != nil {
		return err
	}
	r := identityReport{Login: who.Subject, UserID: who.UserID, Issuer: who.Issuer, ClientID: who.ClientID, Groups: who.Groups, Scopes: who.Scopes,
		AuthTime: who.AuthTime, Expires: who.Expires, Context: where.Name, Address: where.Address}
	namespaces, asked := a.visibleNamespaces(ctx, where)
	r.Namespaces, r.Accepted = namespaces, asked == nil
	if asked != nil {
		if _, refused := denied(asked); refused {
			return asked
		}
		r.Problem = asked.Error()
	}
	if a.asJSON {
		return a.out.json(r)
	}
	w := a.out
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%s %s\n", w.dim(fmt.Sprintf("%-11s", k)), v)
		}
	}
	row("login", w.bold(safe(r.Login)))
	row("user id", safe(r.UserID))
	row("issuer", safe(r.Issuer))
	row("groups", orNone(list(r.Groups)))
	if !r.AuthTime.IsZero() {
		row("signed in", span(time.Now(), r.AuthTime))
	}
	row("token", fmt.Sprintf("expires %s (%s), refreshed by itself", r.Expires.Local().Format("15:04:05"), span(time.Now(), r.Expires)))
	row("context", fmt.Sprintf("%s (%s)", safe(r.Context), safe(r.Address)))
	if r.Problem != "" {
		row("server", w.yellow("not asked: ")+safe(r.Problem))
		return nil
	}
	row("server", w.green("accepts the token"))
	row("namespaces", orNone(list(r.Namespaces)))
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func list(items []string) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = safe(s)
	}
	return strings.Join(out, ", ")
}

// visibleNamespaces asks the server; the gate shows only those in which the caller has a role.
func (a *app) visibleNamespaces(ctx context.Context, c login.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := a.dial(ctx, c, "default", "")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var names []string
	req := &workflowservice.ListNamespacesRequest{PageSize: 100}
	for range 100 { // a server that never ends its pages is not waited for
		res, err := conn.WorkflowService().ListNamespaces(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, ns := range res.GetNamespaces() {
			names = append(names, ns.GetNamespaceInfo().GetName())
		}
		if req.NextPageToken = res.GetNextPageToken(); len(req.NextPageToken) == 0 {
			return names, nil
		}
	}
	return nil, errors.New("listing namespaces: the pages never end")
}
