package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// rule is one Cedar policy with what its annotations say.
type rule struct {
	id         string
	reason     string
	obligation string
	file       string
	line       int
	text       []byte // as written, from its annotations to the next policy
	forbids    bool
	compiled   *cedar.Policy
	unscoped   *cedar.Policy // the same without its action scope: only for use behind the index
	quick      test          // the same as unscoped; nil where only Cedar will do
	looks      looks
	wants      looks // the same without what is looked at only of workers confined to task queues

	// The decision of this policy alone, ready made. Shared by all decisions: nobody may change what they hold.
	policies, reasons, obligations []string
}

func newRule(file string, p *cedar.Policy) *rule {
	r := &rule{file: file, line: p.Position().Line, compiled: p}
	tree := r.tree()
	r.forbids, r.unscoped, r.quick = p.Effect() == cedar.Forbid, withoutAction(tree), quickForm(tree)
	r.looks, r.wants = looksOf(tree, false), looksOf(tree, true)
	return r
}

func (r *rule) effect() string {
	if r.forbids {
		return "forbid"
	}
	return "permit"
}

func (r *rule) tree() *ast.Policy   { return (*ast.Policy)(r.compiled.AST()) }
func (r *rule) located() string     { return fmt.Sprintf("%s:%d", r.file, r.line) }
func (r *rule) pid() types.PolicyID { return types.PolicyID(r.id) }

