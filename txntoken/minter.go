package txntoken

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MinterConfig are the settings of a Minter.
type MinterConfig struct {
	// Key signs: an ed25519.PrivateKey (EdDSA) or an *ecdsa.PrivateKey on P-256 (ES256).
	Key crypto.PrivateKey
	// Audience is the trust domain, such as "payments.acme.example".
	Audience string
	// Workload names who mints, as req_wl.
	Workload string
	// Scopes are all that tokens may ever be for.
	Scopes []string
	// Lifetime of a token: a second to MaxLifetime. Default DefaultLifetime.
	Lifetime time.Duration
	// Clock is the time. Default time.Now.
	Clock func() time.Time
}

// Minter mints Transaction Tokens with one key. It is safe for concurrent use.
type Minter struct {
	cfg    MinterConfig
	key    key
	prefix string // the encoded protected header and its dot
}

// NewMinter checks the settings.
func NewMinter(cfg MinterConfig) (*Minter, error) {
	m := &Minter{cfg: cfg}
	var err error
	switch k := cfg.Key.(type) {
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return nil, errors.New("making minter: an Ed25519 key of the wrong size")
		}
		m.key, err = newKey(k.Public())
	case *ecdsa.PrivateKey:
		if k == nil {
			return nil, errors.New("making minter: no key")
		}
		m.key, err = newKey(&k.PublicKey)
	default:
		err = fmt.Errorf("a key of type %T; use Ed25519 or ECDSA on P-256", cfg.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("making minter: %w", err)
	}
	if m.cfg.Lifetime == 0 {
		m.cfg.Lifetime = DefaultLifetime
	}
	if m.cfg.Clock == nil {
		m.cfg.Clock = time.Now
	}
	m.cfg.Scopes = slices.Clone(cfg.Scopes)
	switch {
	case cfg.Audience == "" || cfg.Workload == "":
		return nil, errors.New("making minter: Audience (the trust domain) and Workload (who mints) are needed")
	case !validScope(cfg.Scopes):
		return nil, errors.New("making minter: Scopes must list at least one scope, each once, without spaces, quotes and backslashes")
	case m.cfg.Lifetime < time.Second || m.cfg.Lifetime > MaxLifetime:
		return nil, fmt.Errorf("making minter: a lifetime of %s is not between 1s and %s", m.cfg.Lifetime, MaxLifetime)
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{m.key.alg, m.key.id, Type})
	if err != nil {
		return nil, fmt.Errorf("making minter: %w", err)
	}
	m.prefix = b64.EncodeToString(header) + "."
	return m, nil
}

// PublicKeySet returns the set with the minter's public key, for publishing.
func (m *Minter) PublicKeySet() KeySet { return KeySet{keys: []key{m.key}} }

// Request is what a new token is for.
type Request struct {
	Transaction string         // txn: the same for every token of one transaction
	Subject     string         // sub: on whose behalf
	Scope       []string       // of the minter's Scopes, as few as possible
	Context     map[string]any // tctx, JSON values
	Environment map[string]any // rctx, JSON values
}

// Mint makes a token for a new transaction, or another one for a known transaction whose facts the caller knows first-hand. It never makes one
// for a scope outside the minter's.
func (m *Minter) Mint(r Request) (string, error) {
	now := m.cfg.Clock()
	return m.mint(Claims{
		IssuedAt: now, ExpiresAt: now.Add(m.cfg.Lifetime), Audience: m.cfg.Audience, Transaction: r.Transaction, Subject: r.Subject,
		Scope: r.Scope, Workload: m.cfg.Workload, Context: r.Context, Environment: r.Environment,
	})
}

