package audit

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"time"
	"unicode/utf8"
)

// Strings and times that can be told at a glance to stand as Marshal writes them.

// plainString takes a string without escapes that stands as Marshal writes it. Those with escapes are left to ParseEntry.
//
// It looks at eight bytes at a time, as plain does. Of the bytes that it marks the lowest is marked rightly: a borrow comes only from a byte
// below that is marked itself.
func plainString(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 1
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^ones*'"', x^ones*'\\'
		if bad := (x | (x - ones*' ') | (quote - ones) | (slash - ones)) & tops; bad != 0 {
			i += bits.TrailingZeros64(bad) / 8
			break
		}
	}
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i], b[i+1:], true
		case c < ' ' || c == '\\':
			return nil, nil, false
		case c >= utf8.RuneSelf:
			return wideString(b, i)
		}
	}
	return nil, nil, false
}

// wideString is plainString for a string with characters beyond ASCII, the first of them at i.
func wideString(b []byte, i int) (text, rest []byte, ok bool) {
	end := bytes.IndexByte(b[i:], '"')
	if end < 0 {
		return nil, nil, false
	}
	text, rest = b[1:i+end], b[i+end+1:]
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return nil, nil, false
		}
	}
	return text, rest, utf8.Valid(text) && !bytes.Contains(text, []byte("\u2028")) && !bytes.Contains(text, []byte("\u2029"))
}

// plainTime reports whether a time is one that Marshal writes: in UTC, without needless digits, and not the zero time. The days that not every
// month has, and the years before 2000 and after 2999, are left to the library.
func plainTime(text []byte) bool {
	n := len(text)
	if n < len("2006-01-02T15:04:05Z") || n > len("2006-01-02T15:04:05.999999999Z") || text[n-1] != 'Z' || text[10] != 'T' {
		return false
	}
	if n > 20 && (text[19] != '.' || text[n-2] == '0' || n == 21) {
		return false
	}
	if text[0] == '2' && digits(text[1:4]) && text[4] == '-' && between(text[5:7], "01", "12") && text[7] == '-' && between(text[8:10], "01", "28") &&
		between(text[11:13], "00", "23") && text[13] == ':' && between(text[14:16], "00", "59") && text[16] == ':' && between(text[17:19], "00", "59") &&
		(n == 20 || digits(text[20:n-1])) {
		return true
	}
	t, err := time.Parse(time.RFC3339, string(text))
	return err == nil && !t.IsZero()
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// between reports whether b is two digits from low up to high.
func between(b []byte, low, high string) bool {
	return b[1] >= '0' && b[1] <= '9' && string(b) >= low && string(b) <= high
}
