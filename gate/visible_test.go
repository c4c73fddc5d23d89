package gate_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
)

const operatorMethod = "/temporal.api.operatorservice.v1.OperatorService/"

func text(p *commonpb.Payload) (s string) {
	_ = json.Unmarshal(p.GetData(), &s)
	return s
}

func keyword(s string) *commonpb.Payload {
	data, _ := json.Marshal(s)
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data}
}

func TestRunsShowWhoStartedThem(t *testing.T) {
	runs := &resolver{attributes: map[string]map[string]enumspb.IndexedValueType{"deploy": gate.SearchAttributes()}, started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{}}
	k := newKitWith(t, "", gate.Config{Runs: runs})
	reason := strings.Repeat("why ", 100)
	start := func(change func(*workflowservice.StartWorkflowExecutionRequest)) *workflowservice.StartWorkflowExecutionRequest {
		t.Helper()
		req := startRequest()
		change(req)
		c := k.call("StartWorkflowExecution", req, k.alice())
		c.Reason = []string{reason}
		a, err := k.Admit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if e := k.log.last(t); strings.Contains(strings.Join(e.Resource.SearchAttributes, " "), "ailiwick") {
			t.Errorf("the caller's copy was decided on: %v", e.Resource.SearchAttributes)
		}
		if err := k.Stamp(a, req); err != nil {
			t.Fatal(err)
		}
		if id, ok := gate.DecisionOf(req.Identity); !ok || id != a.ID() || !strings.HasPrefix(req.Identity, "alice@acme.example via") {
			t.Errorf("signed %q", req.Identity)
		}
		return req
	}
	lie := func(r *workflowservice.StartWorkflowExecutionRequest) {
		r.Identity = "bob@acme.example via bailiwick [01936a2e-0000-7000-8000-000000000000]"
		r.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{gate.FieldOriginator: keyword("bob"), "BAILIWICKactor": keyword("bob"), "Team": keyword("blue")}}
		r.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{gate.FieldTrigger: keyword("bob"), "note": keyword("kept")}}
	}
	req := start(lie)
	for name, want := range map[string]string{gate.FieldOriginator: "alice@acme.example", gate.FieldActor: "alice@acme.example", gate.FieldReason: strings.TrimSpace(reason), "Team": "blue", "BAILIWICKactor": ""} {
		if got := text(req.SearchAttributes.IndexedFields[name]); got != want {
			t.Errorf("search attribute %s: %q, want %q", name, got, want)
		}
	}
	if m := req.Memo.Fields; len(m) != 1 || text(m["note"]) != "kept" { // what is searchable is not said twice
		t.Errorf("memo: %v", m)
	}
	_ = start(func(*workflowservice.StartWorkflowExecutionRequest) {})
	if n := runs.listed.Load(); n != 1 {
		t.Errorf("%d look-ups of the same namespace", n)
	}

	// What the run starts is on behalf of the same person, whatever its worker says.
	runs.started["ship-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: req.WorkflowType, Header: req.Header}
	//lint:ignore SA1019 deprecated in the API, and still obeyed by the server
	child := &commandpb.StartChildWorkflowExecutionCommandAttributes{Namespace: "deploy", SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{gate.FieldOriginator: keyword("bob")}}}
	//lint:ignore SA1019 deprecated in the API, and still obeyed by the server
	other := &commandpb.StartChildWorkflowExecutionCommandAttributes{Namespace: "payments"} // where they are not registered
	if _, err := k.answer(t, "ship-1", "run-1", command(child), command(other)); err != nil {
		t.Fatal(err)
	}
	if text(child.SearchAttributes.IndexedFields[gate.FieldOriginator]) != "alice@acme.example" || child.Memo != nil {
		t.Errorf("child: %v %v", child.SearchAttributes, child.Memo)
	}
	if other.SearchAttributes != nil || text(other.Memo.GetFields()[gate.FieldOriginator]) != "alice@acme.example" {
		t.Errorf("child in a namespace without the attributes: %v %v", other.SearchAttributes, other.Memo)
	}
	// And of a run that nobody attested nothing is shown.
	if _, err := k.answer(t, "old-1", "run-1", command(child)); err != nil || child.SearchAttributes.GetIndexedFields()[gate.FieldOriginator] != nil || len(child.Memo.GetFields()) != 0 {
		t.Errorf("child of an unattested run: %v %v, %v", child.SearchAttributes, child.Memo, err)
	}
}

// A start never fails because attributes can't be looked up, and a keyword is never longer than what SQL stores keep.
func TestRunsWithoutSearchAttributes(t *testing.T) {
	for name, runs := range map[string]*resolver{"none": {}, "away": {err: errors.New("away")},
		"keywords": {attributes: map[string]map[string]enumspb.IndexedValueType{"deploy": {gate.FieldReason: enumspb.INDEXED_VALUE_TYPE_KEYWORD, gate.FieldActor: enumspb.INDEXED_VALUE_TYPE_INT}}}} {
		k := newKitWith(t, "", gate.Config{Runs: runs})
		req := startRequest()
		c := k.call("StartWorkflowExecution", req, k.alice())
		c.Reason = []string{strings.Repeat("ü", 400)}
		a, err := k.Admit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Stamp(a, req); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m := req.Memo.Fields; text(m[gate.FieldOriginator]) == "" || text(m[gate.FieldReason]) != c.Reason[0] {
			t.Errorf("%s: memo %v", name, m)
		}
		fields := req.SearchAttributes.GetIndexedFields()
		if reason := text(fields[gate.FieldReason]); name != "keywords" && fields != nil || len(reason) > 255 || name == "keywords" && (len(fields) != 1 || reason == "") {
			t.Errorf("%s: search attributes %v", name, fields)
		}
	}
}

