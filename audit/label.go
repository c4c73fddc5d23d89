package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Label is what an entry says of itself first.
type Label struct {
	ID   string
	Kind Kind
	Gate string
}

// ReadLabel reads the label off a canonical entry without parsing the rest: its first five fields are v, id, time, kind and gate.
// It does not say that the rest is an entry. ok is false when those five are not there in the canonical form.
func ReadLabel(raw []byte) (l Label, ok bool) {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"v":`))
	if !ok {
		return Label{}, false
	}
	comma := bytes.IndexByte(rest, ',')
	if comma < 0 {
		return Label{}, false
	}
	rest = rest[comma:]
	var kind, at string
	for _, f := range []struct {
		name string
		to   *string
	}{{`,"id":"`, &l.ID}, {`,"time":"`, &at}, {`,"kind":"`, &kind}, {`,"gate":"`, &l.Gate}} {
		if rest, ok = bytes.CutPrefix(rest, []byte(f.name)); !ok {
			return Label{}, false
		}
		if *f.to, rest, ok = cutString(rest); !ok {
			return Label{}, false
		}
	}
	l.Kind = Kind(kind)
	return l, true
}

// cutString reads a JSON string whose opening quote is gone, and returns what follows the closing one.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	escaped := false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if !escaped {
				return string(b[:i]), b[i+1:], true
			}
			quoted := append(append([]byte{'"'}, b[:i]...), '"')
			if err := json.Unmarshal(quoted, &s); err != nil {
				return "", nil, false
			}
			return s, b[i+1:], true
		}
	}
	return "", nil, false
}

// First returns the sequence number of the first entry that the journal in dir still has: 0 unless it was pruned. ok is false when
// there is no journal yet.
func First(dir string) (seq uint64, ok bool, err error) {
	segments, _, err := listSegments(dir, nil)
	if err != nil || len(segments) == 0 {
		return 0, false, err
	}
	return segments[0].base, true, nil
}

// GateOf returns the gate that the first entry of the journal in dir names; empty when there is no such entry yet. A journal is of one
// gate and has its name.
func GateOf(dir string) (string, error) {
	first, ok, err := First(dir)
	if err != nil || !ok {
		return "", err
	}
	r, err := OpenReader(dir, first)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	for range 1 << 16 { // marks of lost entries may come first
		_, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("finding out whose journal %s is: %w", dir, err)
		}
		if l, ok := ReadLabel(raw); ok && l.Gate != "" {
			return l.Gate, nil
		}
	}
	return "", nil
}

// KindOf is ReadLabel's kind, without allocation for the kinds known here; empty when raw is not an entry.
func KindOf(raw []byte) Kind {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"v":1,"id":`))
	if ok {
		_, rest, ok = plainString(rest)
	}
	if ok {
		rest, ok = bytes.CutPrefix(rest, []byte(`,"time":`))
	}
	if ok {
		_, rest, ok = plainString(rest)
	}
	if ok {
		rest, ok = bytes.CutPrefix(rest, []byte(`,"kind":`))
	}
	if ok {
		var kind []byte
		if kind, _, ok = plainString(rest); ok {
			for _, k := range [...]Kind{KindDecision, KindPolicy, KindGate, KindLost, KindAccess, KindRevocation, KindDirectory, KindKey, KindReport, KindAdmin} {
				if string(kind) == string(k) {
					return k
				}
			}
		}
	}
	l, _ := ReadLabel(raw)
	return l.Kind
}
