package gate_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

var update = flag.Bool("update", false, "write testdata/matrix.golden anew; then read it by eye")

const matrixRoles = `version: 1
patterns:
  - group: "temporal:{namespace}:{role}"
groups:
  - name: temporal-operators
    roles: { "*": admin }
clients:
  - id: 0oaqueueworker000001
    roles: { payments: worker }
    task_queues: [some-name]
  - id: 0oaotherworker000001
    roles: { payments: worker }
    task_queues: [another-queue]
  - id: 0oareleaseagent00001
    agent: true
    roles: { payments: write }
`

// TestMatrix asks for each method of the API in the namespace payments as each kind of caller, under the starter policies. The golden file is
// meant to be read: whoever changes it looks at each line that changed.
func TestMatrix(t *testing.T) {
	s := newStandingKit(t, "", &resolver{runs: map[string]gate.Execution{
		"some-workflow-id/some-run-id": {RunID: "some-run-id", Type: "some-name", TaskQueue: "some-name", Running: true},
	}, started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{
		"some-workflow-id/some-run-id": {TaskQueue: &taskqueuepb.TaskQueue{Name: "some-name"}, WorkflowType: &commonpb.WorkflowType{Name: "some-name"}},
	}, queues: map[string]string{"some-workflow-id/some-activity-id": "some-name"}})
	k := s.kit
	s.grant(t, "g-1", func(g *standing.Grant) { g.Namespace = "payments" })
	s.grant(t, "g-2", func(g *standing.Grant) {
		g.Principal, g.Namespace, g.Role = s.principal("gus@acme.example"), "payments", "admin"
	})
	if err := os.WriteFile(filepath.Join(k.policies, policy.RolesFile), []byte(matrixRoles), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.engine.Reload(); err != nil {
		t.Fatal(err)
	}
	agentFor := func(login string, groups ...string) string {
		return k.issuer.Token(map[string]any{"sub": login, "uid": "00u" + login, "groups": groups, "act": map[string]any{"sub": "0oareleaseagent00001", "sub_profile": "ai_agent"}})
	}
	callers := []struct{ name, token string }{
		{"nobody", ""},
		{"stranger", k.issuer.User("bob@acme.example", "temporal:deploy:admin")},
		{"reader", k.issuer.User("rita@acme.example", "temporal:payments:read")},
		{"writer", k.issuer.User("alice@acme.example", "temporal:payments:write")},
		{"worker", k.issuer.Client("0oaqueueworker000001")},
		{"misplaced", k.issuer.Client("0oaotherworker000001")},
		{"approver", k.issuer.User("paul@acme.example", "temporal:payments:approver")},
		{"admin", k.issuer.User("carol@acme.example", "temporal:payments:admin")},
		{"operator", k.issuer.User("olga@acme.example", "temporal-operators")},
		{"agent-for", agentFor("carol@acme.example", "temporal:payments:admin")},
		{"agent", k.issuer.Client("0oareleaseagent00001")},
		{"granted-w", s.erin()},
		{"granted-a", k.issuer.User("gus@acme.example")},
	}
	short := map[string]string{"allowed": "yes", "no_permission": ".", "forbidden": "FORBID", "token_missing": "token", "unresolved": "unres"}
	var out bytes.Buffer
	out.WriteString(`# Who may call what in the namespace "payments", under the starter policies. yes: allowed; .: nothing permits it; FORBID: a policy forbids it;
# token: no token; anything else is the reason code. stranger: admin of another namespace; worker: confined to the task queue of the requests;
# misplaced: confined to another one; operator: admin of "*"; agent-for: an AI agent acting for the admin; agent: the AI agent alone, with write.
# approver: may decide about access there, and nothing else; granted-w, granted-a: no role, and a grant of write or of admin in that namespace.
`)
	line := func(name string, cells []string) {
		fmt.Fprintf(&out, "%-46s", name)
		for _, c := range cells {
			fmt.Fprintf(&out, " %-9s", c)
		}
		out.Truncate(len(bytes.TrimRight(out.Bytes(), " ")))
		out.WriteByte('\n')
	}
	var head []string
	for _, c := range callers {
		head = append(head, c.name)
	}
	line("method", head)
	for _, m := range apiMethods(t) {
		var cells []string
		for _, c := range callers {
			call := gate.Call{Method: m.full, Request: m.usual("payments"), Reason: []string{"the matrix"}}
			if _, byToken := call.Request.(interface{ GetTaskToken() []byte }); byToken {
				call.Task = &gate.Task{WorkflowID: "some-workflow-id", RunID: "some-run-id", ActivityID: "some-activity-id", TaskQueue: "some-name"}
				if strings.Contains(m.name, "Query") || strings.Contains(m.name, "Nexus") {
					call.Task = &gate.Task{TaskQueue: "some-name"}
				}
			}
			if c.token != "" {
				call.Authorization = []string{"Bearer " + c.token}
			}
			code := "allowed"
			var d *gate.Denial
			if _, err := k.Admit(t.Context(), call); errors.As(err, &d) {
				code = d.Code
			} else if err != nil {
				t.Fatal(err)
			}
			if s, ok := short[code]; ok {
				code = s
			}
			cells = append(cells, code)
		}
		line(m.name, cells)
	}
	// Acts that are no method: inside a worker's answer, over HTTP, and about access, asked of the gate like any other question.
	out.WriteString("\n# acts that are no method; access is that of somebody else\n")
	line("act", head)
	methods := map[string]bool{}
	for _, m := range apiMethods(t) {
		methods[m.name] = true
	}
	for _, action := range policy.Actions() {
		if methods[action.Name] {
			continue
		}
		var cells []string
		for _, c := range callers {
			var authorization []string
			if c.token != "" {
				authorization = []string{"Bearer " + c.token}
			}
			who, err := k.Authenticate(t.Context(), authorization, nil, officeAddr, action.Name)
			if err != nil {
				cells = append(cells, short[denial(t, err).Code])
				continue
			}
			q := gate.Question{Who: who, Action: action.Name, Resource: policy.Resource{Namespace: "payments", WorkflowID: "some-workflow-id", WorkflowType: "some-name", TaskQueue: "some-name"}}
			q.Context.Reason = "the matrix"
			if action.Access == policy.Delegate {
				q.Context.Role, q.Context.Minutes, q.Context.Requester = "write", 60, s.principal("somebody@acme.example")
			}
			j, err := k.Judge(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			code := string(j.Decision.Code)
			if s, ok := short[code]; ok {
				code = s
			}
			cells = append(cells, code)
		}
		line(action.Name, cells)
	}
	golden := filepath.Join("testdata", "matrix.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		got, was := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
		for i := range max(len(got), len(was)) {
			var a, b string
			if i < len(got) {
				a = got[i]
			}
			if i < len(was) {
				b = was[i]
			}
			if a != b {
				t.Errorf("line %d\n got %s\nwant %s", i+1, a, b)
			}
		}
		t.Log("if this is meant: go test ./gate -run TestMatrix -update, then read the file")
	}
}
