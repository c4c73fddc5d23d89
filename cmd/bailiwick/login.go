package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// defaultScopes are asked for when neither the context nor a flag says: enough for an access token that names the person and their groups,
// and for a refresh token.
var defaultScopes = []string{"openid", "profile", "email", "groups", "offline_access", "temporal"}

// loginFlags are what `bailiwick login` is told.
type loginFlags struct {
	browser                      bool
	issuer, clientID, address    string
	scopes                       []string
	tls                          bool
	namespace, control, audience string
}

func (a *app) loginCommand() *cobra.Command {
	var f loginFlags
	c := &cobra.Command{
		Use:   "login",
		Short: "Log in, and let the stock temporal CLI use the login too",
		Long: `Log in with the device flow: a code is shown here, and you confirm it in a browser on any machine. With --browser, a browser on this
machine is opened instead (authorization code with PKCE).

The tokens go into the stock temporal CLI's configuration file, profile "bailiwick" (mode 0600), so that both commands share one login:
  temporal --profile bailiwick workflow list

Only confirm a code that you see in your own terminal. Somebody who sends you a link with a code wants to log in as you.`,
		Example: `  bailiwick login
  bailiwick login --browser
  bailiwick login --context prod --issuer https://acme.okta.com/oauth2/default --client-id 0oa123 --address temporal.acme.com:7233 --tls`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.login(c, f) },
	}
	fl := c.Flags()
	fl.BoolVar(&f.browser, "browser", false, "sign in with a browser on this machine (callback on port 8765, 8766 or 8767)")
	fl.StringVar(&f.issuer, "issuer", "", "issuer URL of the authorization server, for a new context")
	fl.StringVar(&f.clientID, "client-id", "", "client id of the native application, for a new context")
	fl.StringVar(&f.address, "address", "", "Temporal frontend, HOST:PORT, for a new context")
	fl.StringSliceVar(&f.scopes, "scopes", nil, "scopes to ask for (default "+strings.Join(defaultScopes, ",")+")")
	fl.BoolVar(&f.tls, "tls", false, "use TLS to the frontend (default: everywhere but on loopback)")
	fl.StringVar(&f.namespace, "namespace", "", "default namespace of the context")
	fl.StringVar(&f.control, "control-url", "", "control plane that publishes the attestation keys, for a new context")
	fl.StringVar(&f.audience, "audience", "", `environment that attestations are made for, such as "bailiwick:prod", for a new context`)
	return c
}

// target is the context to log in to: the one chosen, changed by the flags, or a new one made of them.
func (a *app) target(c *cobra.Command, f loginFlags) (login.Context, error) {
	var ctx login.Context
	if f.issuer == "" {
		found, err := a.where()
		if err != nil {
			return ctx, err
		}
		ctx = found
	} else {
		if f.clientID == "" || f.address == "" {
			return ctx, badUsage(c, "--issuer needs --client-id and --address too")
		}
		ctx = login.Context{Name: cmp.Or(a.context, "default")}
		if old, err := login.LoadContext(ctx.Name); err == nil {
			ctx = old
		}
		ctx.Issuer = f.issuer
	}
	ctx.ClientID = cmp.Or(f.clientID, ctx.ClientID)
	ctx.Address = cmp.Or(f.address, ctx.Address)
	ctx.DefaultNamespace = cmp.Or(f.namespace, ctx.DefaultNamespace)
	ctx.ControlURL = strings.TrimSuffix(cmp.Or(f.control, ctx.ControlURL), "/")
	ctx.Audience = cmp.Or(f.audience, ctx.Audience)
	ctx.Profile = cmp.Or(a.profile, ctx.Profile)
	if f.scopes != nil {
		ctx.Scopes = f.scopes
	}
	if ctx.Scopes == nil {
		ctx.Scopes = defaultScopes
	}
	host, _, err := net.SplitHostPort(ctx.Address)
	if err != nil {
		return ctx, badUsage(c, "--address %q is not HOST:PORT", ctx.Address)
	}
	if f.issuer != "" || c.Flags().Changed("tls") {
		ctx.TLS = f.tls || !netaddr.Loopback(host)
	}
	return ctx, nil
}

func (a *app) login(c *cobra.Command, f loginFlags) error {
	ctx := c.Context()
	target, err := a.target(c, f)
	if err != nil {
		return err
	}
	store, err := a.store(target)
	if err != nil {
		return err
	}
	if _, err := store.Load(); err != nil && !errors.Is(err, login.ErrNotLoggedIn) {
		return err // a store that can't be read is told before anybody signs in
	}
	provider, err := login.Discover(ctx, nil, target.Issuer)
	if err != nil {
		return err
	}
	app := login.Application{Provider: provider, ClientID: target.ClientID, Scopes: target.Scopes}
	var tok *oauth2.Token
	if f.browser {
		tok, err = app.Browser(ctx, login.BrowserConfig{Show: a.showBrowser})
	} else {
		tok, err = app.Device(ctx, a.showCode)
	}
	if err != nil {
		return err
	}
	p := login.Profile{Address: target.Address, Namespace: target.DefaultNamespace, TLSDisabled: !target.TLS, ClientID: target.ClientID, AuthURL: provider.AuthURL,
		TokenURL: provider.TokenURL, Scopes: target.Scopes}.With(tok)
	if err := store.Save(ctx, p); err != nil {
		return err
	}
	if err := target.Save(); err != nil {
		return err
	}
	return a.welcome(target, store, p)
}

