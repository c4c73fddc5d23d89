package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// where loads the context that the flags and the environment choose.
func (a *app) where() (login.Context, error) {
	name := a.context
	if name == "" {
		name = os.Getenv("BAILIWICK_CONTEXT")
	}
	return login.LoadContext(name)
}

// store opens the token store for a context.
func (a *app) store(c login.Context) (*login.Store, error) {
	profile := a.profile
	if profile == "" {
		profile = c.Profile
	}
	return login.OpenStore(login.StoreConfig{Profile: profile, Notice: func(text string) {
		fmt.Fprintln(a.errs, a.errs.yellow("note: ")+safe(text))
	}})
}

// session is a source of fresh tokens for a context. A profile that was logged in elsewhere is refused: its token would be handed to a
// server that it is not for.
func (a *app) session(c login.Context) (*login.Session, error) {
	store, err := a.store(c)
	if err != nil {
		return nil, err
	}
	p, err := store.Load()
	if err != nil {
		return nil, err
	}
	if p.ClientID != c.ClientID || p.Address != c.Address {
		return nil, &coded{Code: "other_login", Text: fmt.Sprintf("profile %q is logged in to %s, not to context %q (%s)", store.Name(), p.Address, c.Name, c.Address),
			Fix: fmt.Sprintf("run `bailiwick login --context %s`, or choose another --context or --profile", c.Name), exit: exitDenied}
	}
	return &login.Session{Store: store, Logger: a.logger()}, nil
}

func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// namespace chooses: flag, environment, context.
func (a *app) namespace(flag string, c login.Context) string {
	for _, ns := range []string{flag, os.Getenv("TEMPORAL_NAMESPACE"), c.DefaultNamespace} {
		if ns != "" {
			return ns
		}
	}
	return "default"
}

// dial connects to the context's frontend as the person logged in. The reason, if any, goes with every call.
func (a *app) dial(ctx context.Context, c login.Context, namespace, reason string) (client.Client, error) {
	session, err := a.session(c)
	if err != nil {
		return nil, err
	}
	token := session.Token
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("context %s: address %q: %w", c.Name, c.Address, err)
	}
	if !c.TLS && !netaddr.Loopback(host) {
		return nil, &coded{Code: "plaintext_refused", Text: fmt.Sprintf("%s is not on this machine and the context has no TLS: your token would cross the network in the clear", c.Address),
			Fix: "run `bailiwick login --tls …` for it"}
	}
	if _, err := token(ctx); err != nil { // before dialing, so that the error is the login's and not the connection's
		return nil, err
	}
	opts := client.Options{
		HostPort:    c.Address,
		Namespace:   namespace,
		Credentials: client.NewAPIKeyDynamicCredentials(token),
		Logger:      log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{
			TLSDisabled:          !c.TLS,
			GetSystemInfoTimeout: 10 * time.Second,
			DialOptions:          []grpc.DialOption{grpc.WithChainUnaryInterceptor(a.hear)},
		},
	}
	if reason != "" {
		opts.HeadersProvider = stated(reason)
	}
	conn, err := client.DialContext(ctx, opts)
	if err != nil {
		if last := a.refusal.Load(); last != nil {
			return nil, *last
		}
		if st := statusOf(err); st != nil && (st.Code() == codes.Unavailable || st.Code() == codes.DeadlineExceeded) {
			if _, refused := denied(err); !refused {
				return nil, &coded{Code: "temporal_unreachable", Text: fmt.Sprintf("nothing answers at %s: %s", c.Address, st.Message()), Fix: "is `bailiwick dev`, or the server, running?"}
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &coded{Code: "temporal_unreachable", Text: "nothing answers at " + c.Address, Fix: "is `bailiwick dev`, or the server, running?"}
		}
		return nil, fmt.Errorf("connecting to Temporal at %s: %w", c.Address, err)
	}
	return conn, nil
}

// hear remembers a refusal that the SDK takes for a passing failure, such as audit_unavailable: it tries again until time is up, and what it
// returns then is a deadline without a reason.
func (a *app) hear(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if _, refused := denied(err); refused {
		a.refusal.Store(&err)
	} else if err == nil {
		a.refusal.Store(nil)
	}
	return err
}

// stated is a reason that travels with every call. Outside printable ASCII it goes under the "-bin" key.
type stated string

// GetHeaders makes it a headers provider of the SDK.
func (s stated) GetHeaders(context.Context) (map[string]string, error) {
	key := gate.MetadataReason
	if strings.ContainsFunc(string(s), func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
		key += "-bin"
	}
	return map[string]string{key: string(s)}, nil
}

// keys returns the gate's published keys: from a file if one is named, else from the control plane.
func (a *app) keys(ctx context.Context, c login.Context, file string) (attest.KeySet, error) {
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return attest.KeySet{}, fmt.Errorf("reading the keys: %w", err)
		}
		return attest.ParseKeySet(raw)
	}
	if c.ControlURL == "" {
		return attest.KeySet{}, &coded{Code: "no_keys", Text: fmt.Sprintf("context %s does not say where the attestation keys are published", c.Name), Fix: "name a file with --keys"}
	}
	url := c.ControlURL + "/.well-known/bailiwick/keys"
	raw, err := fetch(ctx, url)
	if err != nil {
		return attest.KeySet{}, &coded{Code: "keys_unreachable", Text: fmt.Sprintf("fetching the attestation keys from %s: %v", url, err), Fix: "is the control plane running? a copy can be given with --keys FILE"}
	}
	return attest.ParseKeySet(raw)
}

// fetch gets a small public document.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := login.NewHTTPClient().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}
