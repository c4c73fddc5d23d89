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

func TestNearestAction(t *testing.T) {
	for name, want := range map[string]string{
		"StartWorkflowExecutoin": "StartWorkflowExecution", "SignalWorkflow": "SignalWorkflowExecution", "DeleteNamespace": "Operator.DeleteNamespace", "": "", "Zzzzzz": "",
	} {
		if got := NearestAction(name); got != want {
			t.Errorf("%q is taken for %q, want %q", name, got, want)
		}
	}
}
