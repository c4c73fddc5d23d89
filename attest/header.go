package attest

import (
	"strings"

	commonpb "go.temporal.io/api/common/v1"
)

// LineageKey is the header field by which a worker tells an activity of which run it is part. It is a claim of the workflow's worker,
// signed by nobody: it can widen what an attestation is accepted for only to the run's own parent and root.
const LineageKey = "bailiwick-run"

const (
	encodingKey  = "encoding"
	encodingJSON = "json/plain"
)

// ToPayload wraps an attestation as the JSON that it is, so that user interfaces show what it says.
func ToPayload(raw string) *commonpb.Payload {
	return &commonpb.Payload{
		Metadata: map[string][]byte{encodingKey: []byte(encodingJSON)},
		Data:     []byte(raw),
	}
}

// FromPayload returns the attestation in a payload made by ToPayload; ok is false for what can't be one. It verifies nothing.
func FromPayload(p *commonpb.Payload) (raw string, ok bool) {
	data := p.GetData()
	if string(p.GetMetadata()[encodingKey]) != encodingJSON || len(data) == 0 || len(data) > MaxSize {
		return "", false
	}
	return string(data), true
}

// ToNexus writes an attestation as the value of a Nexus header: base64url, because HTTP carries no text beyond ASCII.
func ToNexus(raw string) string { return b64.EncodeToString([]byte(raw)) }

// FromNexus returns the attestation in a value made by ToNexus; ok is false for what can't be one. It verifies nothing.
func FromNexus(value string) (raw string, ok bool) {
	if len(value) > b64.EncodedLen(MaxSize) {
		return "", false
	}
	data, ok := decodePart(value)
	return string(data), ok
}

// StripNexus does what Strip does for the headers of a Nexus call.
func StripNexus(h map[string]string) (removed int) {
	for key := range h {
		if strings.EqualFold(key, HeaderKey) {
			delete(h, key)
			removed++
		}
	}
	return removed
}

// Strip removes every field that a reader could take for ours, however it is cased. Gates call it on what clients send.
func Strip(h *commonpb.Header) (removed int) {
	for key := range h.GetFields() {
		if strings.EqualFold(key, HeaderKey) || strings.EqualFold(key, LineageKey) {
			delete(h.Fields, key)
			removed++
		}
	}
	return removed
}
