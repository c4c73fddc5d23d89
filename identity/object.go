package identity

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf16"
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

func (p *scanner) digits() bool {
	start := p.i
	for p.peek() >= '0' && p.peek() <= '9' {
		p.i++
	}
	return p.i > start
}

func (p *scanner) number() error {
	start := p.i
	if p.peek() == '-' {
		p.i++
	}
	if p.peek() == '0' {
		p.i++
	} else if !p.digits() {
		return p.fail("malformed number")
	}
	if p.peek() == '.' {
		p.i++
		if !p.digits() {
			return p.fail("malformed number")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.i++
		if c := p.peek(); c == '+' || c == '-' {
			p.i++
		}
		if !p.digits() {
			return p.fail("malformed number")
		}
	}
	if p.i-start > maxNumber {
		return p.fail("number is too long")
	}
	return nil
}

// text reads a string and returns it unescaped.
func (p *scanner) text() (string, error) {
	start := p.i
	escaped, err := p.span()
	if err != nil {
		return "", err
	}
	inner := p.s[start+1 : p.i-1]
	if escaped {
		return unescape(inner), nil
	}
	return inner, nil
}

// span walks over a string whose opening quote is next, and says whether it holds an escape.
func (p *scanner) span() (escaped bool, err error) {
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return escaped, nil
		case c < 0x20:
			return false, p.fail("control character in a string")
		case c == '\\':
			escaped = true
			if err := p.escape(); err != nil {
				return false, err
			}
		}
	}
	return false, p.fail("unfinished string")
}

// escape checks one escape sequence and stops at its last byte.
func (p *scanner) escape() error {
	p.i++
	switch p.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return p.fail("unknown escape")
	}
	r, ok := hex4(p.s[p.i+1:])
	if !ok || r == 0 {
		return p.fail("bad or NUL \\u escape")
	}
	p.i += 4
	if !utf16.IsSurrogate(r) {
		return nil
	}
	if !strings.HasPrefix(p.s[p.i+1:], `\u`) {
		return p.fail("unpaired surrogate")
	}
	low, ok := hex4(p.s[p.i+3:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return p.fail("unpaired surrogate")
	}
	p.i += 6
	return nil
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[:4]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape resolves the escapes of a string that span has accepted.
func unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r, _ := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(s[i+3:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			b.WriteRune(r)
		default: // a quote, a backslash or a slash stands for itself
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// stringValue returns the string that a raw value holds, or false when the value is of another type.
func stringValue(v string) (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	inner := v[1 : len(v)-1]
	if strings.IndexByte(inner, '\\') >= 0 {
		return unescape(inner), true
	}
	return inner, true
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
