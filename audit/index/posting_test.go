package index

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestIntersectAndUnion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		some := func(most int) []uint16 {
			var l []uint16
			for range r.IntN(most + 1) {
				l = append(l, uint16(r.IntN(blockSize)))
			}
			slices.Sort(l)
			return slices.Compact(l)
		}
		a, b := some(40), some(3000)
		var both []uint16
		for _, v := range a {
			if slices.Contains(b, v) {
				both = append(both, v)
			}
		}
		if got := intersect(slices.Clone(a), b); !slices.Equal(got, both) {
			t.Fatalf("%v and %v have in common %v", a, b, got)
		}
		if got := intersect(slices.Clone(b), a); !slices.Equal(got, both) {
			t.Fatalf("%v and %v have in common %v", b, a, got)
		}
		all := slices.Concat(a, b)
		slices.Sort(all)
		if got := union([][]uint16{a, b}); !slices.Equal(got, slices.Compact(all)) {
			t.Fatalf("%v or %v is %v", a, b, got)
		}
	}
}

func FuzzPosting(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 31, 255})
	f.Add([]byte{0, 1, 0, 1})
	f.Add([]byte{32, 0})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		offsets, err := decodePosting(b)
		if err != nil {
			return
		}
		if !bytes.Equal(encodePosting(offsets), b) || !slices.IsSorted(offsets) || len(slices.Compact(slices.Clone(offsets))) != len(offsets) {
			t.Errorf("%v from %x", offsets, b)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(encodeCursor(false, 7))
	f.Add(encodeCursor(true, 1<<40))
	f.Add("MW4tMQ")
	f.Fuzz(func(t *testing.T, s string) {
		for _, oldest := range []bool{false, true} {
			last, err := decodeCursor(s, oldest)
			if err == nil && (last < 0 || encodeCursor(oldest, last) != s) {
				t.Errorf("%q is %d", s, last)
			}
		}
	})
}
