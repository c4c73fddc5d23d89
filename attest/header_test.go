package attest_test

import (
	"encoding/json"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

func TestPayload(t *testing.T) {
	raw := mustSign(t, attest.NewSigner(fixedKey("a")), typical())
	p := attest.ToPayload(raw)
	var shown struct {
		ID  string   `json:"jti"`
		By  []string `json:"by"`
		Why string   `json:"why"`
	}
	if err := json.Unmarshal(p.Data, &shown); err != nil || shown.ID != typical().ID || shown.By[1] != "alice@acme.example" || shown.Why != typical().Reason || string(p.Metadata["encoding"]) != "json/plain" {
		t.Errorf("user interfaces would show %+v (%v)", shown, err)
	}
	if got, ok := attest.FromPayload(p); !ok || got != raw {
		t.Errorf("read back %q, %v", got, ok)
	}
	for name, p := range map[string]*commonpb.Payload{
		"nil":       nil,
		"empty":     {},
		"protobuf":  {Metadata: map[string][]byte{"encoding": []byte("json/protobuf")}, Data: []byte(`"a.b.c"`)},
		"encrypted": {Metadata: map[string][]byte{"encoding": []byte("binary/encrypted")}, Data: []byte(`"a.b.c"`)},
		"large":     attest.ToPayload(strings.Repeat("a", attest.MaxSize+1)),
	} {
		if got, ok := attest.FromPayload(p); ok {
			t.Errorf("%s: read %q", name, got)
		}
	}
}

// Threat 26: a client sends our own header fields, in any spelling.
func TestStrip(t *testing.T) {
	h := &commonpb.Header{Fields: map[string]*commonpb.Payload{
		attest.HeaderKey:         {},
		"Bailiwick-Attestation":  {},
		"BAILIWICK-ATTESTATION":  {},
		"bailiwicK-attestation":  {}, // U+212A KELVIN SIGN folds to k
		"Bailiwick-Run":          {},
		"bailiwick-attestation2": {},
		"trace":                  {},
	}}
	if n := attest.Strip(h); n != 5 {
		t.Errorf("removed %d", n)
	}
	if len(h.Fields) != 2 || h.Fields["trace"] == nil || h.Fields["bailiwick-attestation2"] == nil {
		t.Errorf("left %v", h.Fields)
	}
	if attest.Strip(nil) != 0 || attest.Strip(&commonpb.Header{}) != 0 {
		t.Error("removed something from nothing")
	}
}