func (a *app) showBrowser(url string) {
	fmt.Fprintf(a.errs, "Opening your browser to sign in. If it does not open, visit:\n\n  %s\n\n", safe(url))
}

func (a *app) showCode(d login.DevicePrompt) {
	w := a.errs
	visit := d.URL
	if d.Complete != "" {
		visit = d.Complete
	}
	fmt.Fprintf(w, "To log in, open this page in a browser:\n\n  %s\n\nand check that it shows this code:\n\n  %s\n\n", w.cyan(safe(visit)), w.bold(safe(d.UserCode)))
	fmt.Fprintf(w, "%s\n", w.dim(fmt.Sprintf("Waiting; the code is good for %s. Ctrl-C gives up.", strings.TrimPrefix(span(time.Now(), d.Expires), "in "))))
}

// welcome says who is logged in now. The claims are unverified: the gate verifies the token at the first call.
func (a *app) welcome(c login.Context, s *login.Store, p login.Profile) error {
	who, err := login.DecodeUnverified(p.AccessToken)
	if a.asJSON {
		return a.out.json(map[string]any{"login": who.Subject, "issuer": c.Issuer, "context": c.Name, "profile": s.Name(), "file": s.Path(), "expires": p.Expires})
	}
	name := who.Subject
	if err != nil {
		name = "someone: the provider's token is opaque, and a gate will refuse it; use a custom authorization server"
	}
	fmt.Fprintf(a.out, "%s as %s in context %s.\n", a.out.green("Logged in"), a.out.bold(safe(name)), safe(c.Name))
	if p.RefreshToken == "" {
		fmt.Fprintf(a.out, "The provider gave no refresh token: this login ends %s.\n", span(time.Now(), p.Expires))
	}
	fmt.Fprintf(a.out, "%s\n", a.out.dim(fmt.Sprintf("The stock CLI can use it: temporal --profile %s …", s.Name())))
	return nil
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "logout",
		Short:   "Revoke your tokens and forget them",
		Long:    "Revoke the refresh token and the access token at the provider, and remove both from the token store. The profile's address stays.",
		Example: "  bailiwick logout\n  bailiwick logout --profile carol",
		Args:    usage(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return a.logout(c.Context()) },
	}
}

func (a *app) logout(ctx context.Context) error {
	c, cerr := a.where()
	store, err := a.store(c)
	if err != nil {
		return err
	}
	p, err := store.Load()
	if errors.Is(err, login.ErrNotLoggedIn) {
		fmt.Fprintln(a.errs, "You are not logged in.")
		return nil
	}
	if err != nil {
		return err
	}
	issuer := c.Issuer
	if cerr != nil || c.ClientID != p.ClientID { // the profile's login is not this context's: its own token says where it is from
		who, _ := login.DecodeUnverified(p.AccessToken)
		issuer = who.Issuer
	}
	revoke := func() error {
		provider, err := login.Discover(ctx, nil, issuer)
		if err != nil {
			return err
		}
		if provider.TokenURL != p.TokenURL {
			return fmt.Errorf("issuer %s is not where this login is from (%s)", issuer, p.TokenURL)
		}
		return login.Application{Provider: provider, ClientID: p.ClientID}.Revoke(ctx, p.RefreshToken, p.AccessToken)
	}
	revoked := revoke()
	if err := store.Clear(ctx); err != nil {
		return errors.Join(err, revoked)
	}
	if revoked != nil {
		return fmt.Errorf("the tokens are gone from this machine, but the provider could not be told to revoke them: %w", revoked)
	}
	if a.asJSON {
		return a.out.json(map[string]any{"logged_out": true, "profile": store.Name()})
	}
	fmt.Fprintln(a.out, "Logged out; the tokens are revoked.")
	return nil
}

func (a *app) tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Print a fresh access token, for scripts",
		Long: `Print an access token that is good for at least a minute, refreshing it if need be, and nothing else.
Whoever has it can act as you until it expires: don't paste it into chats, tickets or command lines.`,
		Example: `  TEMPORAL_API_KEY="$(bailiwick token)" temporal --tls=false workflow list --namespace deploy`,
		Args:    usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			s, err := a.session(where)
			if err != nil {
				return err
			}
			p, err := s.Profile(c.Context())
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(map[string]any{"access_token": p.AccessToken, "token_type": p.TokenType, "expires": p.Expires})
			}
			fmt.Fprintln(a.out, p.AccessToken)
			return nil
		},
	}
}
