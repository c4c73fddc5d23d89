package serverplugin

import (
	"context"
	"fmt"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
)

// openKeys opens the attestation keys and archives each in the log, so that the log alone verifies what they sign. At the start that
// must succeed; later a key that could not be archived is logged, and archived again at the next start.
func (p *Plugin) openKeys(ctx context.Context, path string) error {
	var failed error
	opening := true
	keys, err := attest.OpenKeys(attest.KeysConfig{Path: path, Logger: p.logger, OnEvent: func(e attest.KeyEvent) {
		detail := e.Detail()
		if e.Event == attest.KeyRotated {
			detail["attestation_key"] = e.Key.ID // as at the gate's start: what it signs with from now on
		}
		_, err := p.journal.Append(ctx, p.entry(audit.KindKey, detail))
		switch {
		case err == nil:
			p.logger.InfoContext(ctx, "attestation key", "event", e.Event, "kid", e.Key.ID)
		case opening:
			failed = fmt.Errorf("archiving the attestation key %s: %w", e.Key.ID, err)
		default:
			p.logger.ErrorContext(ctx, "an attestation key could not be archived in the log", "event", e.Event, "kid", e.Key.ID, "error", err)
		}
	}})
	opening = false
	if err != nil {
		return err
	}
	p.keys = keys
	return failed
}
