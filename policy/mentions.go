package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// mentions is what a set of policies looks at. A request is built with nothing else, because building Cedar records costs more
// than evaluating the policies that use them.
type mentions struct {
	names      map[types.String]bool // every attribute name read or tested anywhere
	wholeParts bool                  // a record is used as a whole: leave nothing out
}

func (m *mentions) has(name types.String) bool { return m.wholeParts || m.names[name] }

// of records what a policy looks at. An entity is opaque, so that only reading or testing an attribute shows it; the context is a
// record and could also be compared or passed on whole, which is what the count is for.
func (m *mentions) of(p *ast.Policy) {
	for _, c := range p.Conditions {
		uses, reads := 0, 0
		look := func(arg ast.IsNode, name types.String) {
			m.names[name] = true
			if v, ok := arg.(ast.NodeTypeVariable); ok && v.Name == "context" {
				reads++
			}
		}
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				look(n.Arg, n.Value)
			case ast.NodeTypeHas:
				look(n.Arg, n.Value)
			case ast.NodeTypeVariable:
				if n.Name == "context" {
					uses++
				}
			}
			return true
		})
		if uses != reads {
			m.wholeParts = true
		}
	}
}
