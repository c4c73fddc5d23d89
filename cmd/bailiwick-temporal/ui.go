package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

// webUI is the Temporal web UI in this process. It holds no credential of its own: it forwards the access token of whoever signed in, and
// the gate decides.
type webUI struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	ready  chan struct{} // closed once the UI listens

	mu     sync.Mutex       // guards server
	server *uiserver.Server // nil until the issuer has answered
}

// startUI starts the UI as soon as its issuer answers, in the background: the library ends the whole process when it does not. An issuer
// that is away delays the UI and nothing else.
func startUI(ctx context.Context, cfg Config, logger *slog.Logger) *webUI {
	ctx, cancel := context.WithCancel(ctx)
	u := &webUI{cancel: cancel, ready: make(chan struct{})}
	u.done.Go(func() { u.run(ctx, cfg, logger) })
	return u
}

func (u *webUI) run(ctx context.Context, cfg Config, logger *slog.Logger) {
	client := &http.Client{Timeout: 5 * time.Second}
	for attempt := 0; ; attempt++ {
		err := probeIssuer(ctx, client, cfg.UI.Issuer)
		if err == nil {
			break
		}
		if attempt%20 == 0 {
			logger.ErrorContext(ctx, "the web UI waits for its issuer", "code", "ui_issuer_unreachable", "issuer", cfg.UI.Issuer, "error", err,
				"fix", "start the issuer or correct ui.issuer; the rest of the server runs")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(time.Duration(attempt+1)*250*time.Millisecond, 5*time.Second)):
		}
	}

	// The library logs by package log, on standard error by default and not as JSON.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(logger.Handler(), slog.LevelDebug).Writer())
	server := uiserver.NewServer(server_options.WithConfigProvider(uiSettings(cfg)))
	u.mu.Lock()
	if ctx.Err() != nil { // stopped while the issuer was asked
		u.mu.Unlock()
		return
	}
	u.server = server
	u.mu.Unlock()
	u.done.Go(func() {
		if err := server.Start(); err != nil {
			logger.ErrorContext(ctx, "the web UI stopped", "error", err)
		}
	})
	if err := awaitListening(ctx, net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.UIPort))); err == nil {
		close(u.ready)
	}
}

func (u *webUI) stop() {
	u.cancel()
	u.mu.Lock()
	if u.server != nil {
		u.server.Stop()
	}
	u.mu.Unlock()
	u.done.Wait()
}

// uiSettings is the UI's configuration: sign-in by the issuer's authorization code flow, the access token as bearer.
func uiSettings(cfg Config) *uiconfig.Config {
	return &uiconfig.Config{
		TemporalGRPCAddress: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.GRPCPort)),
		Host:                cfg.Host, Port: cfg.UIPort, EnableUI: true, HideLogs: true, DisableNewsFetch: true,
		ForwardHeaders: []string{"bailiwick-reason", "bailiwick-grant"},
		CORS:           uiconfig.CORS{CookieInsecure: strings.HasPrefix(cfg.UI.CallbackURL, "http://")},
		Auth: uiconfig.Auth{Enabled: true, Providers: []uiconfig.AuthProvider{{
			Label: "Okta", Type: "oidc", ProviderURL: cfg.UI.Issuer,
			ClientID: cfg.UI.ClientID, ClientSecret: cfg.UI.ClientSecret, CallbackURL: cfg.UI.CallbackURL,
			Scopes: []string{"openid", "profile", "email", "groups", "offline_access", "temporal"},
		}}},
	}
}

// uiAddress is where a browser has to open the UI: the callback's origin, because the sign-in's cookies belong to it.
func uiAddress(callback string) string {
	u, err := url.Parse(callback)
	if err != nil {
		return callback
	}
	return u.Scheme + "://" + u.Host
}

// probeIssuer asks for the discovery document (OpenID Connect Discovery 1.0 section 4) and checks what the UI's library would end the
// process over: its presence, its form and its issuer.
func probeIssuer(ctx context.Context, client *http.Client, issuer string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return fmt.Errorf("asking for the discovery document: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking for the discovery document: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for the discovery document: %s answered %s", req.URL.Redacted(), resp.Status)
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Auth   string `json:"authorization_endpoint"`
		Token  string `json:"token_endpoint"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&doc); err != nil {
		return fmt.Errorf("parsing the discovery document: %w", err)
	}
	if doc.Issuer != issuer {
		return fmt.Errorf("the discovery document names the issuer %q, not %q", doc.Issuer, issuer)
	}
	if doc.Auth == "" || doc.Token == "" || doc.Keys == "" {
		return errors.New("the discovery document lacks authorization_endpoint, token_endpoint or jwks_uri")
	}
	return nil
}
