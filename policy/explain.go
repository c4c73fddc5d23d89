package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Explain decides a request as Decide does, and says why.
func (e *Engine) Explain(req Request) Explanation {
	s := e.current.Load()
	if e.stale(s) {
		return Explanation{Decision: e.Decide(req), Policies: []Trace{}}
	}
	return s.Explain(req)
}

// Explain decides a request as Decide does, and says why.
func (s *Set) Explain(req Request) Explanation {
	x := Explanation{Decision: s.decide(&req), Request: Asked{Action: req.Action, Resource: req.Resource}, Policies: []Trace{}}
	if invalidClaims(req.Principal) != "" || x.Decision.Code == CodeUnknown {
		return x
	}
	action := s.index.methods[req.Action]
	x.Request.Principal, x.Request.Login, x.Request.Access = req.Principal.Principal(), req.Principal.Login, action.Access
	x.Holds = s.roles.sources(req.Principal)
	var q question
	s.prepare(&q, action, s.principal(req.Principal), &req)
	env := q.environment()
	for r, unnamed := range q.candidates() {
		x.Policies = append(x.Policies, q.trace(env, r, unnamed, x.Decision.Code))
	}
	x.Others = len(s.policies) - len(x.Policies)
	slices.SortStableFunc(x.Policies, func(a, b Trace) int {
		return cmp.Or(cmp.Compare(a.Outcome.rank(), b.Outcome.rank()), strings.Compare(a.ID, b.ID))
	})
	if !x.Decision.Allow {
		x.Remedies = s.remedies(&req)
	}
	return x
}

func (o Outcome) rank() int {
	return slices.Index([]Outcome{Matched, Failed, Unknown, Surplus, NotMet, NotScope}, o)
}

// candidates lists the policies whose scope could match; the second value says that a policy names a resource and the request none.
func (q *question) candidates() map[*rule]bool {
	all := map[*rule]bool{}
	var found candidates
	q.collect(&found)
	for _, rules := range found.groups {
		for _, r := range rules {
			all[r] = false
		}
	}
	if q.nameless {
		for name, key := range q.ns.named {
			var unsure candidates
			if unsure.collectNamed(q.action, q.p.keys, key); name.of == q.action.of {
				for _, rules := range unsure.groups {
					for _, r := range rules {
						all[r] = true
					}
				}
			}
		}
	}
	return all
}

// trace evaluates one policy part by part.
func (q *question) trace(env eval.Env, r *rule, unnamed bool, code Code) Trace {
	t := Trace{ID: r.id, Effect: r.effect(), File: r.file, Line: r.line, Reason: r.reason, Obligation: r.obligation}
	switch whole, err := q.openRule(r, unnamed); {
	case err != nil:
		t.Outcome = Failed
	case whole == yes && !r.forbids && code != CodeAllowed && code != CodeObligation:
		t.Outcome = Surplus
	case whole == yes:
		t.Outcome = Matched
	case whole == open:
		t.Outcome = Unknown
	default:
		t.Outcome = NotMet
	}
	tree := r.tree()
	for _, scope := range []struct {
		variable string
		of       ast.IsScopeNode
	}{{"principal", tree.Principal}, {"resource", tree.Resource}} {
		test := quickScope(scope.variable, scope.of)
		if test == nil || unnamed && scope.variable == "resource" {
			continue
		}
		if test(q) != yes {
			t.Outcome = NotScope
			t.Conditions = append(t.Conditions, Condition{Kind: "scope", Text: scopeText(scope.variable, scope.of), Line: r.line, Value: "false"})
		}
	}
	if t.Outcome == NotScope {
		return t
	}
	clauses := r.clauses()
	for i, c := range tree.Conditions {
		part := q.explainTest(env, c.Body)
		part.Kind = "when"
		if c.Condition == ast.ConditionUnless {
			part.Kind = "unless"
		}
		if i < len(clauses) {
			part.Line, part.Text = clauses[i].line, clauses[i].text
		}
		t.Conditions = append(t.Conditions, part)
		if held := part.Value == "true"; part.Value != "unknown" && held != (part.Kind == "when") {
			break // Cedar looks no further
		}
	}
	return t
}

