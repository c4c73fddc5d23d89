package policy

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// BundleType is the typ of a bundle's JWS header.
const BundleType = "bailiwick-policy-bundle+jwt"

// bundleVersion is the integer version of the format. History: 1 (2026-11) first.
const bundleVersion = 1

// maxBundle bounds a bundle, in bytes.
const maxBundle = 64 << 20

// Codes of a BundleError. They are stable.
const (
	BundleMalformed  = "bundle_malformed"
	BundleVersion    = "bundle_version"
	BundleKeyUnknown = "bundle_key_unknown" // signed by a key that is not trusted here
	BundleSignature  = "bundle_signature"
	BundleExpired    = "bundle_expired"
	BundleRollback   = "bundle_rollback" // older than one that was in force
	BundlePolicies   = "bundle_policies" // well signed, but its policies don't load
)

// BundleError says why a bundle is refused.
type BundleError struct {
	Code   string
	Detail string
	Cause  error // a *LoadError for BundlePolicies, else mostly nil
}

func (e *BundleError) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Detail + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Detail
}

func (e *BundleError) Unwrap() error { return e.Cause }

// Manifest is what a signed bundle says of itself.
type Manifest struct {
	Version int       `json:"version"`
	Serial  uint64    `json:"serial"` // grows with each bundle; an older one is refused
	Expires time.Time `json:"expires"`
	Digest  string    `json:"digest"` // of the set inside, as decisions carry it; it depends on this build's schema
	KeyID   string    `json:"kid"`    // RFC 7638 thumbprint of the key that signed
	Files   []string  `json:"files"`
}

type bundleHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

type bundlePayload struct {
	Version int          `json:"version"`
	Serial  uint64       `json:"serial"`
	Expires time.Time    `json:"expires"` // UTC, whole seconds
	Files   []bundleFile `json:"files"`   // sorted by name
}

type bundleFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"` // base64 (RFC 4648 section 4)
}

var b64 = base64.RawURLEncoding.Strict()

// BundleKeyID is the RFC 7638 thumbprint by which bundles name the key that signed them.
func BundleKeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + b64.EncodeToString(key) + `"}`))
	return b64.EncodeToString(sum[:])
}

// BuildBundle packs a policy directory into a compact JWS (RFC 7515; EdDSA, RFC 8037). The same arguments give the same bytes. serial begins
// at 1 and must grow with every bundle; from expires on (whole seconds) a gate without a newer bundle decides nothing any more. A directory
// that does not load is not packed.
func BuildBundle(dir string, key ed25519.PrivateKey, serial uint64, expires time.Time) ([]byte, error) {
	switch {
	case len(key) != ed25519.PrivateKeySize:
		return nil, errors.New("building a policy bundle: the key is no Ed25519 private key")
	case serial == 0:
		return nil, errors.New("building a policy bundle: serials begin at 1")
	case expires.IsZero():
		return nil, errors.New("building a policy bundle: say when it expires")
	}
	src, err := readSource(dir)
	if err != nil {
		return nil, fmt.Errorf("building a policy bundle: %w", err)
	}
	if s, problems := compile(src); s == nil {
		return nil, fmt.Errorf("building a policy bundle from %s: %w", dir, &LoadError{problems})
	}
	p := bundlePayload{Version: bundleVersion, Serial: serial, Expires: expires.UTC().Truncate(time.Second)}
	for _, f := range src.files {
		p.Files = append(p.Files, bundleFile{f.name, f.data})
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("building a policy bundle: %w", err)
	}
	header, err := json.Marshal(bundleHeader{"EdDSA", BundleKeyID(key.Public().(ed25519.PublicKey)), BundleType})
	if err != nil {
		return nil, fmt.Errorf("building a policy bundle: %w", err)
	}
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	raw := []byte(signed + "." + b64.EncodeToString(ed25519.Sign(key, []byte(signed))))
	if len(raw) > maxBundle {
		return nil, fmt.Errorf("building a policy bundle: it has %d bytes, the limit is %d", len(raw), maxBundle)
	}
	return raw, nil
}

