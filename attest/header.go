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
