package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// orgServer is the development org on its port.
type orgServer struct {
	org    *devorg.Org
	server *http.Server
	base   string
	failed chan error
	log    io.Closer
}

func startOrg(ctx context.Context, d *devEnv) (*orgServer, error) {
	logger, log, err := fileLogger(d.state.path("logs", "org.log"))
	if err != nil {
		return nil, err
	}
	listener, err := listenOn(d.flags.ports.Org, d.flags.ports.all()[0])
	if err != nil {
		return nil, err
	}
	seed := devorg.Acme()
	for i := range seed.Apps {
		if seed.Apps[i].ID == devorg.UIClient && d.flags.ports.UI != defaultPorts.UI {
			for _, host := range []string{"localhost", "127.0.0.1"} {
				at := fmt.Sprintf("http://%s:%d", host, d.flags.ports.UI)
				seed.Apps[i].RedirectURIs = append(seed.Apps[i].RedirectURIs, at+"/auth/sso/callback")
				seed.Apps[i].LogoutURIs = append(seed.Apps[i].LogoutURIs, at)
			}
		}
	}
	org, err := devorg.Open(ctx, devorg.Config{DB: d.state.path("org", "org.db"), BaseURL: d.orgURL(), Logger: logger, Seed: seed})
	if err != nil {
		listener.Close()
		log.Close()
		return nil, fmt.Errorf("starting the development org: %w", err)
	}
	o := &orgServer{org: org, base: d.orgURL(), failed: make(chan error, 1), log: log, server: httpServer(org.Handler(), logger)}
	go o.serve(listener)
	return o, nil
}

func (o *orgServer) serve(l net.Listener) {
	if err := o.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		o.failed <- err
	}
}

func (o *orgServer) stop() error {
	return errors.Join(shutdown(o.server), o.org.Close(), o.log.Close())
}

// httpServer has limits on everything that a caller could draw out.
func httpServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
}

// shutdown lets requests under way end, for 3 s at most.
func shutdown(s *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		return s.Close()
	}
	return nil
}

func fileLogger(path string) (*slog.Logger, io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, nil)), f, nil
}

// workerKey is the key by which the demo worker proves who it is to the org (private_key_jwt).
type workerKey struct{ file, id string }

// registerWorker registers the demo worker's key.
func (o *orgServer) registerWorker(ctx context.Context, file string) (workerKey, error) {
	return o.registerClient(ctx, devorg.DeployWorker, file)
}

// registerClient makes a service's key if there is none and registers its public half on the seeded app, by the management API as an operator
// would.
func (o *orgServer) registerClient(ctx context.Context, app, file string) (workerKey, error) {
	key, err := loadOrCreateRSA(file)
	if err != nil {
		return workerKey{}, fmt.Errorf("preparing the key of %s: %w", app, err)
	}
	jwk, kid := publicJWK(&key.PublicKey)
	path := "/api/v1/apps/" + app + "/credentials/jwks"
	var have []struct {
		KeyID  string `json:"kid"`
		Status string `json:"status"`
	}
	if err := o.manage(ctx, http.MethodGet, path, nil, &have); err != nil {
		return workerKey{}, fmt.Errorf("registering the key of %s: %w", app, err)
	}
	for _, k := range have {
		if k.KeyID == kid && k.Status == "ACTIVE" {
			return workerKey{file, kid}, nil
		}
	}
	if err := o.manage(ctx, http.MethodPost, path, jwk, nil); err != nil {
		return workerKey{}, fmt.Errorf("registering the key of %s: %w", app, err)
	}
	return workerKey{file, kid}, nil
}

// manage calls the org's management API.
func (o *orgServer) manage(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, o.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s answered HTTP %d: %s", method, path, res.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// loadOrCreateRSA reads a PKCS#8 key in PEM or makes one, 0600. A crash while it is made leaves none or a whole one.
func loadOrCreateRSA(path string) (*rsa.PrivateKey, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block; remove it to have a new key made", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to have a new key made", path, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an RSA key; remove it to have a new one made", path)
	}
	return key, nil
}

// publicJWK is the key as Okta's API takes it, with its RFC 7638 thumbprint as id.
func publicJWK(k *rsa.PublicKey) (jwk map[string]string, kid string) {
	e := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes())
	n := base64.RawURLEncoding.EncodeToString(k.N.Bytes())
	sum := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`))
	kid = base64.RawURLEncoding.EncodeToString(sum[:])
	return map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "e": e, "n": n, "status": "ACTIVE"}, kid
}
