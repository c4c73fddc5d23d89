package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// blockSize is how many entries share a posting: those of index n*blockSize to (n+1)*blockSize-1.
const blockSize = 1 << 13

// A posting lists where in one block a term occurs: offsets from the block's first entry, ascending, two bytes each (big-endian).
// Two bytes an occurrence, and a query reads only the blocks it needs.

func encodePosting(offsets []uint16) []byte {
	b := make([]byte, 0, 2*len(offsets))
	for _, o := range offsets {
		b = binary.BigEndian.AppendUint16(b, o)
	}
	return b
}

func decodePosting(b []byte) ([]uint16, error) {
	if len(b)%2 != 0 || len(b) > 2*blockSize {
		return nil, fmt.Errorf("posting of %d bytes", len(b))
	}
	offsets := make([]uint16, len(b)/2)
	for i := range offsets {
		offsets[i] = binary.BigEndian.Uint16(b[2*i:])
		if offsets[i] >= blockSize || i > 0 && offsets[i] <= offsets[i-1] {
			return nil, errors.New("posting is out of order")
		}
	}
	return offsets, nil
}

// intersect returns what is in both, in place of a.
func intersect(a, b []uint16) []uint16 {
	out := a[:0]
	if len(b) > 16*len(a) { // few against many: look each one up
		for _, v := range a {
			i, found := slices.BinarySearch(b, v)
			if b = b[i:]; found {
				out = append(out, v)
			}
		}
		return out
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			out = append(out, a[i])
			i, j = i+1, j+1
		}
	}
	return out
}

// subtract returns what is in a and not in b. It leaves a as it is.
func subtract(a, b []uint16) []uint16 {
	out := make([]uint16, 0, len(a))
	for _, v := range a {
		for len(b) > 0 && b[0] < v {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != v {
			out = append(out, v)
		}
	}
	return out
}

// union returns what is in either, ascending.
func union(lists [][]uint16) []uint16 {
	if len(lists) == 1 {
		return lists[0]
	}
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}
