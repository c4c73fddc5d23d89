package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"go.yaml.in/yaml/v3"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// attribute is one that roles.yaml declares: policies read it as principal.attributes.NAME. Where both claim and profile are given, the token
// comes first.
type attribute struct {
	name    string
	claim   string // path into the token's custom claims; empty: not there
	profile string // path into the directory's profile; empty: not there
	typ     string // string, long, bool or strings
	issuer  string // empty: of any trusted issuer
	line    int    // of roles.yaml
}

// maxAttributes bounds how many are declared, maxAttributeTexts the members of one.
const (
	maxAttributes     = 32
	maxAttributeTexts = 100
)

// attributeTypes are the types that roles.yaml knows, as Cedar writes them.
var attributeTypes = map[string]string{"string": "String", "long": "Long", "bool": "Bool", "strings": "Set<String>"}

// attributeName keeps names apart from those of the schema (looks) and fit for Cedar.
var attributeName = regexp.MustCompile(`\A[a-z][a-z0-9_]{0,63}\z`)

// attributes reads the attributes of roles.yaml.
func (r *rolesReader) attributes(m *rolemap, n *yaml.Node) {
	r.each(n, "attributes", func(n *yaml.Node) {
		a := attribute{line: n.Line}
		before := len(r.problems)
		var typ *yaml.Node
		r.mapping(n, "an attribute", map[string]func(*yaml.Node){
			"name":    func(n *yaml.Node) { a.name = r.text(n, "name") },
			"claim":   func(n *yaml.Node) { a.claim = r.text(n, "claim") },
			"profile": func(n *yaml.Node) { a.profile = r.text(n, "profile") },
			"issuer":  func(n *yaml.Node) { a.issuer = r.text(n, "issuer") },
			"type":    func(n *yaml.Node) { typ, a.typ = n, r.text(n, "type") },
		})
		if len(r.problems) > before {
			return
		}
		switch {
		case !attributeName.MatchString(a.name):
			r.report(n.Line, "such as name: cost_center", "an attribute needs a name of small letters, digits and _, not %q", a.name)
		case looksAt(types.String(a.name)) != 0 || a.name == "namespace":
			r.report(n.Line, "call it something else, such as person_"+a.name, "%q is what the schema calls something else", a.name)
		case a.claim == "" && a.profile == "":
			r.report(n.Line, "such as claim: acme.team.lead, or profile: costCenter", "the attribute %q needs claim, profile or both: where it comes from", a.name)
		case a.typ == "" || attributeTypes[a.typ] == "":
			line, fix := n.Line, "types are string, long, bool and strings"
			if typ != nil {
				line = typ.Line
				if guess := nearest(a.typ, []string{"string", "long", "bool", "strings"}); guess != "" {
					fix = fmt.Sprintf("did you mean %q? %s", guess, fix)
				}
			}
			r.report(line, fix, "the attribute %q has no type that is known: %q", a.name, a.typ)
		case len(m.attributes) == maxAttributes:
			r.report(n.Line, "remove those that no policy reads", "there are more than %d attributes", maxAttributes)
		default:
			for _, other := range m.attributes {
				if other.name == a.name && (other.typ != a.typ || other.issuer == a.issuer || other.issuer == "" || a.issuer == "") {
					r.report(n.Line, "declare it once, or for different issuers and with one type", "the attribute %q is declared in line %d", a.name, other.line)
					return
				}
			}
			m.attributes = append(m.attributes, a)
		}
	})
}

// schemaWith is the schema in which principals have these attributes; each may be absent.
func schemaWith(declared []attribute) (*resolved.Schema, error) {
	if len(declared) == 0 {
		return loadSchema()
	}
	var record strings.Builder
	seen := map[string]bool{}
	for _, a := range declared {
		if !seen[a.name] {
			seen[a.name] = true
			fmt.Fprintf(&record, " %s?: %s,", a.name, attributeTypes[a.typ])
		}
	}
	const last = "  everywhere: Set<String>,\n"
	text := strings.Replace(schemaText, last, last+"  attributes: {"+record.String()+" },\n", 1)
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar([]byte(text)); err != nil {
		return nil, fmt.Errorf("parsing the schema with the attributes of %s: %w", RolesFile, err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolving the schema with the attributes of %s: %w", RolesFile, err)
	}
	return r, nil
}

// undeclared adds what is wrong with the attributes that a policy reads. The validator takes a test for an attribute that cannot be there for false,
// so that a misspelt one would make a forbid that forbids nothing.
func (r *rule) undeclared(text []byte, declared []attribute, problems []Problem) []Problem {
	names := make([]string, len(declared))
	for i := range declared {
		names[i] = declared[i].name
	}
	var read []string
	note := func(of ast.IsNode, name types.String) {
		if a, ok := isAttribute(of, "principal"); ok && a == "attributes" && !slices.Contains(read, string(name)) && !slices.Contains(names, string(name)) {
			read = append(read, string(name))
		}
	}
	for _, c := range r.tree().Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				note(n.Arg, n.Value)
			case ast.NodeTypeHas:
				note(n.Arg, n.Value)
			}
			return true
		})
	}
	if len(read) == 0 {
		return problems
	}
	problems = slices.DeleteFunc(problems, func(p Problem) bool { // what the validator says of the same, twice and without the fix
		return p.File == r.file && strings.Contains(p.Text, " has no attribute attributes")
	})
	for _, name := range read {
		fix := fmt.Sprintf("declare it there, such as attributes: [{ name: %s, claim: PATH, type: string }]", name)
		if guess := nearest(name, names); guess != "" {
			fix = fmt.Sprintf("did you mean %s? or %s", guess, fix)
		}
		problems = append(problems, Problem{r.file, r.lineOf(text, name), fmt.Sprintf("%s declares no attribute %s", RolesFile, name), fix})
	}
	return problems
}

