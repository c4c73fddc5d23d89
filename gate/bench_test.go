package gate_test

import (
	"testing"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// BenchmarkAdmit is the whole decision on a StartWorkflow with a cached token; the journal is memory, so its disk is not in the figure.
func BenchmarkAdmit(b *testing.B) {
	k := newKit(b, "")
	token := k.alice()
	req := startRequest()
	c := gate.Call{Method: service + "StartWorkflowExecution", Request: req, Authorization: []string{"Bearer " + token}}
	b.ReportAllocs()
	for b.Loop() {
		a, err := k.Admit(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		_ = a
		k.log.entries = k.log.entries[:0]
		clear(k.log.durable)
	}
}
