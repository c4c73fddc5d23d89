package audit

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// CheckEntry and ParseEntry agree on entries and on every way to damage one by a byte.
func TestCheckEntry(t *testing.T) {
	raw, err := full().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// The full entry is told at a glance: else a field is missing in the shape, and going through a log is slow.
	if rest, ok := entryShape().match(mustMarshal(t, readable())); !ok || len(rest) != 0 {
		t.Errorf("an entry with every field is not told at a glance; rest %q", rest)
	}
	agree := func(b []byte) {
		t.Helper()
		_, want := ParseEntry(b)
		if got := CheckEntry(b); (got == nil) != (want == nil) {
			t.Fatalf("%s: CheckEntry %v, ParseEntry %v", b, got, want)
		}
	}
	for _, e := range []Entry{full(), readable(), entry("e1"), {ID: "x", Kind: "k", Time: time.Unix(0, 100)}} {
		raw := mustMarshal(t, e)
		agree(raw)
		for i := range raw {
			agree(append(bytes.Clone(raw[:i]), raw[i+1:]...))
			for _, c := range []byte{0, ' ', '"', '\\', ',', '}', ']', 'a', '0', 'Z', 0x80} {
				b := bytes.Clone(raw)
				b[i] = c
				agree(b)
			}
			agree(append(append(bytes.Clone(raw[:i]), ' '), raw[i:]...))
		}
	}
	for _, s := range []string{"", "{}", "null", string(raw) + "\n", string(raw) + string(raw), strings.Replace(string(raw), `"v":1`, `"v":01`, 1),
		`{"v":1,"id":"a","time":"0001-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{}}`,
		`{"v":1,"id":"","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00.10Z","kind":"k","gate":"","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-02-30T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{"groups":[]},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{"login":""},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{"unresolved":false}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{},"detail":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{},"detail":{"b":"","a":""}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{},"detail":{"a":"","a":""}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"k","gate":"","actor":{},"resource":{},"detail":{"a":"","b":""}}`,
		`{"v":1,"id":"é` + "\u2028" + `","time":"2026-01-01T00:00:00Z","kind":"k","gate":"ü","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T00:00:00,1Z","kind":"k","gate":"","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-01-01T24:00:00Z","kind":"k","gate":"","actor":{},"resource":{}}`,
	} {
		agree([]byte(s))
	}
}

func mustMarshal(t testing.TB, e Entry) []byte {
	t.Helper()
	raw, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func FuzzCheckEntry(f *testing.F) {
	f.Add(mustMarshal(f, full()))
	f.Add(mustMarshal(f, readable()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, want := ParseEntry(raw)
		if got := CheckEntry(raw); (got == nil) != (want == nil) {
			t.Errorf("%q: CheckEntry %v, ParseEntry %v", raw, got, want)
		}
	})
}

func BenchmarkCheckEntry(b *testing.B) {
	raw := mustMarshal(b, readable())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckEntry(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// full has every field, and escapes; readable has neither quotes nor what must be escaped.
func full() Entry {
	var e Entry
	fill(reflect.ValueOf(&e).Elem(), `x "é`)
	e.Version = EntryVersion
	return e
}

func readable() Entry {
	var e Entry
	fill(reflect.ValueOf(&e).Elem(), "é<x>")
	e.Version = EntryVersion
	return e
}
