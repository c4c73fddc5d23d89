package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/access"
)

// Bounds of what a key press may cost: how long the control plane may take to tell of requests, and for how long what it told is taken for news.
const (
	completeWithin = time.Second
	completeFresh  = 5 * time.Second
)

// recentRequest is a request as completion shows it.
type recentRequest struct{ ID, What string }

// rememberRequests keeps ids for completion.
func (a *app) rememberRequests(seen ...access.Request) {
	var all []recentRequest
	for _, r := range seen {
		all = append(all, recentRequest{r.Asked.ID, string(r.State) + ", " + r.Asked.What() + " for " + r.Asked.Login})
	}
	remember(a, "requests", all, func(x, y recentRequest) bool { return x.ID == y.ID })
}

// completeRequests offers requests that the control plane tells of to whoever is logged in, and those seen here lately. Where it does not answer at
// once, or nobody is logged in, the latter are all.
func (a *app) completeRequests(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if found, err := a.newsOfRequests(c.Context()); err == nil {
		a.rememberRequests(found...)
	}
	var out []string
	for _, r := range recent[recentRequest](a, "requests") {
		if strings.HasPrefix(r.ID, prefix) {
			out = append(out, r.ID+"\t"+safe(r.What))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

var errNoNews = errors.New("nothing to ask for")

// newsOfRequests asks the control plane for the newest requests, with the token that there is: to renew one and be cut off would lose the login.
func (a *app) newsOfRequests(ctx context.Context) ([]access.Request, error) {
	path, err := a.recentFile("requests")
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) < completeFresh {
		return nil, errNoNews
	}
	where, err := a.where()
	if err != nil {
		return nil, err
	}
	session, err := a.controlSession(where)
	if err != nil {
		return nil, err
	}
	p, err := session.Store.Load()
	if err != nil {
		return nil, err
	}
	if p.AccessToken == "" || time.Until(p.Expires) < completeWithin {
		return nil, errNoNews
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	client := &access.Client{URL: where.ControlURL, Token: func(context.Context) (string, error) { return p.AccessToken, nil }}
	return client.List(ctx, access.Filter{Limit: maxRecent})
}