// Replace makes a narrower token from one that was verified (section "Txn-Token as a subject_token" of the draft). Transaction, subject, audience
// and tctx stay; the scope may only shrink; an expired token is not replaced; the new one does not outlive the old. The workloads that asked
// before are kept, oldest first, in rctx under "workloads"; a token is replaced at most 8 times.
func (m *Minter) Replace(v Verified, scope ...string) (string, error) {
	old, now := v.Claims(), m.cfg.Clock()
	switch {
	case v.raw == "":
		return "", errors.New("replacing transaction token: there is no token; verify one first")
	case old.Audience != m.cfg.Audience:
		return "", fmt.Errorf("replacing transaction token: it is of the trust domain %q, not of %q", old.Audience, m.cfg.Audience)
	case !now.Before(old.ExpiresAt):
		return "", fmt.Errorf("replacing transaction token: it expired at %s", old.ExpiresAt.Format(time.RFC3339))
	case !old.HasScope(scope...):
		return "", fmt.Errorf("replacing transaction token: the scope %q is wider than %q", scope, old.Scope)
	}
	env := map[string]any{}
	for k, value := range old.Environment {
		env[k] = value
	}
	chain, isList := env["workloads"].([]any)
	if _, present := env["workloads"]; present && !isList {
		return "", errors.New("replacing transaction token: its rctx holds \"workloads\" that are not a list")
	}
	if len(chain) >= maxChain {
		return "", fmt.Errorf("replacing transaction token: it was replaced %d times already", len(chain))
	}
	env["workloads"] = append(slices.Clone(chain), old.Workload)
	expires := now.Add(m.cfg.Lifetime)
	if old.ExpiresAt.Before(expires) {
		expires = old.ExpiresAt
	}
	return m.mint(Claims{IssuedAt: now, ExpiresAt: expires, Audience: old.Audience, Transaction: old.Transaction, Subject: old.Subject,
		Scope: scope, Workload: m.cfg.Workload, Context: old.Context, Environment: env})
}

// payload is the order in which claims are written. Readers do not depend on it; golden tests do.
type payload struct {
	IssuedAt    int64          `json:"iat"`
	Audience    string         `json:"aud"`
	ExpiresAt   int64          `json:"exp"`
	Transaction string         `json:"txn"`
	Subject     string         `json:"sub"`
	Scope       string         `json:"scope"`
	Workload    string         `json:"req_wl"`
	Context     map[string]any `json:"tctx,omitempty"`
	Environment map[string]any `json:"rctx,omitempty"`
}

func (m *Minter) mint(c Claims) (string, error) {
	if c.Transaction == "" || c.Subject == "" {
		return "", errors.New("minting transaction token: it needs a transaction and a subject")
	}
	if !validScope(c.Scope) {
		return "", errors.New("minting transaction token: it needs a scope, without spaces, quotes, backslashes and repetitions")
	}
	for _, s := range c.Scope {
		if !slices.Contains(m.cfg.Scopes, s) {
			return "", fmt.Errorf("minting transaction token: the scope %q is not among the minter's %q", s, m.cfg.Scopes)
		}
	}
	if !utf8.ValidString(c.Transaction + c.Subject + c.Audience + c.Workload) {
		return "", errors.New("minting transaction token: a text is not valid UTF-8")
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(payload{c.IssuedAt.Unix(), c.Audience, c.ExpiresAt.Unix(), c.Transaction, c.Subject, strings.Join(c.Scope, " "), c.Workload, c.Context, c.Environment})
	if err != nil {
		return "", fmt.Errorf("minting transaction token: %w", err)
	}
	signed := m.prefix + b64.EncodeToString(bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	if size := len(signed) + 1 + b64.EncodedLen(64); size > MaxSize {
		return "", fmt.Errorf("minting transaction token: %d bytes, more than the limit of %d; put less into the contexts", size, MaxSize)
	}
	sig, err := m.sign([]byte(signed))
	if err != nil {
		return "", fmt.Errorf("minting transaction token: %w", err)
	}
	return signed + "." + b64.EncodeToString(sig), nil
}

func (m *Minter) sign(input []byte) ([]byte, error) {
	switch k := m.cfg.Key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(k, input), nil
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(input)
		der, err := k.Sign(nil, digest[:], crypto.SHA256) // nil: deterministic, RFC 6979
		if err != nil {
			return nil, err
		}
		return joseSignature(der)
	}
	return nil, errors.New("no key")
}

// order is the order of P-256's base point, and half of it: of each signature (r, s) and its twin (r, order-s) only the one with the lower s is
// written and accepted, so that nobody can make a second token out of one.
var (
	order     = elliptic.P256().Params().N
	halfOrder = new(big.Int).Rsh(order, 1)
)

// joseSignature turns ASN.1 into r and s of 32 bytes each (RFC 7518 section 3.4).
func joseSignature(der []byte) ([]byte, error) {
	r, s, err := parseDER(der)
	if err != nil {
		return nil, err
	}
	if s.Cmp(halfOrder) > 0 {
		s.Sub(order, s)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}
