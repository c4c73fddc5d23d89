package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// typechecker checks policies against the schema. Cedar's validator types a policy once for every action it covers; here most of
// these have the same principal, resource and context types, so that one action stands for all with its access and scope. This
// makes loading some ten times faster and finds the same mistakes (a test compares).
type typechecker struct {
	schema *resolved.Schema
	full   *validate.Validator
	narrow map[string]*validate.Validator // by the actions that are left in

	declared []attribute // of roles.yaml
}

func newTypechecker(declared []attribute) (*typechecker, error) {
	s, err := schemaWith(declared)
	if err != nil {
		return nil, err
	}
	return &typechecker{schema: s, full: validate.New(s), narrow: map[string]*validate.Validator{}, declared: declared}, nil
}

func (c *typechecker) check(tree *ast.Policy) error {
	return c.validator(tree).Policy("", tree)
}

// validator picks the narrow validator for a policy, or the full one where an action's name could matter.
func (c *typechecker) validator(tree *ast.Policy) *validate.Validator {
	var uids []types.EntityUID
	switch s := tree.Action.(type) {
	case ast.ScopeTypeEq:
		uids = []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		uids = []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		uids = s.Entities
	}
	for _, uid := range uids {
		if _, known := c.schema.Actions[uid]; !known {
			return c.full
		}
	}
	if speaksOfActions(tree) {
		return c.full
	}
	type kind struct {
		access Access
		scope  Scope
	}
	chosen := map[kind]bool{}
	var keep []string
	for _, access := range accesses {
		keep = append(keep, string(access))
	}
	for _, uid := range uids {
		if !slices.Contains(keep, string(uid.ID)) {
			keep = append(keep, string(uid.ID))
		}
	}
	for _, a := range sortedActions() {
		k := kind{a.Access, a.Scope}
		covered := len(uids) == 0 || slices.Contains(uids, types.NewEntityUID(typeAction, types.String(a.Access)))
		if covered && !chosen[k] {
			chosen[k] = true
			keep = append(keep, a.Name)
		}
	}
	slices.Sort(keep)
	keep = slices.Compact(keep)
	key := strings.Join(keep, " ")
	v := c.narrow[key]
	if v == nil {
		part := *c.schema
		part.Actions = make(map[types.EntityUID]resolved.Action, len(keep))
		for _, name := range keep {
			uid := types.NewEntityUID(typeAction, types.String(name))
			part.Actions[uid] = c.schema.Actions[uid]
		}
		v = validate.New(&part)
		c.narrow[key] = v
	}
	return v
}

// speaksOfActions reports whether the conditions use the action or name one.
func speaksOfActions(tree *ast.Policy) bool {
	found := false
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeVariable:
				found = found || n.Name == "action"
			case ast.NodeValue:
				uid, isEntity := n.Value.(types.EntityUID)
				found = found || isEntity && uid.Type == typeAction
			}
			return true
		})
	}
	return found
}

// maxRule bounds the text of one policy, in bytes. Parser, checker and evaluator all follow its nesting by recursion, and a Go
// program does not survive running out of stack.
const maxRule = 64 << 10

// longRule finds a policy that is too long, by the semicolons outside strings and comments, before the parser meets it.
func longRule(f file) (Problem, bool) {
	begin, line, inString := 0, 1, false
	for i := 0; i < len(f.data); i++ {
		switch c := f.data[i]; {
		case c == '\n':
			line++
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '/' && i+1 < len(f.data) && f.data[i+1] == '/':
			for i+1 < len(f.data) && f.data[i+1] != '\n' {
				i++
			}
		case c == ';':
			begin = i + 1
		}
		if i-begin > maxRule {
			return Problem{f.name, line, fmt.Sprintf("a policy is longer than %d KiB", maxRule>>10), `split it, or look for a missing ";" or quote before this line`}, true
		}
	}
	return Problem{}, false
}
