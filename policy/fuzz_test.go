package policy

import (
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/bailiwick-dev/bailiwick/identity"
)

func starterText(t testing.TB, name string) []byte {
	data, err := starterFiles.ReadFile("starter/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzRoles: no input panics, and what is accepted holds only known roles and well-formed namespaces.
func FuzzRoles(f *testing.F) {
	f.Add(starterText(f, RolesFile), "temporal:payments:write")
	f.Add([]byte("version: 1\ngroups:\n- name: x\n  roles: {a: read, '*': [admin]}\n"), "x")
	f.Add([]byte("version: 1\nclients:\n- {id: x, issuer: i, agent: true}\n"), "i")
	f.Add([]byte("a: &a [*a]\n"), "")
	f.Add([]byte("version: 1\npatterns:\n- {group: '{role}/{namespace}'}\n"), "read/x")
	f.Fuzz(func(t *testing.T, data []byte, group string) {
		m, problems := parseRoles(data)
		for _, p := range problems {
			if p.File != RolesFile || p.Text == "" || p.Fix == "" || p.Line < 0 {
				t.Errorf("%+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		h := m.resolve(&identity.Claims{Issuer: "i", Kind: identity.Client, ID: group, ClientID: group, Groups: []string{group}})
		for role, names := range h.in {
			if !strings.Contains("read write worker approver admin", string(role)) || role == "" {
				t.Errorf("role %q", role)
			}
			for _, n := range names {
				if !isNamespaceName(n) {
					t.Errorf("namespace %q", n)
				}
			}
		}
	})
}

// FuzzPolicies: no policy text panics while it is loaded or evaluated, and every problem says where and what to do.
func FuzzPolicies(f *testing.F) {
	f.Add(starterText(f, "roles.cedar"))
	f.Add(starterText(f, "guardrails.cedar"))
	f.Add([]byte(forbidStart))
	f.Add([]byte(`@id("a") permit (principal, action in [Action::"read"], resource is Workflow in Namespace::"x") when { ip("::1").isLoopback() && {a: context}.a.agent };`))
	f.Fuzz(func(t *testing.T, text []byte) {
		src := &source{digest: "d", files: []file{{RolesFile, []byte(okRoles)}, {"x.cedar", text}}}
		s, problems := compile(src)
		if (s == nil) != (len(problems) > 0) {
			t.Fatalf("%v %v", s, problems)
		}
		for _, p := range problems {
			if p.File != "x.cedar" || p.Text == "" || p.Fix == "" || p.Line < 0 || p.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("%+v", p)
			}
		}
		if s == nil {
			return
		}
		for _, action := range []string{"StartWorkflowExecution", "GetSystemInfo", "PollWorkflowTaskQueue", "ListSchedules"} {
			req := ask(alice, action, "deploy", "r")
			if d := s.decide(&req); d.Code == "" || d.Allow != (d.Code == CodeAllowed) {
				t.Errorf("%+v", d)
			}
			if x := s.Explain(req); x.Decision.Code == "" {
				t.Errorf("%+v", x)
			}
			s.WhoCan(Question{Action: action, Resource: Resource{Namespace: "deploy"}})
		}
		s.Lint()
		if _, err := cedar.NewPolicyListFromBytes("x", []byte(s.Expanded())); err != nil {
			t.Errorf("the expanded set is not Cedar: %v\n%s", err, s.Expanded())
		}
	})
}
