package policy

import (
	"hash/maphash"
	"sync/atomic"
)

// slots is a small cache of fixed size: a key has one place and a later key may take it. Reading takes no lock, memory is bounded
// whatever callers send, and a lost place costs only building the value again.
type slots[K comparable, V any] struct {
	seed  maphash.Seed
	mask  uint64
	cells []atomic.Pointer[cell[K, V]]
}

type cell[K comparable, V any] struct {
	key   K
	value V
}

// newSlots makes a cache of the given size, a power of two.
func newSlots[K comparable, V any](size int) *slots[K, V] {
	return &slots[K, V]{seed: maphash.MakeSeed(), mask: uint64(size - 1), cells: make([]atomic.Pointer[cell[K, V]], size)}
}

// get returns the value of the key, building it when it is not there.
func (s *slots[K, V]) get(key K, build func(K) V) V {
	at := &s.cells[maphash.Comparable(s.seed, key)&s.mask]
	if c := at.Load(); c != nil && c.key == key {
		return c.value
	}
	v := build(key)
	at.Store(&cell[K, V]{key, v})
	return v
}
