package identity

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"
)

// Bounds of the JSON that this package reads. A real access token stays far below each of them.
const (
	maxDepth   = 16  // nesting of objects and arrays
	maxMembers = 256 // members of one object
	maxNumber  = 64  // characters of one number
)

// member is one name and value of a JSON object. name is unescaped; value is raw text that is known to be well formed.
type member struct{ name, value string }

// parseObject reads a JSON object (RFC 8259) and appends its members to into. It is stricter than encoding/json on purpose:
// duplicate names at any depth, invalid UTF-8, NUL, unpaired surrogates, deep nesting and trailing text are all errors,
// so that no two parsers can read two different tokens out of one text. Values are substrings of s.
func parseObject(s string, into []member) ([]member, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("not valid UTF-8")
	}
	var room [32]string
	p := scanner{s: s, open: room[:0]}
	p.space()
	if p.peek() != '{' {
		return nil, errors.New("not a JSON object")
	}
	if err := p.object(1, &into); err != nil {
		return nil, err
	}
	p.space()
	if p.i != len(s) {
		return nil, p.fail("text after the object")
	}
	return into, nil
}

// scanner walks one JSON text whose UTF-8 has been checked.
type scanner struct {
	s    string
	i    int
	open []string // names seen so far in each object that is open, innermost last
}

func (p *scanner) fail(what string) error { return fmt.Errorf("%s at byte %d", what, p.i) }

func (p *scanner) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *scanner) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// object reads an object whose opening brace is next. Its members go to into when that is not nil.
func (p *scanner) object(depth int, into *[]member) error {
	if depth > maxDepth {
		return p.fail("nesting is too deep")
	}
	base := len(p.open)
	p.i++
	p.space()
	if p.peek() == '}' {
		p.i++
		return nil
	}
	for {
		if p.peek() != '"' {
			return p.fail("expected a member name")
		}
		name, err := p.text()
		if err != nil {
			return err
		}
		seen := p.open[base:]
		if len(seen) == maxMembers {
			return p.fail("too many members in one object")
		}
		for _, n := range seen {
			if n == name {
				return fmt.Errorf("member %s is there twice", quoted(name))
			}
		}
		p.open = append(p.open, name)
		p.space()
		if p.peek() != ':' {
			return p.fail("expected a colon")
		}
		p.i++
		p.space()
		start := p.i
		if err := p.value(depth); err != nil {
			return err
		}
		if into != nil {
			*into = append(*into, member{name, p.s[start:p.i]})
		}
		p.space()
		switch p.peek() {
		case ',':
			p.i++
			p.space()
		case '}':
			p.i++
			p.open = p.open[:base]
			return nil
		default:
			return p.fail("expected a comma or a closing brace")
		}
	}
}

func (p *scanner) array(depth int) error {
	if depth > maxDepth {
		return p.fail("nesting is too deep")
	}
	p.i++
	p.space()
	if p.peek() == ']' {
		p.i++
		return nil
	}
	for {
		if err := p.value(depth); err != nil {
			return err
		}
		p.space()
		switch p.peek() {
		case ',':
			p.i++
			p.space()
		case ']':
			p.i++
			return nil
		default:
			return p.fail("expected a comma or a closing bracket")
		}
	}
}

// value reads any JSON value inside a container of the given depth.
func (p *scanner) value(depth int) error {
	switch c := p.peek(); {
	case c == '"':
		_, err := p.span()
		return err
	case c == '{':
		return p.object(depth+1, nil)
	case c == '[':
		return p.array(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.s[p.i:], word) {
			p.i += len(word)
			return nil
		}
	}
	return p.fail("expected a value")
}

// elements yields the raw elements of a raw array that parseObject has accepted.
func elements(v string) iter.Seq[string] {
	return func(yield func(string) bool) {
		p := scanner{s: v, i: 1}
		for p.space(); p.peek() != ']'; p.space() {
			start := p.i
			if p.value(1) != nil || !yield(p.s[start:p.i]) {
				return
			}
			p.space()
			if p.peek() == ',' {
				p.i++
			}
		}
	}
}
