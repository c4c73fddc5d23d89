package exchange

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// FuzzParseAct: whatever is accepted makes a request that can be encoded, with a header that the gate can write into.
func FuzzParseAct(f *testing.F) {
	for _, edge := range []string{"start", "signal", "update", "query", "schedule", "activity"} {
		f.Add(`[{"type":"temporal_act","edge":"` + edge + `","namespace":"n","workflow_id":"w","workflow_type":"t","task_queue":"q","name":"x","schedule_id":"s","activity_id":"a","request_digest":"` + strings.Repeat("0a", 32) + `"}]`)
	}
	f.Add(`[]`)
	f.Add(`[{"type":"temporal_act"},{}]`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAct(text)
		if err != nil {
			return
		}
		method, request, header := a.request()
		m, ok := request.(proto.Message)
		if !ok || !strings.HasPrefix(method, service) {
			t.Fatalf("%s: %T", method, request)
		}
		if _, err := proto.Marshal(m); err != nil {
			t.Fatalf("accepted what can't be sent: %v", err)
		}
		if a.Namespace == "" || !a.Edge.Known() || header().GetFields() == nil || header().GetFields()[attest.HeaderKey] != nil {
			t.Fatalf("%+v", a)
		}
	})
}
