package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// CheckEntry says the same of raw as ParseEntry, without reading what it means: whether it is one canonical entry. It is for going through a
// whole log. What it can't tell at a glance, such as an escape in a string, it leaves to ParseEntry; so it may be slow, and is never wrong.
func CheckEntry(raw []byte) error {
	if len(raw) <= MaxEntry {
		if rest, ok := entryShape().match(raw); ok && len(rest) == 0 {
			return nil
		}
	}
	_, err := ParseEntry(raw)
	return err
}

// shape is the canonical form of a type, taken from the same declarations as its JSON: a new field needs nothing here.
type shape struct {
	kind   shapeKind
	fields []shapeField // of an object
	item   *shape       // of a list
}

type shapeKind int

const (
	shapeUnknown shapeKind = iota // left to ParseEntry
	shapeString
	shapeTrue // a boolean
	shapeTime
	shapeVersion
	shapeObject
	shapeList
	shapeMap // of strings
)

type shapeField struct {
	first    []byte // `"name":`
	further  []byte // `,"name":`
	optional bool   // left out when it has its zero value, and then not written
	filled   bool   // must not be empty though it is not optional
	shape    *shape
}

var entryShape = sync.OnceValue(func() *shape {
	s := shapeOf(reflect.TypeFor[Entry]())
	for i := range s.fields {
		switch f := &s.fields[i]; string(f.first) {
		case `"v":`:
			f.shape = &shape{kind: shapeVersion}
		case `"id":`, `"kind":`:
			f.filled = true
		}
	}
	return s
})

func shapeOf(t reflect.Type) *shape {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &shape{kind: shapeTime}
	case t.Kind() == reflect.Pointer:
		return shapeOf(t.Elem())
	case t.Kind() == reflect.String:
		return &shape{kind: shapeString}
	case t.Kind() == reflect.Bool:
		return &shape{kind: shapeTrue}
	case t.Kind() == reflect.Slice:
		return &shape{kind: shapeList, item: shapeOf(t.Elem())}
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String:
		return &shape{kind: shapeMap}
	case t.Kind() != reflect.Struct:
		return &shape{}
	}
	s := &shape{kind: shapeObject}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" || t.Field(i).Anonymous {
			return &shape{}
		}
		s.fields = append(s.fields, shapeField{
			first: fmt.Appendf(nil, "%q:", name), further: fmt.Appendf(nil, ",%q:", name),
			optional: strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero"), shape: shapeOf(t.Field(i).Type),
		})
	}
	return s
}

// match takes a value of the shape off the front of b.
func (s *shape) match(b []byte) (rest []byte, ok bool) {
	switch s.kind {
	case shapeString:
		_, rest, ok = plainString(b)
		return rest, ok
	case shapeTrue:
		if rest, ok := bytes.CutPrefix(b, []byte("true")); ok {
			return rest, true
		}
		return bytes.CutPrefix(b, []byte("false"))
	case shapeVersion:
		return bytes.CutPrefix(b, []byte("1"))
	case shapeTime:
		text, rest, ok := plainString(b)
		return rest, ok && plainTime(text)
	case shapeObject:
		return s.matchObject(b)
	case shapeList:
		return s.matchList(b)
	case shapeMap:
		return matchMap(b)
	}
	return nil, false
}

func (s *shape) matchObject(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	b = b[1:]
	some := false
	for i := range s.fields {
		f := &s.fields[i]
		name := f.first
		if some {
			name = f.further
		}
		if !bytes.HasPrefix(b, name) {
			if f.optional {
				continue
			}
			return nil, false
		}
		value := b[len(name):]
		if b, ok = f.shape.match(value); !ok || f.optional && zero(value) || f.filled && zero(value) {
			return nil, false
		}
		some = true
	}
	return bytes.CutPrefix(b, []byte("}"))
}

// zero reports whether a value is one that is left out where it may be, or could be.
func zero(value []byte) bool {
	return len(value) < 2 || value[0] == '"' && value[1] == '"' || value[0] == 'f' || value[0] == '[' && value[1] == ']' || value[0] == '{' && value[1] == '}'
}

func (s *shape) matchList(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '[' {
		return nil, false
	}
	for b = b[1:]; ; b = b[1:] {
		if b, ok = s.item.match(b); !ok || len(b) == 0 {
			return nil, false
		}
		if b[0] == ']' {
			return b[1:], true
		}
		if b[0] != ',' {
			return nil, false
		}
	}
}

// matchMap takes an object of strings whose keys ascend.
func matchMap(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	var last []byte
	for first := true; ; first = false {
		key, after, ok := plainString(b[1:])
		if !ok || !first && bytes.Compare(last, key) >= 0 || len(after) == 0 || after[0] != ':' {
			return nil, false
		}
		if _, b, ok = plainString(after[1:]); !ok || len(b) == 0 {
			return nil, false
		}
		last = key
		if b[0] == '}' {
			return b[1:], true
		}
		if b[0] != ',' {
			return nil, false
		}
	}
}

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

// plainTime reports whether a time is one that Marshal writes: in UTC, without needless digits, and not the zero time.
func plainTime(text []byte) bool {
	n := len(text)
	if n < len("2006-01-02T15:04:05Z") || n > len("2006-01-02T15:04:05.999999999Z") || text[n-1] != 'Z' || text[10] != 'T' {
		return false
	}
	if n > 20 && (text[19] != '.' || text[n-2] == '0' || n == 21) {
		return false
	}
	t, err := time.Parse(time.RFC3339, string(text))
	return err == nil && !t.IsZero()
}