// ruleID keeps ids printable and unambiguous in logs, shells and attestations.
var ruleID = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}\z`)

// An annotation that is not here is refused: a misspelt @obligation would open what its author meant to guard.
var annotations = []string{"id", "reason", "obligation", "description", "owner"}

// compile turns a reading of a directory into something that can decide. It returns a nil set if there is any problem.
func compile(src *source) (*Set, []Problem) {
	var problems []Problem
	var roles *rolemap
	var declared []attribute
	for _, f := range src.files { // first, because policies are checked against the attributes that it declares
		if f.name == RolesFile {
			m, bad := parseRoles(f.data)
			roles, problems, declared = m, append(problems, bad...), m.attributes
		}
	}
	checker, err := newTypechecker(declared)
	if err != nil {
		return nil, []Problem{{File: "schema.cedarschema", Text: err.Error(), Fix: "this build is broken: report it"}}
	}
	var rules []*rule
	cedarFiles := 0
	for _, f := range src.files {
		if f.name == RolesFile {
			continue
		}
		cedarFiles++
		found, bad := parseRules(f, checker)
		rules, problems = append(rules, found...), append(problems, bad...)
	}
	if roles == nil {
		problems = append(problems, Problem{File: RolesFile, Text: "the file is missing", Fix: `create it with at least "version: 1"`})
	}
	if cedarFiles == 0 {
		problems = append(problems, Problem{File: "*.cedar", Text: "there is no policy file: everything would be refused", Fix: "add one, such as roles.cedar"})
	}
	problems = append(problems, duplicates(rules)...)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if len(problems) > 0 {
		return nil, problems
	}
	s, err := newSet(rules, roles)
	if err != nil {
		return nil, []Problem{{File: "schema.cedarschema", Text: err.Error(), Fix: "this build is broken: report it"}}
	}
	s.digest, s.files, s.archive = src.digest, src.names(), src.archive()
	return s, nil
}

func duplicates(rules []*rule) []Problem {
	var problems []Problem
	first := map[string]*rule{}
	for _, r := range rules {
		if r.id == "" {
			continue
		}
		if earlier := first[r.id]; earlier != nil {
			problems = append(problems, Problem{r.file, r.line, fmt.Sprintf("@id(%q) is taken by %s", r.id, earlier.located()), "give each policy an id of its own"})
			continue
		}
		first[r.id] = r
	}
	return problems
}

// parseRules reads one Cedar file. The parser stops at the first mistake of syntax; type mistakes are all listed.
func parseRules(f file, checker *typechecker) ([]*rule, []Problem) {
	if p, long := longRule(f); long {
		return nil, []Problem{p}
	}
	list, err := cedar.NewPolicyListFromBytes(f.name, f.data)
	if err != nil {
		return nil, []Problem{syntaxProblem(f.name, err)}
	}
	if len(list) == 0 {
		return nil, []Problem{{File: f.name, Text: "it holds no policy; a file cut short looks the same", Fix: "remove the file if nothing is meant to be in it"}}
	}
	var problems []Problem
	rules := make([]*rule, len(list))
	for i, p := range list {
		end := len(f.data)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		text := f.data[p.Position().Offset:end]
		r := newRule(f.name, p)
		r.text = text
		rules[i] = r
		problems = append(problems, r.annotate(text)...)
		if err := checker.check(r.tree()); err != nil {
			problems = append(problems, typeProblems(r, text, err)...)
		}
		problems = r.undeclared(text, checker.declared, problems)
	}
	return rules, problems
}

// annotate takes the annotations over and says what is wrong with them.
func (r *rule) annotate(text []byte) []Problem {
	var problems []Problem
	report := func(needle, what, fix string) {
		problems = append(problems, Problem{r.file, r.lineOf(text, needle), what, fix})
	}
	for _, a := range r.tree().Annotations {
		key, value := string(a.Key), string(a.Value)
		switch key {
		case "id":
			r.id = value
			if !ruleID.MatchString(value) {
				report("@id", fmt.Sprintf("@id(%q) can't be an id", value), `use letters, digits and "._:/-", at most 128`)
			}
		case "reason":
			r.reason = value
			if strings.TrimSpace(value) == "" || !printable(value) {
				report("@reason", "@reason has no text that can be shown", "say in one sentence why, for the caller to read")
			}
		case "obligation":
			r.obligation, r.obligations = value, terms(value)
			if wrong, fix := r.wrongTerms(); wrong != "" {
				report("@obligation", wrong, fix)
			}
		default:
			if !slices.Contains(annotations, key) {
				fix := "known are @" + strings.Join(annotations, ", @")
				if guess := nearest(key, annotations); guess != "" {
					fix = fmt.Sprintf("did you mean @%s? %s", guess, fix)
				}
				report("@"+key, fmt.Sprintf("annotation @%s is not known", key), fix)
			}
		}
	}
	r.policies = []string{r.id}
	if r.reason != "" {
		r.reasons = []string{r.reason}
	}
	if r.id == "" && len(problems) == 0 {
		report("", "the policy has no @id", `begin it with @id("a-name"): decisions and the audit log name it`)
	}
	return problems
}

// lineOf finds the line of the needle inside the policy, or the policy's first line. Comments before the needle may fool it by a
// few lines, never by a file.
func (r *rule) lineOf(text []byte, needle string) int {
	if needle == "" {
		return r.line
	}
	before, _, found := strings.Cut(string(text), needle)
	if !found {
		return r.line
	}
	return r.line + strings.Count(before, "\n")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\ufffd' || c >= 0x80 && c < 0xa0 })
}

// The parser says "parse error at <input>:3:7 \"when\": exact got when want ;", the scanner "<input>:3:7: literal not terminated".
var (
	syntaxAt = regexp.MustCompile(`(?s)^(?:parse error at )?<input>:(\d+):(\d+):? ?(?:"(.*)": )?(.*)$`)
	expected = regexp.MustCompile(`(?s)^exact got .* want (.*)$`)
)

func syntaxProblem(name string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	p := Problem{File: name, Line: 1, Text: "not Cedar: " + text, Fix: `every policy reads permit or forbid (principal, action, resource) when { … } and ends in ";"`}
	at := syntaxAt.FindStringSubmatch(text)
	if at == nil {
		return p
	}
	if line, err := strconv.Atoi(at[1]); err == nil && line > 0 {
		p.Line = line
	}
	found, what := at[3], at[4]
	if want := expected.FindStringSubmatch(what); want != nil {
		what = fmt.Sprintf("expected %q", want[1])
	}
	switch {
	case found != "":
		what += fmt.Sprintf(" before %.40q", found)
	case strings.HasPrefix(text, "parse error"):
		what += " before the end of the file"
	}
	p.Text = fmt.Sprintf("not Cedar: %s, column %s", what, at[2])
	return p
}
