package gate

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// ids makes decision ids: UUIDs of version 7 (RFC 9562 section 5.7), 48 bits of milliseconds and 74 random bits. Randomness is drawn in
// blocks, because a system call for each id would be a tenth of the whole decision.
type ids struct {
	mu    sync.Mutex // covers the two below
	block [1024]byte
	left  int // bytes at the end of block that no id has used
}

func (s *ids) next(now time.Time) string {
	var u [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	s.mu.Lock()
	if s.left == 0 {
		_, _ = rand.Read(s.block[:]) // never fails: crypto/rand ends the process instead
		s.left = len(s.block)
	}
	s.left -= 16
	copy(u[6:], s.block[s.left:s.left+16])
	s.mu.Unlock()
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80

	var text [36]byte
	hex.Encode(text[:8], u[:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
