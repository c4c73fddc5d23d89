package gate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// random fills a message with anything: every field with some chance, text from a small set so that names meet the policies' names.
func random(msg protoreflect.Message, r *rand.Rand, depth int) {
	texts := []string{"", "deploy", "payments", "harmless", "ship-1", "tea-1", "run-d", "approve", strings.Repeat("y", 2000), "\u202e", attest.HeaderKey}
	value := func(f protoreflect.FieldDescriptor, new func() protoreflect.Value) (protoreflect.Value, bool) {
		switch f.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(texts[r.IntN(len(texts))]), true
		case protoreflect.BytesKind:
			return protoreflect.ValueOfBytes([]byte(texts[r.IntN(len(texts))])), true
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(r.IntN(2) == 0), true
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(f.Enum().Values().Len() + 1))), true
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(int32(r.Uint32())), true
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(int64(r.Uint64())), true
		case protoreflect.MessageKind:
			if depth > 5 {
				return protoreflect.Value{}, false
			}
			v := new()
			random(v.Message(), r, depth+1)
			return v, true
		}
		return protoreflect.Value{}, false
	}
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Name() == "namespace" && depth == 0 && f.Kind() == protoreflect.StringKind:
			msg.Set(f, protoreflect.ValueOfString("deploy"))
		case r.IntN(3) == 0:
		case f.IsList():
			list := msg.Mutable(f).List()
			for range r.IntN(3) {
				if v, ok := value(f, list.NewElement); ok {
					list.Append(v)
				}
			}
		case f.IsMap():
			m := msg.Mutable(f).Map()
			if v, ok := value(f.MapValue(), m.NewValue); ok && f.MapKey().Kind() == protoreflect.StringKind {
				m.Set(protoreflect.ValueOfString(texts[r.IntN(len(texts))]).MapKey(), v)
			}
		default:
			if v, ok := value(f, func() protoreflect.Value { return msg.NewField(f) }); ok {
				msg.Set(f, v)
			}
		}
	}
}

// ends reports whether a request would terminate a run, read from its descriptors and not from the gate's own code.
func ends(msg protoreflect.Message) (found bool) {
	if _, elsewhere := msg.Interface().(*commandpb.Command); elsewhere && namesAnotherNamespace(msg) {
		return false // the server asks about it
	}
	msg.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				found = found || ends(v.List().Get(i).Message())
			}
		case f.IsList() || f.IsMap():
		case f.Kind() == protoreflect.EnumKind && (f.Name() == "workflow_id_reuse_policy" || f.Name() == "workflow_id_conflict_policy" || f.Name() == "overlap_policy"):
			if value := f.Enum().Values().ByNumber(v.Enum()); value != nil {
				found = found || strings.Contains(string(value.Name()), "TERMINATE")
			}
		case f.Message() != nil:
			found = found || f.Message().Name() == "BatchOperationTermination" || ends(v.Message())
		}
		return !found
	})
	return found
}

func namesAnotherNamespace(command protoreflect.Message) (found bool) {
	command.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			if ns := v.Message().Descriptor().Fields().ByName("namespace"); ns != nil {
				name := v.Message().Get(ns).String()
				found = found || name != "" && name != "deploy"
			}
		}
		return true
	})
	return found
}

// forged reports whether any header in the message holds an attestation that the signer did not sign.
func forged(msg protoreflect.Message, keys attest.KeySet) (found bool) {
	msg.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				found = found || forged(v.List().Get(i).Message(), keys)
			}
		case f.Name() == "header" && f.Message() != nil && f.Message().Name() == "Header":
			fields := v.Message().Get(v.Message().Descriptor().Fields().ByName("fields")).Map()
			fields.Range(func(k protoreflect.MapKey, p protoreflect.Value) bool {
				if strings.EqualFold(k.String(), attest.HeaderKey) {
					raw, _ := attest.FromPayload(asPayload(p))
					_, err := keys.Verify(raw, "bailiwick:test")
					found = found || err != nil
				}
				return true
			})
		case f.Message() != nil && !f.IsMap() && !f.IsList():
			found = found || forged(v.Message(), keys)
		}
		return !found
	})
	return found
}

