package okta

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// DPoP proves possession of a key that never leaves this process (RFC 9449), so that a token that leaks is worth nothing. Make one with NewDPoP.
type DPoP struct {
	key *ecdsa.PrivateKey
	jwk map[string]string

	mu       sync.Mutex // covers what follows
	nonce    string     // that the token endpoint wants
	resource string     // that the API wants
}

// NewDPoP makes a P-256 key.
func NewDPoP() (*DPoP, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a DPoP key: %w", err)
	}
	point, err := key.PublicKey.Bytes() // 4, then x and y of 32 bytes each (SEC 1 section 2.3.3)
	if err != nil {
		return nil, fmt.Errorf("making a DPoP key: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return &DPoP{key: key, jwk: map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}}, nil
}

// proof is a DPoP proof (RFC 9449 section 4.2) for one request; token is empty at the token endpoint.
func (d *DPoP) proof(method string, at *url.URL, token string, now time.Time) (string, error) {
	htu := *at
	htu.RawQuery, htu.Fragment = "", ""
	claims := jwt.MapClaims{"jti": rand.Text(), "htm": method, "htu": htu.String(), "iat": now.Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	d.mu.Lock()
	if nonce := d.nonce; token == "" && nonce != "" {
		claims["nonce"] = nonce
	} else if nonce := d.resource; token != "" && nonce != "" {
		claims["nonce"] = nonce
	}
	d.mu.Unlock()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["typ"], t.Header["jwk"] = "dpop+jwt", d.jwk
	signed, err := t.SignedString(d.key)
	if err != nil {
		return "", fmt.Errorf("okta: signing a DPoP proof: %w", err)
	}
	return signed, nil
}

// heard keeps the nonce that the token endpoint wants next.
func (d *DPoP) heard(h http.Header) {
	if n := h.Get("DPoP-Nonce"); n != "" {
		d.mu.Lock()
		d.nonce = n
		d.mu.Unlock()
	}
}

// wanted keeps the nonce that the API wants in proofs, if its refusal says that it wants one (RFC 9449 section 9).
func (d *DPoP) wanted(h http.Header) bool {
	n := h.Get("DPoP-Nonce")
	if n == "" || !strings.Contains(h.Get("WWW-Authenticate"), "use_dpop_nonce") {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resource = n
	return true
}
