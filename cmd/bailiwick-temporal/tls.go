package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// The certificates by which the server's services prove themselves to each other. Nobody else holds one, so whoever does is inside.
const (
	internodeName = "internode.bailiwick.internal"

	caLife    = 10 * 365 * 24 * time.Hour
	nodeLife  = 90 * 24 * time.Hour
	renewWith = 30 * 24 * time.Hour // renewed when less than this is left
	backdate  = 5 * time.Minute     // for clocks that are set back a little
)

// internode is the certificate authority and the one certificate of this server, on disk.
type internode struct {
	caFile   string // certificate of the CA (PEM)
	caKey    string // its private key (PEM, 0600)
	nodeFile string // certificate and private key in one file (PEM, 0600), so that a renewal replaces both at once
	now      func() time.Time
}

// openInternode makes what is missing or near its end. A CA whose certificate or key is missing or does not fit is replaced as a whole;
// nothing but this server trusts it.
func openInternode(dir string, now func() time.Time) (*internode, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the certificate directory: %w", err)
	}
	n := &internode{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"), filepath.Join(dir, "node.pem"), now}
	_, err := n.renew()
	return n, err
}

// renew replaces what is near its end, and says whether it replaced anything.
func (n *internode) renew() (bool, error) {
	ca, caKey, err := n.loadCA()
	if err != nil {
		if ca, caKey, err = n.makeCA(); err != nil {
			return false, err
		}
	} else if n.nodeGood(ca) {
		return false, nil
	}
	return true, n.makeNode(ca, caKey)
}

// watch renews in the background until ctx ends; the server reads the files again by itself.
func (n *internode) watch(ctx context.Context, every time.Duration, logger *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if renewed, err := n.renew(); err != nil {
				logger.ErrorContext(ctx, "renewing the internode certificate failed", "error", err)
			} else if renewed {
				logger.InfoContext(ctx, "renewed the internode certificate")
			}
		}
	}
}

func (n *internode) loadCA() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readCertificate(n.caFile)
	if err != nil {
		return nil, nil, err
	}
	key, err := readKey(n.caKey)
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA || cert.NotAfter.Sub(n.now()) < renewWith {
		return nil, nil, errors.New("the CA does not fit or is near its end")
	}
	return cert, key, nil
}

func (n *internode) nodeGood(ca *x509.Certificate) bool {
	cert, err := readCertificate(n.nodeFile)
	if err != nil {
		return false
	}
	key, err := readKey(n.nodeFile)
	return err == nil && key.PublicKey.Equal(cert.PublicKey) && cert.CheckSignatureFrom(ca) == nil &&
		cert.NotAfter.Sub(n.now()) >= renewWith && !n.now().Before(cert.NotBefore)
}

func (n *internode) makeCA() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Bailiwick internode CA"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: n.now().Add(caLife),
	}
	key, der, err := n.issue(template, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("making the internode CA: %w", err)
	}
	// Key first: a crash between the two leaves a pair that does not fit, which the next start replaces.
	if err := errors.Join(writeKey(n.caKey, key), durable.WriteFile(n.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)); err != nil {
		return nil, nil, fmt.Errorf("writing the internode CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func (n *internode) makeNode(ca *x509.Certificate, caKey *ecdsa.PrivateKey) error {
	key, der, err := n.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: internodeName}, DNSNames: []string{internodeName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotAfter: n.now().Add(nodeLife),
	}, ca, caKey)
	if err != nil {
		return fmt.Errorf("making the internode certificate: %w", err)
	}
	raw, err := keyPEM(key)
	if err != nil {
		return fmt.Errorf("encoding the internode key: %w", err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), raw...)
	if err := durable.WriteFile(n.nodeFile, both, 0o600); err != nil {
		return fmt.Errorf("writing the internode certificate: %w", err)
	}
	return nil
}

// issue makes a P-256 key and a certificate for it, signed by parent, or by itself if parent is nil.
func (n *internode) issue(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = n.now().Add(-backdate)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	return key, der, err
}

func readBlock(path, typ string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == typ {
			return block.Bytes, nil
		}
	}
	return nil, fmt.Errorf("%s holds no %s: %w", path, typ, fs.ErrInvalid)
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readBlock(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := readBlock(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, not an ECDSA key", path, key)
	}
	return ec, nil
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	raw, err := keyPEM(key)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, raw, 0o600)
}