// An attribute that was just added is set only when every frontend has heard of it: until then the server would refuse the start.
func TestAttributesSettleFirst(t *testing.T) {
	for name, by := range map[string]func(*kit) (*gate.Admission, error){
		"an admin's call": func(k *kit) (*gate.Admission, error) {
			c := k.call("", &operatorservice.AddSearchAttributesRequest{Namespace: "deploy"}, k.issuer.User("carol@acme.example", "temporal:deploy:admin"))
			c.Method = operatorMethod + "AddSearchAttributes"
			return k.Admit(t.Context(), c)
		},
		"the server's own": func(k *kit) (*gate.Admission, error) {
			return k.AdmitSystem(t.Context(), gate.Call{Method: operatorMethod + "AddSearchAttributes", Request: &operatorservice.AddSearchAttributesRequest{Namespace: "deploy"}})
		},
		"another gate": nil,
	} {
		runs := &resolver{attributes: map[string]map[string]enumspb.IndexedValueType{}}
		now := time.Now()
		k := newKitWith(t, "", gate.Config{Runs: runs, Clock: func() time.Time { return now }})
		marked := func() bool {
			t.Helper()
			req := startRequest()
			a, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", req, k.alice()))
			if err == nil {
				err = k.Stamp(a, req)
			}
			if err != nil {
				t.Fatal(err)
			}
			found := text(req.SearchAttributes.GetIndexedFields()[gate.FieldActor]) != ""
			if found == (text(req.Memo.GetFields()[gate.FieldActor]) != "") {
				t.Fatalf("%s: said twice or not at all: %v", name, req)
			}
			return found
		}
		if by == nil && marked() {
			t.Errorf("%s: set before it was there", name)
		}
		runs.attributes["deploy"] = gate.SearchAttributes()
		if by != nil {
			a, err := by(k)
			if err != nil {
				t.Fatal(err)
			}
			k.Learn(a, nil, &operatorservice.AddSearchAttributesResponse{})
		} else {
			now = now.Add(61 * time.Second)
		}
		if marked() {
			t.Errorf("%s: set at once", name)
		}
		now = now.Add(11 * time.Second)
		if !marked() {
			t.Errorf("%s: not set when it had settled", name)
		}
	}
}

func TestOnlyTheGateSetsItsNames(t *testing.T) {
	k := newKit(t, "")
	upsert := &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, Attributes: &commandpb.Command_UpsertWorkflowSearchAttributesCommandAttributes{
		UpsertWorkflowSearchAttributesCommandAttributes: &commandpb.UpsertWorkflowSearchAttributesCommandAttributes{SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"bailiwickOriginator": keyword("bob")}}},
	}}
	memo := &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES, Attributes: &commandpb.Command_ModifyWorkflowPropertiesCommandAttributes{
		ModifyWorkflowPropertiesCommandAttributes: &commandpb.ModifyWorkflowPropertiesCommandAttributes{UpsertedMemo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{gate.FieldActor: keyword("bob")}}},
	}}
	for name, c := range map[string]*commandpb.Command{"search attributes": upsert, "memo": memo} {
		if _, err := k.answer(t, "ship-1", "run-1", c); err == nil || !strings.Contains(err.Error(), "Bailiwick alone") {
			t.Errorf("a worker changing %s: %v", name, err)
		}
	}
	admin := k.issuer.User("carol@acme.example", "temporal:deploy:admin")
	for name, tc := range map[string]struct {
		method string
		req    any
		ok     bool
	}{
		"registering ours":            {"AddSearchAttributes", &operatorservice.AddSearchAttributesRequest{Namespace: "deploy", SearchAttributes: gate.SearchAttributes()}, true},
		"registering another type":    {"AddSearchAttributes", &operatorservice.AddSearchAttributesRequest{Namespace: "deploy", SearchAttributes: map[string]enumspb.IndexedValueType{gate.FieldActor: enumspb.INDEXED_VALUE_TYPE_INT}}, false},
		"registering what looks like": {"AddSearchAttributes", &operatorservice.AddSearchAttributesRequest{Namespace: "deploy", SearchAttributes: map[string]enumspb.IndexedValueType{"BailiwickBoss": enumspb.INDEXED_VALUE_TYPE_KEYWORD}}, false},
		"removing ours":               {"RemoveSearchAttributes", &operatorservice.RemoveSearchAttributesRequest{Namespace: "deploy", SearchAttributes: []string{gate.FieldActor}}, false},
		"removing another":            {"RemoveSearchAttributes", &operatorservice.RemoveSearchAttributesRequest{Namespace: "deploy", SearchAttributes: []string{"Team"}}, true},
	} {
		c := k.call("", tc.req, admin)
		c.Method = operatorMethod + tc.method
		if _, err := k.Admit(t.Context(), c); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
