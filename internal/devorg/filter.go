package devorg

import (
	"errors"
	"fmt"
	"strings"
)

// filter is a parsed `filter` or `search` expression: comparisons of attributes with strings, and, or, parentheses.
// An attribute may have several values (target.id); a comparison holds when it holds for one of them.
type filter func(lookup func(attribute string) []string) bool

const maxFilterDepth = 32

// parseFilter reads an expression of Okta's SCIM subset. An empty one matches everything.
func parseFilter(raw string) (filter, error) {
	if strings.TrimSpace(raw) == "" {
		return func(func(string) []string) bool { return true }, nil
	}
	p := &filterParser{}
	if err := p.scan(raw); err != nil {
		return nil, err
	}
	f, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if len(p.tokens) > 0 {
		return nil, fmt.Errorf("unexpected %q", printable(p.tokens[0].text))
	}
	return f, nil
}

type filterToken struct {
	text   string
	quoted bool
}

type filterParser struct{ tokens []filterToken }

func (p *filterParser) scan(raw string) error {
	for i := 0; i < len(raw); {
		switch ch := raw[i]; {
		case ch == ' ' || ch == '\t':
			i++
		case ch == '(' || ch == ')':
			p.tokens = append(p.tokens, filterToken{text: string(ch)})
			i++
		case ch == '"':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(raw) {
					return errors.New("a quoted value does not end")
				}
				if raw[i] == '"' {
					break
				}
				if raw[i] == '\\' && i+1 < len(raw) {
					i++
				}
				b.WriteByte(raw[i])
			}
			i++
			p.tokens = append(p.tokens, filterToken{b.String(), true})
		default:
			j := i
			for j < len(raw) && !strings.ContainsRune(" \t()\"", rune(raw[j])) {
				j++
			}
			p.tokens = append(p.tokens, filterToken{text: raw[i:j]})
			i = j
		}
	}
	return nil
}

// word takes the next token if it is the given word.
func (p *filterParser) word(w string) bool {
	if len(p.tokens) > 0 && !p.tokens[0].quoted && strings.EqualFold(p.tokens[0].text, w) {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *filterParser) next() (filterToken, error) {
	if len(p.tokens) == 0 {
		return filterToken{}, errors.New("the expression ends too early")
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t, nil
}

func (p *filterParser) or(depth int) (filter, error) {
	left, err := p.and(depth)
	for err == nil && p.word("or") {
		var right filter
		a := left
		if right, err = p.and(depth); err == nil {
			left = func(l func(string) []string) bool { return a(l) || right(l) }
		}
	}
	return left, err
}

func (p *filterParser) and(depth int) (filter, error) {
	left, err := p.term(depth)
	for err == nil && p.word("and") {
		var right filter
		a := left
		if right, err = p.term(depth); err == nil {
			left = func(l func(string) []string) bool { return a(l) && right(l) }
		}
	}
	return left, err
}

func (p *filterParser) term(depth int) (filter, error) {
	if depth > maxFilterDepth {
		return nil, errors.New("too many parentheses")
	}
	if p.word("(") {
		f, err := p.or(depth + 1)
		if err == nil && !p.word(")") {
			err = errors.New("a parenthesis is not closed")
		}
		return f, err
	}
	attribute, err := p.next()
	if err != nil {
		return nil, err
	}
	if attribute.quoted || attribute.text == ")" {
		return nil, fmt.Errorf("an attribute name is expected before %q", printable(attribute.text))
	}
	op, err := p.next()
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(op.text, "pr") {
		return func(l func(string) []string) bool { return len(l(attribute.text)) > 0 }, nil
	}
	compare, ok := comparisons[strings.ToLower(op.text)]
	if !ok || op.quoted {
		return nil, fmt.Errorf("unknown operator %q; known: eq, ne, sw, co, gt, ge, lt, le, pr", printable(op.text))
	}
	value, err := p.next()
	if err != nil {
		return nil, err
	}
	if !value.quoted {
		return nil, fmt.Errorf("the value %q must be in double quotes", printable(value.text))
	}
	return func(l func(string) []string) bool {
		for _, v := range l(attribute.text) {
			if compare(v, value.text) {
				return true
			}
		}
		return false
	}, nil
}

// comparisons fold case where Okta does. Timestamps compare as text because their format sorts.
var comparisons = map[string]func(have, want string) bool{
	"eq": strings.EqualFold,
	"ne": func(have, want string) bool { return !strings.EqualFold(have, want) },
	"sw": func(have, want string) bool { return strings.HasPrefix(strings.ToLower(have), strings.ToLower(want)) },
	"co": func(have, want string) bool { return strings.Contains(strings.ToLower(have), strings.ToLower(want)) },
	"gt": func(have, want string) bool { return have > want },
	"ge": func(have, want string) bool { return have >= want },
	"lt": func(have, want string) bool { return have < want },
	"le": func(have, want string) bool { return have <= want },
}