// hostile is a gate for random requests: nobody may terminate anything, and two workflows exist.
func hostile(t testing.TB) *kit {
	return newKitWith(t, `@id("no-end") forbid(principal, action == Action::"TerminateWorkflowExecution", resource);`, gate.Config{Runs: fleet()})
}

// check admits one request as each kind of caller and holds what comes out against what can be said without knowing the gate.
func (k *kit) check(t *testing.T, m method, req proto.Message, callers map[string]string) {
	t.Helper()
	for who, token := range callers {
		msg := proto.Clone(req)
		c := gate.Call{Method: m.full, Request: msg, Authorization: []string{"Bearer " + token}, Reason: []string{"at random"}}
		a, err := k.Admit(t.Context(), c)
		if err != nil {
			var d *gate.Denial
			if !errors.As(err, &d) || d.GRPCStatus().Code() == 0 {
				t.Fatalf("%s as %s: %v is no denial", m.name, who, err)
			}
			if _, err := k.log.last(t).Marshal(); err != nil {
				t.Fatalf("%s as %s: the denial can't be recorded: %v", m.name, who, err)
			}
			continue
		}
		action, known := policy.LookupAction(m.name)
		switch {
		case !known:
			t.Fatalf("%s as %s: an unknown method was let through", m.name, who)
		case who == "stranger" && action.Scope != policy.ScopeCluster, who == "reader" && action.Mutating:
			t.Fatalf("%s as %s was let through: %v", m.name, who, msg)
		case ends(msg.ProtoReflect()):
			t.Fatalf("%s as %s ends a workflow, which nobody may: %v", m.name, who, msg)
		}
		e := k.log.last(t)
		if _, err := e.Marshal(); err != nil {
			t.Fatalf("%s as %s: the decision can't be recorded: %v", m.name, who, err)
		}
		if err := k.Stamp(a, msg); err != nil {
			continue // refused, which is safe
		}
		if _, task := msg.(*workflowservice.RespondWorkflowTaskCompletedRequest); !task && forged(msg.ProtoReflect(), k.signer.PublicKeySet()) {
			t.Fatalf("%s as %s: a forged attestation went through: %v", m.name, who, msg)
		}
	}
}

func (k *kit) callers() map[string]string {
	return map[string]string{
		"stranger": k.issuer.User("bob@acme.example", "temporal:payments:admin"),
		"reader":   k.issuer.User("rita@acme.example", "temporal:deploy:read"),
		"writer":   k.alice(),
		"worker":   k.issuer.Client("0oadeployworker00001"),
		"admin":    k.issuer.User("carol@acme.example", "temporal:deploy:admin"),
	}
}

func TestRandomRequestsNeverPanicAndNeverWiden(t *testing.T) {
	k := hostile(t)
	callers := k.callers()
	r := rand.New(rand.NewPCG(20261123, 3))
	for _, m := range apiMethods(t) {
		for range 25 {
			msg := m.input.New()
			random(msg, r, 0)
			k.check(t, m, msg.Interface(), callers)
		}
	}
}

