package feed

import (
	"strings"
	"testing"
	"time"
)

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"after=0&gate=g&nonce=0123456789abcdef&wait=20s&seen=7", "after=1&after=2&gate=g&nonce=0123456789abcdef", "after=%31&gate=%ff&nonce=x", "a;b", "after=9223372036854775808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, wrong := parseQuery(raw)
		if wrong != "" {
			return
		}
		if q.gate == "" || len(q.gate) > 512 || strings.ContainsAny(q.gate, "\r\n\x00\x1b") || len(q.nonce) < 16 || len(q.nonce) > 64 || q.wait < 0 || q.wait > maxWait || q.after > 1<<63 || q.seen > 1<<63 || q.wait > time.Minute {
			t.Fatalf("accepted %q as %+v", raw, q)
		}
	})
}
