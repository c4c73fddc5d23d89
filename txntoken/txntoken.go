// Package txntoken mints, replaces and checks Transaction Tokens (draft-ietf-oauth-transaction-tokens-10): short-lived, signed statements of
// on whose behalf and in which transaction one workload calls another.
//
// It owns the token's profile, its keys, the HTTP header it travels in, a RoundTripper that attaches one and a middleware that verifies one.
// It refuses to know Temporal, issuers, policies and where a transaction's facts come from, so that any service can link it. A Transaction Token
// authenticates nobody: a service still has to know by other means who calls it.
package txntoken

import (
	"slices"
	"strings"
	"time"
)

// Type is the JWS "typ" of a Transaction Token.
const Type = "txntoken+jwt"

// Header is the HTTP request header that carries a Transaction Token.
const Header = "Txn-Token"

const (
	// MaxSize is the largest token, in bytes, that is minted or looked at.
	MaxSize = 8 << 10
	// MaxLifetime is the longest time between a token's iat and exp that is minted or accepted.
	MaxLifetime = 10 * time.Minute
	// DefaultLifetime is the lifetime of minted tokens unless the Minter is told otherwise.
	DefaultLifetime = 2 * time.Minute
	// Skew is how far the clocks of minter and verifier may differ. It is added where a token is too new, not where it is too old: a
	// verifier whose clock is ahead refuses early.
	Skew = 30 * time.Second
	// maxChain is how often a token can be replaced.
	maxChain = 8
)

// Claims are what a Transaction Token says.
type Claims struct {
	IssuedAt    time.Time      // iat
	ExpiresAt   time.Time      // exp
	Audience    string         // aud: the trust domain
	Transaction string         // txn: the same for every token of one transaction
	Subject     string         // sub: on whose behalf
	Scope       []string       // scope: what for, as narrow as possible
	Workload    string         // req_wl: the workload that asked for the token
	Context     map[string]any // tctx: what never changes in the transaction; numbers are json.Number
	Environment map[string]any // rctx: where the request came from; numbers are json.Number
}

// HasScope reports whether the token is for all of the scopes.
func (c Claims) HasScope(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(c.Scope, s) {
			return false
		}
	}
	return true
}

// Text returns a member of tctx that is a string, or "".
func (c Claims) Text(name string) string {
	s, _ := c.Context[name].(string)
	return s
}

// Code is a stable reason for refusing a token.
type Code string

const (
	CodeMissing    Code = "txntoken_missing"     // there is none where one is required, or more than one
	CodeMalformed  Code = "txntoken_malformed"   // not a strict compact JWS with the claims of a Transaction Token, or over the size limit
	CodeType       Code = "txntoken_type"        // some other kind of token
	CodeAlgorithm  Code = "txntoken_algorithm"   // neither EdDSA nor ES256, or not the key's
	CodeKeyUnknown Code = "txntoken_key_unknown" // no such key: the only refusal that a newer key set can cure
	CodeSignature  Code = "txntoken_signature"   // the signature does not verify
	CodeAudience   Code = "txntoken_audience"    // of another trust domain
	CodeExpired    Code = "txntoken_expired"
	CodeTooNew     Code = "txntoken_too_new"  // issued in the future
	CodeLifetime   Code = "txntoken_lifetime" // valid for longer than MaxLifetime
	CodeScope      Code = "txntoken_scope"    // genuine, but not for this
)

// Error is a refusal. Detail is safe to show; it never holds the token.
type Error struct {
	Code   Code
	Detail string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

func refuse(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }

// validScope reports whether every scope is a scope-token of RFC 6749 section 3.3 and none is there twice.
func validScope(scope []string) bool {
	seen := map[string]bool{}
	for _, s := range scope {
		if s == "" || seen[s] || strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
			return false
		}
		seen[s] = true
	}
	return len(scope) > 0
}
