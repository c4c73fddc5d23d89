package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// body writes a batch in the sink's shape and says its media type.
func (s *httpSink) body(batch []Message) (body []byte, kind string) {
	var b bytes.Buffer
	switch s.cfg.Shape {
	case "array":
		b.WriteByte('[')
		for i := range batch {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(batch[i].Body)
		}
		b.WriteByte(']')
		return b.Bytes(), "application/json"
	case "splunk":
		for i := range batch {
			s.splunk(&b, &batch[i])
		}
		return b.Bytes(), "application/json"
	case "elastic":
		for i := range batch {
			s.elastic(&b, &batch[i])
		}
		return b.Bytes(), "application/x-ndjson"
	}
	for i := range batch {
		b.Write(batch[i].Body)
		b.WriteByte('\n')
	}
	return b.Bytes(), "application/x-ndjson"
}

// splunk writes an event as Splunk's HTTP Event Collector takes it; events follow each other without a separator.
func (s *httpSink) splunk(b *bytes.Buffer, m *Message) {
	b.WriteString(`{"time":` + strconv.FormatFloat(float64(m.Time.UnixMilli())/1000, 'f', 3, 64) + `,"source":"bailiwick","sourcetype":"bailiwick:audit"`)
	if s.cfg.Index != "" {
		b.WriteString(`,"index":` + quote(s.cfg.Index))
	}
	b.WriteString(`,"event":`)
	b.Write(m.Body)
	b.WriteByte('}')
}

// elastic writes an action and a document of the _bulk API. The entry's id is the document's, so that one that comes twice is kept once;
// @timestamp is what data streams ask for.
func (s *httpSink) elastic(b *bytes.Buffer, m *Message) {
	b.WriteString(`{"create":{"_index":` + quote(s.cfg.Index) + `,"_id":` + quote(fmt.Sprintf("%d-%s", m.Index, m.ID)) + "}}\n")
	b.WriteString(`{"@timestamp":"` + m.Time.UTC().Format(time.RFC3339Nano) + `",`)
	b.Write(m.Body[1:]) // bodies are objects with at least one member
	b.WriteByte('\n')
}

func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""` // a string can always be written
	}
	return string(raw)
}

// bulkAnswer judges an answer of the _bulk API item by item. A conflict means that the document is there already.
func bulkAnswer(answer []byte, n int) error {
	var a struct {
		Errors bool `json:"errors"`
		Items  []map[string]struct {
			Status int `json:"status"`
			Error  struct {
				Type   string `json:"type"`
				Reason string `json:"reason"`
			} `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("reading the receiver's answer: %w", err)
	}
	if len(a.Items) != n {
		return fmt.Errorf("the receiver answered about %d of %d documents", len(a.Items), n)
	}
	r := &Refused{}
	for i, item := range a.Items {
		did, ok := item["create"]
		switch {
		case !ok:
			return fmt.Errorf("the receiver did not answer about document %d", i)
		case did.Status/100 == 2 || did.Status == 409:
		case did.Status == 429 || did.Status >= 500:
			return fmt.Errorf("the receiver could not take all documents now: %d %s", did.Status, clip(did.Error.Type))
		case did.Status == 400 || did.Status == 413 || did.Status == 422:
			r.Which, r.Code, r.Text = append(r.Which, i), "bulk_"+strconv.Itoa(did.Status), clip(did.Error.Type+": "+did.Error.Reason)
		default:
			return fmt.Errorf("the receiver answered %d %s about a document: %w", did.Status, clip(did.Error.Type), errHold)
		}
	}
	if len(r.Which) > 0 {
		return r
	}
	return nil
}
