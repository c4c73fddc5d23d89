package standing

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// cacheHead is the first line of a cache file. The number is the format's version: 1 (2026-11) first.
const cacheHead = "bailiwick-standing-cache 1\n"

// cache keeps over a restart what a follower knows: the messages as they were signed, so that nothing in the file is believed that the feed did
// not say. Lines after the first are "m JWS" for a message, from the beginning of the feed on without a gap, and "h TIME" for when the control
// plane was last heard (RFC 3339, UTC).
//
// A crash leaves a file that ends in the middle of a line: that message was not acted on yet, and is cut off. Anything else that is wrong with
// the file voids all of it.
type cache struct {
	path string
	size int64 // bytes; 0 when there is no usable file
	base int64 // bytes of it that the last full copy takes
}

// record is what a cache gave back.
type record struct {
	feed   string
	seq    uint64
	link   string
	heard  time.Time
	events []Event
}

// load reads the file. os.ErrNotExist when there is none.
func (c *cache) load(keys []ed25519.PublicKey) (record, error) {
	var r record
	raw, err := os.ReadFile(c.path)
	if err != nil {
		return r, fmt.Errorf("reading the standing cache: %w", err)
	}
	bad := func(line int, err error) (record, error) {
		return record{}, fmt.Errorf("reading the standing cache %s: line %d: %w", c.path, line, err)
	}
	whole := raw[:bytes.LastIndexByte(raw, '\n')+1]
	rest, ok := bytes.CutPrefix(whole, []byte(cacheHead))
	if !ok {
		return bad(1, errors.New("it is no cache of this format"))
	}
	more := true // of the full copy that the file begins with
	for n := 2; len(rest) > 0; n++ {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		text, isMessage := bytes.CutPrefix(line, []byte("m "))
		if !isMessage {
			stamp, isHeard := bytes.CutPrefix(line, []byte("h "))
			if r.heard, err = time.Parse(time.RFC3339Nano, string(stamp)); !isHeard || err != nil {
				return bad(n, errors.New("it is neither a message nor a time"))
			}
			continue
		}
		m, err := OpenMessage(text, keys)
		if err != nil {
			return bad(n, err)
		}
		switch {
		case r.feed == "" && !(m.Reset && m.After == 0):
			return bad(n, errors.New("it does not begin at the beginning"))
		case r.feed != "" && (m.Reset || m.Feed != r.feed || m.After != r.seq || r.link != "" && m.AfterLink != r.link):
			return bad(n, errors.New("it does not go on from the line before"))
		}
		r.feed, r.seq, r.link = m.Feed, m.Seq, m.Link
		r.events = append(r.events, m.Events...)
		more = more && m.More
	}
	if more || r.heard.IsZero() {
		return bad(1, errors.New("it ends too early"))
	}
	if len(whole) < len(raw) {
		if err := os.Truncate(c.path, int64(len(whole))); err != nil {
			return bad(1, fmt.Errorf("cutting off what a crash left half written: %w", err))
		}
	}
	c.size, c.base = int64(len(whole)), int64(len(whole))
	return r, nil
}

// replace writes a full copy. A crash leaves the old file or the new one.
func (c *cache) replace(messages [][]byte, heard time.Time) error {
	var b bytes.Buffer
	b.WriteString(cacheHead)
	for _, m := range messages {
		b.WriteString("m ")
		b.Write(m)
		b.WriteByte('\n')
	}
	b.Write(heardLine(heard))
	c.size, c.base = 0, 0
	if err := durable.WriteFile(c.path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keeping the standing cache: %w", err)
	}
	c.size, c.base = int64(b.Len()), int64(b.Len())
	return nil
}

// append adds a message and makes it durable.
func (c *cache) append(message []byte, heard time.Time) error {
	line := append(append([]byte("m "), message...), '\n')
	return c.write(append(line, heardLine(heard)...), true)
}

// hear notes the time. It need not be durable: losing it only makes the copy look older.
func (c *cache) hear(heard time.Time) error { return c.write(heardLine(heard), false) }

func heardLine(t time.Time) []byte { return []byte("h " + t.UTC().Format(time.RFC3339Nano) + "\n") }

func (c *cache) write(lines []byte, sync bool) error {
	if c.size == 0 {
		return errors.New("keeping the standing cache: there is no copy to add to")
	}
	f, err := os.OpenFile(c.path, os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keeping the standing cache: %w", err)
	}
	// At the known end, not at the file's: what a failed write left behind is written over.
	_, err = f.WriteAt(lines, c.size)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keeping the standing cache: %w", err)
	}
	c.size += int64(len(lines))
	return nil
}

// drop removes a copy that has fallen behind what is in force: a restart must not go by it.
func (c *cache) drop() error {
	c.size, c.base = 0, 0
	if err := os.Remove(c.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the standing cache: %w", err)
	}
	return nil
}

// full reports whether a new full copy would be much smaller than the file.
func (c *cache) full() bool { return c.size-c.base > max(1<<20, c.base) }
