package tiles

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
)

// Trust is what a verifier of bundles knows from elsewhere.
type Trust struct {
	LogKeys []string // note verifier keys of the logs trusted; at least one. Keys that a bundle proves to follow one of them are as good
	// AttestationKeys, when not empty, must hold the key of the bundle's attestation; then no key history is needed.
	AttestationKeys attest.KeySet
	Audience        string // the environment that an attestation must be made for; empty: any, and the report says which
}

// BundleReport is what a bundle proves.
type BundleReport struct {
	Origin      string            `json:"origin"`
	Size        uint64            `json:"size"` // of the tree of the checkpoint
	Root        string            `json:"root"` // base64
	Index       uint64            `json:"index"`
	Entry       audit.Entry       `json:"entry"`
	LogKeys     []LogKeyUse       `json:"log_keys,omitempty"` // keys of the log that the bundle proves, one from the other; the last signed the checkpoint
	Keys        []KeyUse          `json:"key_history,omitempty"`
	Attestation *attest.Statement `json:"attestation,omitempty"`
	AttestedBy  string            `json:"attested_by,omitempty"`  // id of the key that signed it
	KeyKnownBy  string            `json:"key_known_by,omitempty"` // "log": a proven entry of the gate names it; "trust": the verifier knew it
	IssuerKey   *IssuerKey        `json:"issuer_key,omitempty"`   // the issuer's key that signed the caller's token, as the gate saw it
	Policy      []PolicyText      `json:"policy,omitempty"`       // texts of the set that decided, as the entry's digest proves
}

// IssuerKey is a gate's statement with which key of the issuer it verified tokens.
type IssuerKey struct {
	Index  uint64    `json:"index"` // of the entry that says so
	Time   time.Time `json:"time"`
	Issuer string    `json:"issuer"`
	KeyID  string    `json:"kid"`
	JWK    string    `json:"jwk"` // RFC 7517
}

// KeyUse is a gate's statement which key it attests with.
type KeyUse struct {
	Index uint64    `json:"index"` // of the entry that says so
	Time  time.Time `json:"time"`
	KeyID string    `json:"kid"` // see attest.KeyID
}

// VerifyBundle checks a bundle with nothing but what is in it and the trust given: no server, no clock, no file. It uses
// golang.org/x/mod's tlog and note, and nothing of what made the log. The error is a *BundleError with a stable code when the bundle
// does not prove what it says; any other error means that trust is unusable.
func VerifyBundle(raw []byte, trust Trust) (BundleReport, error) {
	b, err := parseBundle(raw)
	if err != nil {
		return BundleReport{}, err
	}
	return verifyBundle(b, trust)
}

func verifyBundle(b Bundle, trust Trust) (BundleReport, error) {
	c, uses, err := trust.checkpoint(b)
	if err != nil {
		return BundleReport{}, err
	}
	e, err := b.Entry.verify(c)
	if err != nil {
		return BundleReport{}, err
	}
	r := BundleReport{Origin: c.origin, Size: c.size, Root: base64.StdEncoding.EncodeToString(c.root[:]), Index: b.Entry.Index, Entry: e, LogKeys: uses}
	if r.Keys, err = b.history(c, e); err != nil {
		return BundleReport{}, err
	}
	if err := b.attestation(&r, trust); err != nil {
		return BundleReport{}, err
	}
	if b.IssuerKey != nil {
		k, err := b.IssuerKey.verify(c)
		if err != nil {
			return BundleReport{}, err
		}
		if !HoldsIssuerKey(k, e) || b.IssuerKey.Index >= b.Entry.Index {
			return BundleReport{}, refuse(CodeIssuerKey, "entry %d is not one by which gate %q put the key %.80q of the caller's issuer on record before entry %d", b.IssuerKey.Index, e.Gate, e.Actor.TokenKey, b.Entry.Index)
		}
		r.IssuerKey = &IssuerKey{Index: b.IssuerKey.Index, Time: k.Time, Issuer: k.Detail["issuer"], KeyID: k.Detail["kid"], JWK: k.Detail["jwk"]}
	}
	if len(b.Policy) > 0 {
		sum := sha256.Sum256(joinPolicy(b.Policy))
		if e.Decision == nil || e.Decision.PolicyDigest != hex.EncodeToString(sum[:]) {
			return BundleReport{}, refuse(CodePolicyMismatch, "the policy texts have the digest %x, which the entry does not name", sum)
		}
		r.Policy = b.Policy
	}
	return r, nil
}