// explainTest evaluates an expression and finds the parts that made its value.
func (q *question) explainTest(env eval.Env, n ast.IsNode) Condition {
	t, err := q.openTest(env, n)
	c := Condition{Text: cedarText(n), Value: map[truth]string{yes: "true", no: "false", open: "unknown"}[t]}
	if err != nil {
		c.Value = "error: " + err.Error()
	}
	// One part settles a false && or a true ||; otherwise every part that came to the same has its share.
	parts := func(nodes []ast.IsNode, settles string) {
		for _, node := range nodes {
			part := q.explainTest(env, node)
			if part.Value != c.Value {
				continue
			}
			c.Because = append(c.Because, part)
			if c.Value == settles {
				return
			}
		}
	}
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		parts(joined[ast.NodeTypeAnd](n), "false")
	case ast.NodeTypeOr:
		parts(joined[ast.NodeTypeOr](n), "true")
	case ast.NodeTypeNot:
		if inner := q.explainTest(env, n.Arg); inner.Because == nil {
			c.Saw = inner.Saw
		} else {
			c.Because = inner.Because
		}
	default:
		c.Saw = q.saw(env, n)
	}
	return c
}

// joined flattens a && b && c, or a || b || c.
func joined[T ast.NodeTypeAnd | ast.NodeTypeOr](n T) []ast.IsNode {
	var left, right ast.IsNode
	switch n := any(n).(type) {
	case ast.NodeTypeAnd:
		left, right = n.Left, n.Right
	case ast.NodeTypeOr:
		left, right = n.Left, n.Right
	}
	var all []ast.IsNode
	for _, side := range []ast.IsNode{left, right} {
		if inner, ok := any(side).(T); ok {
			all = append(all, joined(inner)...)
		} else {
			all = append(all, side)
		}
	}
	return all
}

// saw tells what the attributes in an expression were.
func (q *question) saw(env eval.Env, n ast.IsNode) []string {
	var seen []string
	tell := func(arg ast.IsNode, name types.String) {
		v, ok := arg.(ast.NodeTypeVariable)
		if !ok {
			return
		}
		text := string(v.Name) + "." + string(name)
		if v.Name == "resource" && looksAt(name)&q.unknown != 0 {
			text += " is not told"
		} else if value, err := eval.Eval(ast.NodeTypeAccess{StrOpNode: ast.StrOpNode{Arg: arg, Value: name}}, env); err != nil {
			text += " is absent"
		} else {
			text += " is " + valueText(value)
		}
		if !slices.Contains(seen, text) {
			seen = append(seen, text)
		}
	}
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		switch n := n.(type) {
		case ast.NodeTypeAccess:
			tell(n.Arg, n.Value)
		case ast.NodeTypeHas:
			tell(n.Arg, n.Value)
		}
		return true
	})
	return seen
}

func valueText(v types.Value) string {
	set, ok := v.(types.Set)
	if !ok {
		return string(v.MarshalCedar())
	}
	var members []string
	for m := range set.All() {
		members = append(members, string(m.MarshalCedar()))
	}
	slices.Sort(members)
	const most = 8
	if more := len(members) - most; more > 0 {
		members = append(members[:most], fmt.Sprintf("and %d more", more))
	}
	return "[" + strings.Join(members, ", ") + "]"
}

// cedarText writes an expression as Cedar.
func cedarText(n ast.IsNode) string {
	p := ast.Permit()
	p.Conditions = []ast.ConditionType{{Condition: ast.ConditionWhen, Body: n}}
	_, text, _ := strings.Cut(string(cedar.NewPolicyFromAST((*publicast.Policy)(p)).MarshalCedar()), "when { ")
	return plainQuotes(strings.TrimSuffix(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), ";")), " }"))
}

func scopeText(variable string, scope ast.IsScopeNode) string {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return variable + " == " + s.Entity.String()
	case ast.ScopeTypeIn:
		return variable + " in " + s.Entity.String()
	case ast.ScopeTypeIs:
		return variable + " is " + string(s.Type)
	case ast.ScopeTypeIsIn:
		return fmt.Sprintf("%s is %s in %s", variable, s.Type, s.Entity)
	}
	return variable
}

// clause is one when or unless of a policy as it is written.
type clause struct {
	text string
	line int
}

// clauses finds the conditions in a policy's text, which its parsed form no longer knows the places of.
func (r *rule) clauses() []clause {
	var found []clause
	line, depth, begin, beginLine := r.line, 0, -1, 0
	for i := 0; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '\n':
			line++
		case c == '"':
			for i++; i < len(r.text) && r.text[i] != '"'; i++ {
				if r.text[i] == '\\' {
					i++
				}
			}
		case c == '/' && i+1 < len(r.text) && r.text[i+1] == '/':
			for i+1 < len(r.text) && r.text[i+1] != '\n' {
				i++
			}
		case c == '{':
			if depth++; depth == 1 {
				begin, beginLine = i+1, line
			}
		case c == '}':
			if depth--; depth == 0 && begin >= 0 {
				found = append(found, clause{string(bytes.TrimSpace(r.text[begin:i])), beginLine})
			}
		case c == ';' && depth == 0:
			return found
		}
	}
	return found
}
