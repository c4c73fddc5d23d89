package gatehouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Hooks are what a policy engine must be opened with (policy.Options, policy.BundleOptions), so that the record tells what decided.
type Hooks struct {
	Before  func(policy.Status) error
	Changed func(policy.Status)
}

// recordPolicyWithin bounds how long a policy set waits for its entry. The journal answers within milliseconds, or it is broken.
const recordPolicyWithin = 10 * time.Second

// policyComing makes it durable that a policy set is coming into force. One that can't be recorded does not: nobody could tell later what decided.
func (h *House) policyComing(next policy.Status) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordPolicyWithin)
	defer cancel()
	if _, err := h.Record(ctx, audit.Entry{Kind: audit.KindPolicy, Detail: next.Detail()}); err != nil {
		return fmt.Errorf("recording the policy set: %w", err)
	}
	h.announced = next.Digest
	return nil
}

// policyChanged records that a policy set was refused, or that the directory is back to what is in force.
func (h *House) policyChanged(s policy.Status) {
	h.keepPolicy()
	if s.LastError == "" && s.Digest == h.announced {
		h.announced = "" // policyComing recorded it
		return
	}
	e := audit.Entry{Kind: audit.KindPolicy, Detail: s.Detail()}
	if s.LastError != "" {
		if h.cfg.PolicyRefused != nil {
			h.cfg.PolicyRefused()
		}
		// The text names files and lines of policies; its digest is enough to find the log line, and entries stay small.
		sum := sha256.Sum256([]byte(s.LastError))
		e.Detail["error_digest"] = hex.EncodeToString(sum[:])
	}
	h.fill(&e)
	if err := h.record.Enqueue(e); err != nil {
		h.cfg.Logger.Warn("a policy change could not be recorded", "error", err)
	}
}

// keepPolicy keeps the texts of the set in force beside the journal, under the digest that entries name them by, so that a decision can be
// explained and proven when the set is long gone. Decisions do not wait for it: the digest is in each of them anyway.
func (h *House) keepPolicy() {
	if h.policy == nil {
		return // told of while the policies are being opened; Open keeps what it ends with
	}
	if _, err := blobs.Put(h.blobs, h.policy.Archive()); err != nil {
		h.cfg.Logger.Warn("the texts of the policy set could not be kept", "error", err)
	}
}