// checkpoint opens the bundle's checkpoint with the key that it states, if that is trusted or follows from one that is.
func (t Trust) checkpoint(b Bundle) (checkpoint, []LogKeyUse, error) {
	if len(t.LogKeys) == 0 {
		return checkpoint{}, nil, errors.New("verifying bundle: no log key is trusted: get the log's verifier key from whoever runs it, not from the bundle")
	}
	for _, key := range t.LogKeys {
		if _, err := note.NewVerifier(key); err != nil {
			return checkpoint{}, nil, fmt.Errorf("verifying bundle: a trusted log key must have the form ORIGIN+HASH+KEY: %w", err)
		}
	}
	uses, err := t.follow(b)
	if err != nil {
		return checkpoint{}, nil, err
	}
	v, err := note.NewVerifier(b.VerifierKey)
	if err != nil {
		return checkpoint{}, nil, refuse(CodeKeyUntrusted, "%v", err)
	}
	c, code, err := openCheckpoint([]byte(b.Checkpoint), alone(b.VerifierKey, v))
	if code != "" {
		return checkpoint{}, nil, refuse(code, "%v", err)
	}
	if text, sigs, ok := strings.Cut(b.Checkpoint, "\n\n"); !ok || signatures(text, sigs, v) != 1 {
		return checkpoint{}, nil, refuse(CodeCheckpointSignature, "the checkpoint has signatures beside the log's own, or not in canonical form; this build can't check them")
	}
	if b.Origin != c.origin {
		return checkpoint{}, nil, refuse(CodeCheckpointOrigin, "the bundle states the origin %.80q, its checkpoint %q", b.Origin, c.origin)
	}
	return c, uses, nil
}

// follow finds a trusted key from which the bundle's follows. Links are verified whether they are needed or not: nothing in a bundle is unproven.
func (t Trust) follow(b Bundle) (uses []LogKeyUse, err error) {
	steps, err := followAll(b.LogKeys)
	if err != nil {
		return nil, err
	}
	trusted := slices.Contains(t.LogKeys, b.VerifierKey)
	for i, s := range steps {
		if trusted = trusted || slices.Contains(t.LogKeys, s.from); i == len(steps)-1 && s.to != b.VerifierKey {
			return nil, refuse(CodeKeyHistory, "the bundle's keys lead to %.120q, and its checkpoint is of %.120q", s.to, b.VerifierKey)
		}
		uses = append(uses, s.use)
	}
	if !trusted {
		return nil, refuse(CodeKeyUntrusted, "the bundle is of a log with the key %.120q, which is not one that is trusted, and follows from none", b.VerifierKey)
	}
	return uses, nil
}

// signatures counts the signature lines of a note of which each is by v and canonically encoded; 0 when any is not.
func signatures(text, sigs string, v note.Verifier) int {
	lines := strings.Split(strings.TrimSuffix(sigs, "\n"), "\n")
	for _, line := range lines {
		encoded, ok := strings.CutPrefix(line, "— "+v.Name()+" ")
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(raw) < 4 || base64.StdEncoding.EncodeToString(raw) != encoded || !v.Verify([]byte(text+"\n"), raw[4:]) {
			return 0
		}
	}
	return len(lines)
}

// verify checks that the entry is in the tree of the checkpoint, at its index, and reads it.
func (p ProvenEntry) verify(c checkpoint) (audit.Entry, error) {
	proof, err := p.hashes()
	if err != nil {
		return audit.Entry{}, err
	}
	if p.Index >= c.size {
		return audit.Entry{}, refuse(CodeProofMismatch, "index %d is outside the tree of %d entries", p.Index, c.size)
	}
	if err := tlog.CheckRecord(proof, int64(c.size), c.root, int64(p.Index), tlog.RecordHash([]byte(p.Raw))); err != nil {
		return audit.Entry{}, refuse(CodeProofMismatch, "the proof does not lead from this entry at index %d to the root of the tree of %d entries: entry, index, proof or checkpoint is not of the others", p.Index, c.size)
	}
	e, err := audit.ParseEntry([]byte(p.Raw))
	if err != nil {
		return audit.Entry{}, refuse(CodeEntryMalformed, "entry %d: %v", p.Index, err)
	}
	return e, nil
}

