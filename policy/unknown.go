package policy

import (
	"fmt"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// open is the truth of a condition that depends on what the request does not tell.
const open truth = fail + 1

// openAsk evaluates a policy that looks at something unknown. It matters only if it could match; where its other conditions settle
// it, it is settled. unnamed says that its scope names one resource and the request names none.
func (q *question) openAsk(r *rule, unnamed bool) {
	t, err := q.openRule(r, unnamed)
	switch t {
	case yes:
		q.out.add(r)
	case open:
		q.out.maybe.add(r)
	case fail:
		q.out.failed = append(q.out.failed, failure{r, err.Error()})
	}
}

func (q *question) openRule(r *rule, unnamed bool) (truth, error) {
	tree := r.tree()
	whole := yes
	if test := quickScope("principal", tree.Principal); test != nil && test(q) != yes {
		return no, nil
	}
	if unnamed {
		whole = open
	} else if test := quickScope("resource", tree.Resource); test != nil && test(q) != yes {
		return no, nil
	}
	env := q.environment()
	for _, c := range tree.Conditions {
		t, err := q.openTest(env, c.Body)
		if err != nil {
			return fail, err
		}
		if c.Condition == ast.ConditionUnless {
			t = inverse(t)
		}
		switch t {
		case no:
			return no, nil
		case open:
			whole = open
		}
	}
	return whole, nil
}

// environment is the question for evaluating parts of policies. It holds everything that is known.
func (q *question) environment() eval.Env {
	req := q.cedarRequest(looksAll)
	return eval.Env{Entities: q.entities(looksAll), Principal: req.Principal, Action: req.Action, Resource: req.Resource, Context: req.Context}
}

func inverse(t truth) truth {
	switch t {
	case yes:
		return no
	case no:
		return yes
	}
	return t
}

// openTest evaluates one expression of type Bool in three values: yes, no and open. What joins conditions is followed here, the rest
// is left to Cedar if it touches nothing unknown.
func (q *question) openTest(env eval.Env, n ast.IsNode) (truth, error) {
	if looksIn(n, false)&q.unknown != 0 || q.groupsOpen && q.namesOtherGroup(n) {
		switch n := n.(type) {
		case ast.NodeTypeAnd:
			return q.openBoth(env, n.Left, n.Right, no)
		case ast.NodeTypeOr:
			return q.openBoth(env, n.Left, n.Right, yes)
		case ast.NodeTypeNot:
			t, err := q.openTest(env, n.Arg)
			return inverse(t), err
		case ast.NodeTypeIfThenElse:
			t, err := q.openTest(env, n.If)
			if err != nil {
				return fail, err
			}
			switch t {
			case yes:
				return q.openTest(env, n.Then)
			case no:
				return q.openTest(env, n.Else)
			}
			a, errA := q.openTest(env, n.Then)
			b, errB := q.openTest(env, n.Else)
			if errA == nil && errB == nil && a == b {
				return a, nil
			}
		}
		return open, nil
	}
	v, err := eval.Eval(n, env)
	if err != nil {
		return fail, err
	}
	b, ok := v.(types.Boolean)
	if !ok {
		return fail, fmt.Errorf("a condition is of type %s, not bool", eval.TypeName(v))
	}
	return said(bool(b)), nil
}

// openBoth evaluates && (settled by no) or || (settled by yes). When the left side is open and the right side fails, the whole may
// fail or not: open.
func (q *question) openBoth(env eval.Env, left, right ast.IsNode, settles truth) (truth, error) {
	a, err := q.openTest(env, left)
	if err != nil || a == settles {
		return a, err
	}
	b, err := q.openTest(env, right)
	if a != open {
		return b, err
	}
	if err == nil && b == settles {
		return settles, nil
	}
	return open, nil
}

// namesOtherGroup reports whether an expression asks for a group that the principal is not known to be in.
func (q *question) namesOtherGroup(n ast.IsNode) bool {
	found := false
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		uid, ok := literalEntity(n)
		found = found || ok && uid.Type == typeGroup && !q.p.inGroup(string(uid.ID))
		return true
	})
	return found
}
