package export

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// otlpRequest makes log records of a batch (https://opentelemetry.io/docs/specs/otlp, 1.x). The body is the JSON of the sink's format.
func otlpRequest(batch []Message, now time.Time) *collector.ExportLogsServiceRequest {
	records := make([]*logs.LogRecord, len(batch))
	for i := range batch {
		m := &batch[i]
		number, text := otlpSeverity(m.Severity)
		r := &logs.LogRecord{
			TimeUnixNano: uint64(max(m.Time.UnixNano(), 0)), ObservedTimeUnixNano: uint64(now.UnixNano()), SeverityNumber: number, SeverityText: text,
			Body: text2any(string(m.Body)), EventName: "bailiwick." + string(m.Kind),
			Attributes: []*common.KeyValue{
				{Key: "bailiwick.index", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(m.Index)}}},
				attr("bailiwick.id", m.ID),
				attr("bailiwick.kind", string(m.Kind)),
			},
		}
		if e := m.Entry; e != nil {
			for _, kv := range [][2]string{
				{"bailiwick.gate", e.Gate}, {"bailiwick.action", e.Action}, {"bailiwick.access", e.Access}, {"bailiwick.namespace", e.Resource.Namespace},
				{"bailiwick.workflow_id", e.Resource.WorkflowID}, {"bailiwick.grant", e.Grant}, {"enduser.id", e.Actor.Principal}, {"user.name", e.Actor.Login},
				{"client.address", e.Source},
			} {
				if kv[1] != "" {
					r.Attributes = append(r.Attributes, attr(kv[0], kv[1]))
				}
			}
			if d := e.Decision; d != nil {
				r.Attributes = append(r.Attributes, attr("bailiwick.outcome", map[bool]string{true: "allow", false: "deny"}[d.Allow]), attr("bailiwick.code", string(d.Code)))
			}
		}
		records[i] = r
	}
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resource.Resource{Attributes: []*common.KeyValue{attr("service.name", "bailiwick")}},
		ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "bailiwick/audit"}, LogRecords: records}},
	}}}
}

func otlpSeverity(s Severity) (logs.SeverityNumber, string) {
	switch s {
	case SeverityAlert:
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR, "ERROR"
	case SeverityWarning:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	case SeverityNotice:
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO2, "INFO2"
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_INFO, "INFO"
}

func attr(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: text2any(value)}
}

// text2any makes a value of a text; protobuf refuses strings that are not UTF-8, and canonical entries have none.
func text2any(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

// otlpAnswer judges a partial success. The protocol forbids to send such a batch again and does not say which records were rejected: all
// of it becomes dead letters, to be looked at and retried by hand.
func otlpAnswer(a *collector.ExportLogsServiceResponse, n int) error {
	p := a.GetPartialSuccess()
	if p.GetRejectedLogRecords() == 0 {
		return nil // a message without rejections is a warning
	}
	r := &Refused{Code: "partial", Text: clip(fmt.Sprintf("%d of these %d records were rejected, without saying which: %s", p.GetRejectedLogRecords(), n, p.GetErrorMessage()))}
	for i := range n {
		r.Which = append(r.Which, i)
	}
	return r
}

// otlpSink posts log records to a collector as protobuf.
type otlpSink struct {
	cfg    OTLPConfig
	client *http.Client
}

func newOTLPSink(cfg OTLPConfig) (*otlpSink, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, errors.New("reading the collector's URL")
	}
	c, err := client(u.Hostname(), cfg.TLS, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	return &otlpSink{cfg: cfg, client: c}, nil
}

// Send implements Sink.
func (s *otlpSink) Send(ctx context.Context, batch []Message) error {
	body, err := proto.Marshal(otlpRequest(batch, time.Now()))
	if err != nil {
		return fmt.Errorf("encoding log records: %w", err)
	}
	req, err := newRequest(ctx, s.cfg.Endpoint, body, "application/x-protobuf", s.cfg.Gzip, s.cfg.Headers)
	if err != nil {
		return err
	}
	token, err := readSecret(s.cfg.TokenFile)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	raw, err := exchange(s.client, req)
	if err != nil {
		return err
	}
	var answer collector.ExportLogsServiceResponse
	if err := proto.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading the collector's answer: %w", err)
	}
	return otlpAnswer(&answer, len(batch))
}

// Close implements Sink.
func (s *otlpSink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
