package standing

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzCache: whatever is in the file, it gives back what signed messages say in order, or nothing.
func FuzzCache(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	event := func(seq uint64) Event {
		return Event{Seq: seq, ID: "e", Kind: EventBar, At: now, Bar: &Bar{ID: "b", Principal: "p", Reason: "r"}}
	}
	var lines [][]byte
	for _, m := range []Message{
		{Feed: "F", At: now, Nonce: "n", Reset: true, Seq: 1, Link: "a", Head: 1, Events: []Event{event(1)}},
		{Feed: "F", At: now, Nonce: "n", After: 1, AfterLink: "a", Seq: 2, Link: "b", Head: 2, Events: []Event{event(2)}},
	} {
		raw, err := SignMessage(key, m)
		if err != nil {
			f.Fatal(err)
		}
		lines = append(lines, []byte("m "+raw+"\n"))
	}
	whole := bytes.Join([][]byte{[]byte(cacheHead), lines[0], heardLine(now), lines[1], heardLine(now)}, nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-7])
	f.Add(bytes.Join([][]byte{[]byte(cacheHead), lines[1], heardLine(now)}, nil))
	f.Add([]byte(cacheHead))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "cache")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := cache{path: path}
		r, err := c.load([]ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err != nil {
			if r.feed != "" || c.size != 0 {
				t.Fatalf("refused and used: %+v", r)
			}
			return
		}
		if r.feed != "F" || r.seq < 1 || r.seq > 2 || len(r.events) != int(r.seq) || r.heard.IsZero() {
			t.Fatalf("gave back %+v", r)
		}
		again, err := c.load([]ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
		if err != nil || again.seq != r.seq {
			t.Fatalf("read again: %+v, %v", again, err)
		}
	})
}