// history checks the key history: proven, of the entry's gate, before it, and in order.
func (b Bundle) history(c checkpoint, e audit.Entry) ([]KeyUse, error) {
	var uses []KeyUse
	for i, p := range b.KeyHistory {
		k, err := p.verify(c)
		if err != nil {
			return nil, err
		}
		if !namesKey(k, e.Gate) || p.Index >= b.Entry.Index || i > 0 && p.Index <= b.KeyHistory[i-1].Index {
			return nil, refuse(CodeHistoryMismatch, "entry %d is not one by which gate %q named its attestation key before entry %d, or is out of order", p.Index, e.Gate, b.Entry.Index)
		}
		uses = append(uses, KeyUse{Index: p.Index, Time: k.Time, KeyID: k.Detail[keyDetail]})
	}
	return uses, nil
}

// attestation checks the keys, and the attestation against keys and entry.
func (b Bundle) attestation(r *BundleReport, trust Trust) error {
	keys, knownBy := attest.KeySet{}, "log"
	if len(b.Keys) > 0 {
		var err error
		if keys, err = attest.ParseKeySet(b.Keys); err != nil || !bytes.Equal(compact(keys.JSON()), compact(b.Keys)) {
			return refuse(CodeBundleMalformed, "attestation_keys is not a key set as this log's gates publish it")
		}
		for _, k := range keys.Keys() {
			if !slices.ContainsFunc(r.Keys, func(u KeyUse) bool { return u.KeyID == k.ID }) || !k.NotBefore.IsZero() || !k.NotAfter.IsZero() {
				return refuse(CodeAttestationKey, "the attestation key %s, with its validity, is named by no entry of the key history", k.ID)
			}
		}
	}
	if b.Attestation == "" {
		return nil
	}
	if trust.AttestationKeys.Len() > 0 {
		keys, knownBy = trust.AttestationKeys, "trust"
	}
	audience := trust.Audience
	if audience == "" {
		audience = attest.UnverifiedAudience(b.Attestation)
	}
	v, err := keys.Verify(b.Attestation, audience)
	if err != nil {
		var refused *attest.Error
		if errors.As(err, &refused) {
			return refuse(Code(refused.Code), "%s", refused.Detail)
		}
		return refuse(CodeAttestationMismatch, "%v", err)
	}
	s := v.Statement()
	if field := contradiction(s, r.Entry); field != "" {
		return refuse(CodeAttestationMismatch, "the attestation %s and the entry %s do not agree on %s", s.ID, r.Entry.ID, field)
	}
	r.Attestation, r.AttestedBy, r.KeyKnownBy = &s, v.KeyID(), knownBy
	return nil
}

// contradiction names a field on which an attestation and its decision's entry differ. The edge and what the resource has beyond the
// workflow are the attestation's own to say.
func contradiction(s attest.Statement, e audit.Entry) string {
	var policies []string
	if e.Decision != nil {
		policies = e.Decision.Policies
	}
	switch {
	case e.Kind != audit.KindDecision || e.Decision == nil || !e.Decision.Allow:
		return "that the call was allowed"
	case s.ID != e.ID:
		return "the decision"
	case s.Issuer != e.Gate:
		return "the gate"
	case s.Originator.Principal != e.Actor.Principal:
		return "who it was"
	case s.Reason != e.Reason:
		return "the reason"
	case s.Grant != e.Grant:
		return "the grant"
	case s.Binding.Namespace != e.Resource.Namespace:
		return "the namespace"
	case s.RequestDigest != e.RequestDigest:
		return "the request"
	case !slices.Equal(s.Policies, policies):
		return "the policies"
	case s.Edge != attest.EdgeSchedule && s.Binding.WorkflowID != e.Resource.WorkflowID:
		return "the workflow"
	}
	return ""
}
