package policy

import (
	"reflect"
	"testing"
)

func TestDetail(t *testing.T) {
	for _, c := range []Context{
		{},
		{Role: "write", Minutes: 90, Requester: "user:https://acme|00u1"},
		{Wanted: []string{"TerminateWorkflowExecution", "SignalWorkflowExecution"}},
	} {
		var back Context
		back.FromDetail(c.Detail())
		if !reflect.DeepEqual(back, c) {
			t.Errorf("%+v became %+v by %v", c, back, c.Detail())
		}
	}
	if d := (&Context{Reason: "r", Granted: true, Grant: "G"}).Detail(); d != nil {
		t.Errorf("got %v", d)
	}
	var c Context
	if c.FromDetail(map[string]string{"seconds": "61", "other": "x"}); c.Minutes != 2 {
		t.Errorf("got %+v", c)
	}
}
