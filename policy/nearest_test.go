package policy

import "testing"

func TestNearestPrefersTheSmallerSlip(t *testing.T) {
	for word, want := range map[string]string{
		"operat": "operate", "wrok": "work", "StartWorkflow": "StartWorkflowExecution", "DeleteNamespace": "Operator.DeleteNamespace",
		"TerminateWorkflowExecutoin": "TerminateWorkflowExecution", "completely-different": "",
	} {
		if got := nearest(word, append(actionNames(), string(Read), string(Operate), string(Work), string(Administer))); got != want {
			t.Errorf("nearest(%q) is %q, want %q", word, got, want)
		}
	}
}
