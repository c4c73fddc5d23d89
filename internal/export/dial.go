package export

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// dialer connects to receivers only: whatever a name resolves to, addresses that no receiver has are refused, and loopback unless the
// configuration names it. Names that resolve to this machine would lead to ports that trust it.
func dialer(host string, timeout time.Duration) *net.Dialer {
	loopback := netaddr.Loopback(host)
	return &net.Dialer{
		Timeout:   timeout,
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("reading the receiver's address: %w", err)
			}
			if forbiddenIP(at.Addr()) || at.Addr().Unmap().IsLoopback() && !loopback {
				return fmt.Errorf("the receiver's name leads to %v, where no receiver may be: %w", at.Addr(), errHold)
			}
			return nil
		},
	}
}

// config makes a client's TLS settings for a host.
func (t TLSConfig) config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading certificate authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading certificate authorities: %s holds no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		if err := private(t.KeyFile); err != nil {
			return nil, err
		}
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// client makes an HTTP client for one receiver: no proxy, no redirects, no cookies.
func client(host string, t TLSConfig, timeout time.Duration) (*http.Client, error) {
	tlsConfig, err := t.config(host)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer(host, timeout).DialContext, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true, TLSHandshakeTimeout: timeout,
			MaxIdleConns: 2, MaxConnsPerHost: 2, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		// A receiver that redirects would have us hand the record to whoever it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// readSecret reads a secret from a file that only its owner can read. It is read anew for each batch, so that it can be changed.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	if err := private(path); err != nil {
		return "", err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", errors.Join(err, errHold))
	}
	s := strings.TrimSpace(string(raw))
	if s == "" || len(s) > 16<<10 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("reading a secret: %s must hold one line of printable ASCII: %w", path, errHold)
	}
	return s, nil
}

// private refuses files of secrets that others can read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading a secret: %w", errors.Join(err, errHold))
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("reading a secret: %s can be read by others (mode %04o): run chmod 600 on it: %w", path, info.Mode().Perm(), errHold)
	}
	return nil
}
