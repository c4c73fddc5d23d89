package audit

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
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

// CheckEntry and ParseEntry agree on entries of any of the fields, and on what becomes of one when parts of it are taken out, repeated or exchanged.
func TestCheckEntryParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		e := readable()
		thin(r, reflect.ValueOf(&e).Elem())
		e.Version, e.ID, e.Kind, e.Time = EntryVersion, "a", "k", time.Unix(1790000000, 0)
		raw := mustMarshal(t, e)
		if rest, ok := entryShape().match(raw); !ok || len(rest) != 0 {
			t.Fatalf("%s is not told at a glance; rest %q", raw, rest)
		}
		var cuts []int // where a part begins or ends
		for i, c := range raw {
			if bytes.IndexByte([]byte(`{}[],:"`), c) >= 0 {
				cuts = append(cuts, i, i+1)
			}
		}
		for range 20 {
			at := []int{cuts[r.IntN(len(cuts))], cuts[r.IntN(len(cuts))], cuts[r.IntN(len(cuts))]}
			slices.Sort(at)
			head, a, b, tail := raw[:at[0]], raw[at[0]:at[1]], raw[at[1]:at[2]], raw[at[2]:]
			for _, damaged := range [][]byte{slices.Concat(head, b, a, tail), slices.Concat(head, a, tail), slices.Concat(head, a, b, b, tail), slices.Concat(head, a, b)} {
				_, want := ParseEntry(damaged)
				if got := CheckEntry(damaged); (got == nil) != (want == nil) {
					t.Fatalf("%s: CheckEntry %v, ParseEntry %v", damaged, got, want)
				}
			}
		}
	}
}

// thin empties about half of the fields, at every depth.
func thin(r *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case r.IntN(2) == 0:
			f.SetZero()
		case f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]():
			thin(r, f)
		case f.Kind() == reflect.Pointer && !f.IsNil():
			thin(r, f.Elem())
		}
	}
}

// What plainTime says of a time is what reading and writing it does.
func TestPlainTime(t *testing.T) {
	years := []string{"0000", "0001", "1999", "2000", "2023", "2024", "2100", "2999", "3000", "9999", "2o24", "20 4"}
	days := []string{"00", "01", "09", "0:", "0/", "10", "19", "1:", "12", "13", "28", "29", "30", "31", "32", "39", "2:", "-1", " 1"}
	clocks := []string{"00:00:00", "23:59:59", "24:00:00", "19:60:00", "20:00:60", "2:00:000", "0:000:00", "23-00:00", "23:00-00", "+1:00:00", "09:0:000", "1/:00:00", "00:5:000", "00:00:5:"}
	fractions := []string{"", ".", ".1", ".10", ".000000001", ".123456789", ".1234567891", ".12a", ",1", ".0", ".-1"}
	agree := func(text string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, text)
		want := err == nil && !at.IsZero() && at.UTC().Format(time.RFC3339Nano) == text
		if got := plainTime([]byte(text)); got != want {
			t.Errorf("%q: plainTime %v, want %v", text, got, want)
		}
	}
	for _, y := range years {
		for _, m := range days {
			for _, d := range days {
				agree(y + "-" + m + "-" + d + "T00:00:00Z")
			}
		}
		for _, c := range clocks {
			for _, f := range fractions {
				agree(y + "-01-01T" + c + f + "Z")
				agree(y + "-01-01T" + c + f + "+00:00")
				agree(y + "-01-01t" + c + f + "Z")
				agree(y + "/01-01T" + c + f + "Z")
				agree(y + "-01/01T" + c + f + "Z")
			}
		}
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