// OpenBundle verifies a bundle and loads the set inside. Errors are of type *BundleError. A serial below minSerial is refused, and so is a
// bundle that has expired at now. The manifest is filled as far as the signature was good.
func OpenBundle(raw []byte, keys []ed25519.PublicKey, minSerial uint64, now time.Time) (*Set, Manifest, error) {
	p, m, err := verifyBundle(raw, keys)
	if err != nil {
		return nil, m, err
	}
	switch {
	case m.Serial < minSerial:
		return nil, m, &BundleError{Code: BundleRollback, Detail: fmt.Sprintf("its serial %d is older than %d, which was in force", m.Serial, minSerial)}
	case !now.Before(m.Expires):
		return nil, m, &BundleError{Code: BundleExpired, Detail: fmt.Sprintf("it expired at %s: sign a new one", m.Expires.Format(time.RFC3339))}
	}
	s, err := p.load()
	if err != nil {
		return nil, m, err
	}
	m.Digest = s.digest
	return s, m, nil
}

// verifyBundle checks form and signature. Both the header and the payload must be byte for byte as BuildBundle writes them, so that there is
// one reading of each: no unknown or repeated keys, no other order, no spaces.
func verifyBundle(raw []byte, keys []ed25519.PublicKey) (bundlePayload, Manifest, error) {
	var p bundlePayload
	malformed := func(detail string) (bundlePayload, Manifest, error) {
		return p, Manifest{}, &BundleError{Code: BundleMalformed, Detail: detail}
	}
	if len(raw) > maxBundle {
		return malformed(fmt.Sprintf("it has more than %d bytes", maxBundle))
	}
	parts := strings.Split(string(raw), ".")
	if len(parts) != 3 {
		return malformed("it is no compact JWS")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = b64.DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return malformed("it is no base64url without padding")
		}
	}
	var h bundleHeader
	if !canonical(decoded[0], &h) {
		return malformed("its header is not as this format has it")
	}
	if h.Algorithm != "EdDSA" || h.Type != BundleType {
		return malformed(fmt.Sprintf("its header says alg %.20q and typ %.40q, not EdDSA and %s", h.Algorithm, h.Type, BundleType))
	}
	at := slices.IndexFunc(keys, func(k ed25519.PublicKey) bool { return len(k) == ed25519.PublicKeySize && BundleKeyID(k) == h.KeyID })
	if at < 0 {
		return p, Manifest{}, &BundleError{Code: BundleKeyUnknown, Detail: fmt.Sprintf("it is signed by the key %.60q, which is not trusted here", h.KeyID)}
	}
	if !ed25519.Verify(keys[at], []byte(parts[0]+"."+parts[1]), decoded[2]) {
		return p, Manifest{}, &BundleError{Code: BundleSignature, Detail: "its signature does not match"}
	}
	var version struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(decoded[1], &version) == nil && version.Version != bundleVersion {
		return p, Manifest{}, &BundleError{Code: BundleVersion, Detail: fmt.Sprintf("it is of version %d, this build reads %d", version.Version, bundleVersion)}
	}
	if !canonical(decoded[1], &p) {
		return malformed("its payload is not as this format has it")
	}
	m := Manifest{Version: p.Version, Serial: p.Serial, Expires: p.Expires, KeyID: h.KeyID}
	for i, f := range p.Files {
		if f.Name != RolesFile && filepath.Ext(f.Name) != ".cedar" || strings.HasPrefix(f.Name, ".") || strings.ContainsAny(f.Name, `/\`) {
			return malformed(fmt.Sprintf("it holds a file %.60q", f.Name))
		}
		if i > 0 && p.Files[i-1].Name >= f.Name {
			return malformed("its files are not in order")
		}
		m.Files = append(m.Files, f.Name)
	}
	return p, m, nil
}

// canonical decodes JSON that is written as json.Marshal writes it.
func canonical(data []byte, into any) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if dec.Decode(into) != nil {
		return false
	}
	again, err := json.Marshal(into)
	return err == nil && bytes.Equal(again, data)
}

// load compiles what is in a verified bundle.
func (p *bundlePayload) load() (*Set, error) {
	files := make([]file, len(p.Files))
	for i, f := range p.Files {
		files[i] = file{f.Name, f.Data}
	}
	s, problems := compile(newSource(files))
	if s == nil {
		return nil, &BundleError{Code: BundlePolicies, Detail: "its policies do not load", Cause: &LoadError{problems}}
	}
	s.serial, s.expires = p.Serial, p.Expires
	return s, nil
}
