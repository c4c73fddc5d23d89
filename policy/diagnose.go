package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// typeProblems turns the validator's findings into problems with a line and a fix. The validator repeats itself for every action
// that a policy covers and says things in no fixed order, so that findings are grouped and sorted here.
func typeProblems(r *rule, text []byte, err error) []Problem {
	var found []Problem
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimRight(line, "\n")
		if at := strings.Index(line, " in context for "); at >= 0 {
			line = line[:at] + " in the context"
			if strings.Contains(err.Error(), "` in context for ") && strings.HasPrefix(line, "attribute ") {
				line += " not found"
			}
		}
		p := Problem{File: r.file}
		var needle string
		p.Text, p.Fix, needle = explainFinding(line)
		p.Line = r.lineOf(text, needle)
		if !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	// "No applicable action" only repeats an unknown name that was already reported.
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(p Problem) bool { return p.Text == neverApplies })
	}
	slices.SortFunc(found, func(a, b Problem) int { return strings.Compare(a.Text, b.Text) })
	return found
}

const neverApplies = "the policy can never apply: no action takes this principal, action and resource together"

var (
	unknownAction    = regexp.MustCompile("^unrecognized action `(.*)`$")
	unknownType      = regexp.MustCompile("^unrecognized entity type `(.*)`$")
	unknownAttribute = regexp.MustCompile("^attribute `([^`]*)` (?:on entity types? `?([A-Za-z]*)|(in the context))")
	optional         = regexp.MustCompile("^unable to guarantee safety of access to optional attribute `([^`]*)` (?:on entity types? `?([A-Za-z]*)|(in the context))")
)

// explainFinding returns what is wrong, what to do, and a piece of source text to find it by.
func explainFinding(finding string) (text, fix, needle string) {
	if m := unknownAction.FindStringSubmatch(finding); m != nil {
		var uid types.EntityUID
		if uid.UnmarshalCedar([]byte(m[1])) != nil {
			return finding, "the schema lists the actions", ""
		}
		fix = "the groups are read, operate, work and administer; a method goes by its API name"
		if guess := nearest(string(uid.ID), actionNames()); guess != "" {
			fix = fmt.Sprintf("did you mean Action::%q?", guess)
		}
		return fmt.Sprintf("action %q does not exist", string(uid.ID)), fix, strings.TrimPrefix(m[1], "Action::")
	}
	if m := unknownType.FindStringSubmatch(finding); m != nil {
		known := entityTypes()
		fix = "the types are " + strings.Join(known, ", ")
		if guess := nearest(m[1], known); guess != "" {
			fix = fmt.Sprintf("did you mean %s?", guess)
		}
		return fmt.Sprintf("entity type %s does not exist", m[1]), fix, m[1]
	}
	if m := unknownAttribute.FindStringSubmatch(finding); m != nil {
		known, owner := attributesOf(m[2])
		fix = "known are " + strings.Join(known, ", ")
		if guess := nearest(m[1], known); guess != "" {
			fix = fmt.Sprintf("did you mean %s?", guess)
		} else if m[2] != "" {
			fix = fmt.Sprintf(`%s; if only some resources have it, test first: "resource has %s && …"`, fix, m[1])
		}
		return fmt.Sprintf("%s has no attribute %s", owner, m[1]), fix, "." + m[1]
	}
	if m := optional.FindStringSubmatch(finding); m != nil {
		_, owner := attributesOf(m[2])
		base := "context"
		if m[2] == string(typeUser) || m[2] == string(typeClient) {
			base = "principal"
		} else if m[3] == "" {
			base = "resource"
		}
		return fmt.Sprintf("%s may lack the attribute %s", owner, m[1]), fmt.Sprintf(`test first: "%s has %s && …"`, base, m[1]), "." + m[1]
	}
	switch {
	case strings.HasPrefix(finding, "unable to find an applicable action"):
		return neverApplies, "compare the scope with the schema's appliesTo", ""
	case strings.HasPrefix(finding, "empty set literals"):
		return "an empty set [] means nothing here", "name at least one member", "["
	case strings.Contains(finding, "are not compatible"):
		return finding, "compare things of one type, such as resource.namespace with a Namespace", ""
	}
	return finding, "compare it with the types in the schema", ""
}

func actionNames() []string {
	var names []string
	for _, access := range accesses {
		names = append(names, string(access))
	}
	for _, a := range sortedActions() {
		names = append(names, a.Name)
	}
	return names
}

func entityTypes() []string {
	var names []string
	if s, err := loadSchema(); err == nil {
		for name := range s.Entities {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names
}

// attributesOf lists the attributes of an entity type, or of the context when the type is empty, and says whose they are.
func attributesOf(entityType string) (names []string, owner string) {
	s, err := loadSchema()
	if err != nil {
		return nil, entityType
	}
	owner = entityType
	shape := s.Entities[types.EntityType(entityType)].Shape
	if entityType == "" {
		owner = "the context"
		shape = s.Actions[types.NewEntityUID(typeAction, "StartWorkflowExecution")].AppliesTo.Context
	}
	for name := range shape {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names, owner
}