// TestAddedForbidsNeverWiden adds random forbids one after another: what was refused stays refused, also to those who hold grants.
func TestAddedForbidsNeverWiden(t *testing.T) {
	s := newStandingKit(t, "", fleet())
	k := s.kit
	callers := k.callers()
	inDeploy := func(who, role string, edit func(*standing.Grant)) func(*standing.Grant) {
		callers["holder of "+role+" "+who] = s.issuer.User(who)
		return func(g *standing.Grant) {
			g.Principal, g.Namespace, g.Role = s.principal(who), "deploy", role
			if edit != nil {
				edit(g)
			}
		}
	}
	s.grant(t, "g-write", inDeploy("grace@acme.example", "write", nil))
	s.grant(t, "g-broken-glass", inDeploy("gus@acme.example", "admin", func(g *standing.Grant) { g.BreakGlass = true }))
	s.grant(t, "g-one-type", inDeploy("gina@acme.example", "write", func(g *standing.Grant) { g.WorkflowType = "harmless" }))
	r := rand.New(rand.NewPCG(7, 11))
	methods := apiMethods(t)
	type question struct {
		method method
		req    proto.Message
		who    string
	}
	var questions []question
	for _, m := range methods {
		msg := m.input.New()
		random(msg, r, 0)
		for who := range callers {
			questions = append(questions, question{m, m.usual("deploy"), who}, question{m, msg.Interface(), who})
		}
	}
	scopes := []string{`principal`, `principal is User`, `principal is Client`, `principal in Group::"temporal:deploy:write"`}
	conditions := []string{``, ` when { context has reason }`, ` unless { context has reason }`, ` when { context.agent }`, ` when { context has signal && context.signal == "approve" }`,
		` when { context.granted }`, ` unless { context.granted }`, ` when { context.break_glass }`, ` unless { context has grant && context.grant == "g-write" }`}
	onWorkflows := []string{` when { resource has type && resource.type == "deploy" }`, ` unless { resource has type && resource.type == "harmless" }`, ` when { resource has task_queue && resource.task_queue == "q" }`}
	allowed := func(q question) bool {
		_, err := k.Admit(t.Context(), gate.Call{Method: q.method.full, Request: q.req, Authorization: []string{"Bearer " + callers[q.who]}})
		return err == nil
	}
	before := make([]bool, len(questions))
	for i, q := range questions {
		before[i] = allowed(q)
	}
	var policies strings.Builder
	for n := range 14 {
		action := `action`
		resource, condition := `resource`, conditions[r.IntN(len(conditions))]
		switch r.IntN(4) {
		case 0:
			action = `action in Action::"` + []string{"read", "operate", "work", "administer"}[r.IntN(4)] + `"`
		case 1, 2:
			m := methods[r.IntN(len(methods))]
			action = `action == Action::"` + m.name + `"`
		case 3:
			resource, condition = `resource is Workflow`, onWorkflows[r.IntN(len(onWorkflows))]
		}
		fmt.Fprintf(&policies, "@id(\"random-%d\") forbid(%s, %s, %s)%s;\n", n, scopes[r.IntN(len(scopes))], action, resource, condition)
		k.setPolicies(t, policies.String())
		for i, q := range questions {
			now := allowed(q)
			if now && !before[i] {
				t.Fatalf("%s as %s was refused and is allowed after a forbid was added:\n%s", q.method.name, q.who, policies.String())
			}
			before[i] = now
		}
	}
	left := 0
	for _, yes := range before {
		if yes {
			left++
		}
	}
	t.Logf("%d of %d questions are still allowed under:\n%s", left, len(questions), policies.String())
}

// FuzzRequest sends any bytes as any method's request.
func FuzzRequest(f *testing.F) {
	k := hostile(f)
	callers := k.callers()
	methods := apiMethods(f)
	for i, m := range methods {
		raw, err := proto.Marshal(m.usual("deploy"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), raw)
	}
	f.Fuzz(func(t *testing.T, i uint8, raw []byte) {
		m := methods[int(i)%len(methods)]
		req := m.input.New().Interface()
		if proto.Unmarshal(raw, req) != nil {
			return
		}
		if ns := req.ProtoReflect().Descriptor().Fields().ByName("namespace"); ns != nil {
			req.ProtoReflect().Set(ns, protoreflect.ValueOfString("deploy"))
		}
		k.check(t, m, req, callers)
		k.log.mu.Lock()
		k.log.entries, k.log.durable = nil, map[string]bool{}
		k.log.mu.Unlock()
	})
}
