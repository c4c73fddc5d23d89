package gatehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
)

// openKeys opens the attestation keys and archives each in the log, so that the log alone verifies what they sign. At the start that
// must succeed; later a key that could not be archived is logged, and archived again at the next start.
func (h *House) openKeys(ctx context.Context) error {
	var failed error
	opening := true
	log := h.cfg.Logger
	keys, err := attest.OpenKeys(attest.KeysConfig{Path: h.cfg.AttestationKey, Clock: h.cfg.Clock, Logger: log, OnEvent: func(e attest.KeyEvent) {
		detail := e.Detail()
		if e.Event == attest.KeyRotated {
			detail["attestation_key"] = e.Key.ID // as at the gate's start: what it signs with from now on
		}
		_, err := h.Record(ctx, audit.Entry{Kind: audit.KindKey, Detail: detail})
		switch {
		case err == nil:
			log.InfoContext(ctx, "attestation key", "event", e.Event, "kid", e.Key.ID)
		case opening:
			failed = fmt.Errorf("archiving the attestation key %s: %w", e.Key.ID, err)
		default:
			log.ErrorContext(ctx, "an attestation key could not be archived in the log", "event", e.Event, "kid", e.Key.ID, "error", err)
		}
	}})
	opening = false
	if err != nil {
		return err
	}
	h.keys = keys
	return failed
}

// recordIssuerKeys puts an issuer's new signing keys on record, so that the log tells what a token was verified with after the issuer has
// dropped the key. Where that fails the token's decision, which comes next, can't be recorded either, and is a denial.
func (h *House) recordIssuerKeys(issuer string, keys []identity.PublicKey) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, k := range keys {
		if _, err := h.Record(ctx, audit.Entry{Kind: audit.KindKey, Detail: audit.IssuerKeyDetail(issuer, k.ID, k.JWK)}); err != nil {
			h.cfg.Logger.ErrorContext(ctx, "an issuer's key could not be archived in the log", "issuer", issuer, "kid", k.ID, "error", err)
		}
	}
}