// of finds the value of an attribute for the claims, as JSON; ok is false where there is none.
func (a *attribute) of(c *identity.Claims) (value string, ok bool) {
	if a.issuer != "" && a.issuer != c.Issuer {
		return "", false
	}
	if a.claim != "" {
		if value, ok = c.CustomClaim(a.claim); ok {
			return value, true
		}
	}
	if a.profile != "" {
		return c.ProfileAttribute(a.profile)
	}
	return "", false
}

// origin says where an attribute comes from.
func (a *attribute) origin() string {
	var from []string
	if a.claim != "" {
		from = append(from, "the token's "+a.claim)
	}
	if a.profile != "" {
		from = append(from, "the directory's "+a.profile)
	}
	text := strings.Join(from, ", or else ")
	if a.issuer != "" {
		text += ", for tokens of " + a.issuer
	}
	return text
}

// value reads JSON as the attribute's type; nil for anything else.
func (a *attribute) value(raw string) types.Value {
	switch a.typ {
	case "string":
		if s, ok := identity.Text(raw); ok {
			return types.String(s)
		}
	case "long":
		if n, ok := identity.Whole(raw); ok {
			return types.Long(n)
		}
	case "bool":
		if raw == "true" || raw == "false" {
			return types.Boolean(raw == "true")
		}
	case "strings":
		if list, ok := identity.Texts(raw, maxAttributeTexts); ok {
			return textSet(list)
		}
	}
	return nil
}

// declared makes the record that policies see, and says what is wrong with the claims, or "". A value of another type than was declared is neither
// used nor taken for absent: a forbid that tests for it would be passed over.
func (m *rolemap) declared(c *identity.Claims) (types.Record, string) {
	record := types.RecordMap{}
	for i := range m.attributes {
		a := &m.attributes[i]
		raw, ok := a.of(c)
		if !ok {
			if a.claim != "" && c.CustomLost && (a.issuer == "" || a.issuer == c.Issuer) {
				return types.Record{}, fmt.Sprintf("the token has more custom claims than are kept, so that whether it has the attribute %s can't be known; have its issuer leave some out", a.name)
			}
			continue
		}
		v := a.value(raw)
		if v == nil {
			return types.Record{}, fmt.Sprintf("the attribute %s is no %s that is fit for use, as %s declares it in line %d; have the issuer or the directory corrected, or the declaration", a.name, attributeTypes[a.typ], RolesFile, a.line)
		}
		record[types.String(a.name)] = v
	}
	return types.NewRecord(record), ""
}

// lacks reports whether a person's attributes are to be looked up in the directory: one is declared there, and the token does not bring it.
func (m *rolemap) lacks(c *identity.Claims) bool {
	if c.Kind != identity.User || c.Profile != nil {
		return false
	}
	for i := range m.attributes {
		a := &m.attributes[i]
		if a.profile == "" || a.issuer != "" && a.issuer != c.Issuer {
			continue
		}
		if a.claim != "" {
			if _, has := c.CustomClaim(a.claim); has {
				continue
			}
		}
		return true
	}
	return false
}

// NeedsProfile reports whether decisions about the claims need what the directory says of the person, because roles.yaml declares an attribute from
// there that the token does not bring.
func (s *Set) NeedsProfile(c *identity.Claims) bool {
	return s.roles.profile && s.principal(c).lacks
}

// NeedsProfile is Set's, of the set in force.
func (e *Engine) NeedsProfile(c *identity.Claims) bool { return e.current.Load().NeedsProfile(c) }
