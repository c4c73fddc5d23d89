package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
)

// keepEncoding is the largest encoding buffer, in bytes, that is kept for the next request: one large request must not hold its memory.
const keepEncoding = 64 << 10

var encodings = sync.Pool{New: func() any { return new([]byte) }}

// digest is the SHA-256 (hex) of the request as it was received, in deterministic protobuf encoding.
func (c *Call) digest() (string, error) {
	m, ok := c.Request.(proto.Message)
	if !ok {
		return "", errors.New("the request is not a protobuf message")
	}
	buf := encodings.Get().(*[]byte)
	raw, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend((*buf)[:0], m)
	if err != nil {
		return "", fmt.Errorf("encoding the request: %w", err)
	}
	sum := sha256.Sum256(raw)
	if cap(raw) <= keepEncoding {
		*buf = raw
		encodings.Put(buf)
	}
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:]), nil
}
