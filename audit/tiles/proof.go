package tiles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// BundleVersion is the integer version of the proof bundle's format. History: 1 (2026-11) first; 2 (2026-11) with log_keys, which a bundle has when its
// checkpoint is of a key that followed another. A bundle without them is still of version 1.
const (
	BundleVersion     = 1
	BundleVersionKeys = 2
)

// VersionWith is the version of a bundle with these links.
func VersionWith(links []KeyLink) int {
	if len(links) > 0 {
		return BundleVersionKeys
	}
	return BundleVersion
}

// BundleType is the value of a bundle's field "type".
const BundleType = "bailiwick-proof-bundle"

// MaxBundle is the largest bundle in bytes that is read. Prove leaves policy texts out rather than make a larger one.
const MaxBundle = 32 << 20

// Codes of bundles, beside those of checkpoints and entries. An attestation that does not verify by itself has the code that package
// attest gives it.
const (
	CodeBundleMalformed     Code = "bundle_malformed"     // not a bundle's JSON: unknown, repeated or missing fields, trailing data
	CodeBundleVersion       Code = "bundle_version"       // a bundle of a version that is not known here
	CodeKeyUntrusted        Code = "key_untrusted"        // the bundle names a log key that the verifier was not told to trust
	CodeProofMalformed      Code = "proof_malformed"      // an inclusion proof is not a list of hashes
	CodeProofMismatch       Code = "proof_mismatch"       // the proof does not lead from the entry at its index to the signed root
	CodeIssuerKey           Code = "issuer_key_mismatch"  // the issuer's key is not the one that signed the caller's token, or of another gate or later
	CodeHistoryMismatch     Code = "history_mismatch"     // an entry of the key history does not belong to this entry
	CodeAttestationKey      Code = "attestation_key"      // a key of the bundle's set is named by no entry of the key history
	CodeAttestationMismatch Code = "attestation_mismatch" // the attestation is of another decision, or contradicts the entry
	CodePolicyMismatch      Code = "policy_mismatch"      // the policy texts are not those that the entry names by digest
)

// Bundle is a proof that one entry is in a log, with what is needed to judge the entry, in one document. Its JSON is described in
// docs/audit-log.md. Whatever is in it is either covered by the checkpoint's signature, directly or by a digest, or refused.
type Bundle struct {
	Type        string          `json:"type"`               // BundleType
	Version     int             `json:"v"`                  // see VersionWith
	Origin      string          `json:"origin"`             // of the log, as the maker states it
	VerifierKey string          `json:"verifier_key"`       // the log's that signed the checkpoint, as the maker states it: a verifier must know it from elsewhere, or a key of LogKeys
	Checkpoint  string          `json:"checkpoint"`         // signed note (https://c2sp.org/tlog-checkpoint)
	LogKeys     []KeyLink       `json:"log_keys,omitempty"` // how VerifierKey follows from keys before it, oldest first
	Entry       ProvenEntry     `json:"entry"`
	KeyHistory  []ProvenEntry   `json:"key_history,omitempty"`      // entries of the same gate, before this one, that name its attestation keys; ascending
	Keys        json.RawMessage `json:"attestation_keys,omitempty"` // JWKS of keys that KeyHistory names by id
	Attestation string          `json:"attestation,omitempty"`      // for a decision that has one
	IssuerKey   *ProvenEntry    `json:"issuer_key,omitempty"`       // entry of the same gate, before this one, with the issuer's key that signed the caller's token
	Policy      []PolicyText    `json:"policy,omitempty"`           // schema and files of the set that decided; their digest is in the entry
}

// ProvenEntry is an entry with its inclusion proof.
type ProvenEntry struct {
	Index uint64   `json:"index"`
	Raw   string   `json:"raw"`   // the entry, byte for byte as it is in the log
	Proof []string `json:"proof"` // inclusion proof in the checkpoint's tree (RFC 6962 section 2.1.1): hashes in base64, from the leaf up
}

// PolicyText is one file of a policy set. The set's first is its schema, named "schema".
type PolicyText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Marshal writes the bundle: indented JSON with the fields in the order of the structs, ending in a newline.
func (b Bundle) Marshal() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	if err := enc.Encode(b); err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	if buf.Len() > MaxBundle {
		return nil, fmt.Errorf("writing bundle: it has %d bytes, more than %d", buf.Len(), MaxBundle)
	}
	return buf.Bytes(), nil
}

// parseBundle reads a bundle. It is strict, but for white space: whatever Marshal would not have written is refused, so that no two
// readers can see different things in one bundle.
func parseBundle(raw []byte) (Bundle, error) {
	if len(raw) > MaxBundle {
		return Bundle{}, refuse(CodeBundleMalformed, "it has %d bytes, more than %d", len(raw), MaxBundle)
	}
	var head struct {
		Type    string `json:"type"`
		Version int    `json:"v"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return Bundle{}, refuse(CodeBundleMalformed, "%v", err)
	}
	if head.Type != BundleType {
		return Bundle{}, refuse(CodeBundleMalformed, "its type is %.40q, not %q", head.Type, BundleType)
	}
	if head.Version != BundleVersion && head.Version != BundleVersionKeys {
		return Bundle{}, refuse(CodeBundleVersion, "it has version %d, this build reads versions %d and %d; use a newer bailiwick", head.Version, BundleVersion, BundleVersionKeys)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var b Bundle
	if err := d.Decode(&b); err != nil {
		return Bundle{}, refuse(CodeBundleMalformed, "%v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Bundle{}, refuse(CodeBundleMalformed, "something follows it")
	}
	if b.Version != VersionWith(b.LogKeys) {
		return Bundle{}, refuse(CodeBundleVersion, "it has version %d and %d log_keys, which do not fit", b.Version, len(b.LogKeys))
	}
	again, err := b.Marshal()
	if err != nil {
		return Bundle{}, refuse(CodeBundleMalformed, "%v", err)
	}
	if !bytes.Equal(compact(raw), compact(again)) {
		return Bundle{}, refuse(CodeBundleMalformed, "it has repeated, reordered or differently spelt fields")
	}
	return b, nil
}

func compact(raw []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil // both sides have been parsed
	}
	return b.Bytes()
}

// BundleError is why a bundle is refused.
type BundleError struct {
	Code Code
	Text string
}

func (e *BundleError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Text) }

func refuse(code Code, format string, args ...any) *BundleError {
	return &BundleError{Code: code, Text: fmt.Sprintf(format, args...)}
}

// hashes decodes an inclusion proof.
func (p ProvenEntry) hashes() (tlog.RecordProof, error) {
	if len(p.Proof) > 64 {
		return nil, refuse(CodeProofMalformed, "the proof of entry %d has %d hashes, more than any tree is high", p.Index, len(p.Proof))
	}
	proof := make(tlog.RecordProof, len(p.Proof))
	for i, s := range p.Proof {
		h, err := tlog.ParseHash(s)
		if err != nil || h.String() != s {
			return nil, refuse(CodeProofMalformed, "hash %d in the proof of entry %d is not a SHA-256 in base64", i, p.Index)
		}
		proof[i] = h
	}
	return proof, nil
}
