package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
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
	kind     shapeKind
	fields   []shapeField // of an object
	required int          // how many of the fields are up to the last that must be there
	item     *shape       // of a list
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
	name     []byte // `"name":`
	word     uint64 // the first eight bytes of it (little-endian), which tell almost every name from another
	mask     uint64 // which of them it has
	optional bool   // left out when it has its zero value, and then not written
	filled   bool   // must not be empty, whether or not it is optional
	shape    *shape
}

var entryShape = sync.OnceValue(func() *shape {
	s := shapeOf(reflect.TypeFor[Entry]())
	for i := range s.fields {
		switch f := &s.fields[i]; string(f.name) {
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
		f := shapeField{name: fmt.Appendf(nil, "%q:", name), shape: shapeOf(t.Field(i).Type)}
		f.optional = strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		f.filled = f.optional
		var word, mask [8]byte
		for j := range copy(word[:], f.name) {
			mask[j] = 0xff
		}
		f.word, f.mask = binary.LittleEndian.Uint64(word[:]), binary.LittleEndian.Uint64(mask[:])
		if s.fields = append(s.fields, f); !f.optional {
			s.required = len(s.fields)
		}
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

// matchObject takes the members in the order of the fields. What follows a value says whether there is another, so that the optional fields
// behind the last member cost nothing.
func (s *shape) matchObject(b []byte) (rest []byte, ok bool) {
	if len(b) < 2 || b[0] != '{' {
		return nil, false
	}
	next := 0 // the field that may come next
	for b = b[1:]; len(b) > 0 && b[0] != '}'; {
		if next > 0 {
			if b[0] != ',' {
				return nil, false
			}
			b = b[1:]
		}
		if len(b) < 8 {
			return nil, false // shorter than any member and what closes the object: ParseEntry may say otherwise
		}
		word := binary.LittleEndian.Uint64(b)
		for ; ; next++ {
			if next == len(s.fields) {
				return nil, false
			}
			f := &s.fields[next]
			if word&f.mask == f.word && bytes.HasPrefix(b, f.name) {
				break
			}
			if !f.optional {
				return nil, false
			}
		}
		f := &s.fields[next]
		value := b[len(f.name):]
		if f.shape.kind == shapeString {
			_, b, ok = plainString(value)
		} else {
			b, ok = f.shape.match(value)
		}
		if !ok || f.filled && zero(value) {
			return nil, false
		}
		next++
	}
	if len(b) == 0 || next < s.required {
		return nil, false
	}
	return b[1:], true
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
