package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// NativeVersion is the integer version of the native envelope. History: 1 (2026-11) first.
const NativeVersion = 1

// Format makes the JSON object that is sent for an entry.
type Format string

const (
	FormatNative Format = "native" // our canonical entry in an envelope that says where in which log it is
	FormatOCSF   Format = "ocsf"   // Open Cybersecurity Schema Framework, version OCSFVersion
)

// Encode returns the JSON object of an event: one line, no newline.
func (f Format) Encode(e *Event) ([]byte, error) {
	switch f {
	case FormatNative:
		return native(e)
	case FormatOCSF:
		return marshalJSON(ocsf(e))
	}
	return nil, fmt.Errorf("encoding entry %d: there is no format %q", e.Index, string(f))
}

// native writes {"v":1,"log":…,"index":…,"leaf":…,"entry":{…}}. Leaf is the log's leaf hash (RFC 6962 section 2.1) of the entry as sealed,
// in base64; while no personal data was opened, it is that of entry, byte for byte.
func native(e *Event) ([]byte, error) {
	leaf := tlog.RecordHash(e.Raw)
	entry := e.Raw
	if again, err := e.Entry.Marshal(); err != nil {
		return nil, fmt.Errorf("encoding entry %d: %w", e.Index, err)
	} else if !bytes.Equal(again, e.Raw) {
		entry = again
	}
	log, err := json.Marshal(e.Log)
	if err != nil {
		return nil, fmt.Errorf("encoding entry %d: %w", e.Index, err)
	}
	b := make([]byte, 0, len(entry)+160)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, NativeVersion, 10)
	b = append(b, `,"log":`...)
	b = append(b, log...)
	b = append(b, `,"index":`...)
	b = strconv.AppendUint(b, e.Index, 10)
	if e.Test {
		b = append(b, `,"test":true`...)
	} else {
		b = append(b, `,"leaf":"`...)
		b = append(b, leaf.String()...)
		b = append(b, '"')
	}
	b = append(b, `,"entry":`...)
	b = append(b, entry...)
	return append(b, '}'), nil
}

// marshalJSON is json.Marshal without HTML escaping.
func marshalJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// message encodes an event for a sink.
func (f Format) message(e *Event) (Message, error) {
	body, err := f.Encode(e)
	if err != nil {
		return Message{}, err
	}
	return Message{Index: e.Index, ID: e.Entry.ID, Time: e.Entry.Time, Kind: e.Entry.Kind, Severity: severityOf(&e.Entry), Entry: &e.Entry, Body: body}, nil
}
