package identity

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

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
