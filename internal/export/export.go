// Package export streams the sealed record to other systems: SIEMs, collectors, files.
//
// It owns the formats (native, OCSF), the sinks (OTLP, syslog, HTTP, files), where each sink is (cursors), what a sink refused for good (dead
// letters), and how it is tried again. It reads the log from behind, at its own pace: a sink that is slow, down or full never holds up a
// decision. It refuses to know gates, and where entries come from beyond the interface Log.
//
// Delivery is at least once: the cursor moves after the receiver has taken a batch, so a crash in between repeats that batch. Every message
// carries the entry's index and id, by which a receiver can drop repetitions.
//
// Follow an entry: Log → pump.fill (pump.go) → Format (native.go, ocsf.go) → Sink.Send (http.go, otlp.go, syslog.go, file.go) → cursor.
package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Source hands out entries of a log in order. io.EOF means that there are no more now: Next may be called again later.
type Source interface {
	// Next returns the next entry in its canonical form. Raw is nil for an entry that retention has removed.
	Next(ctx context.Context) (index uint64, raw []byte, err error)
	Close() error
}

// Log is the sealed log as exports see it. SealedLog is the one on disk.
type Log interface {
	Origin() string                      // its name, as in its checkpoint
	Size() (uint64, error)               // entries that can be read now
	Open(from uint64) (Source, error)    // reads from that index on
	Time(index uint64) time.Time         // of that entry, for lag; zero when it can't be told
	Leaf(index uint64) (tlog.Hash, bool) // leaf hash (RFC 6962) of that entry; false when it is gone
}

// Event is one entry on its way out.
type Event struct {
	Log   string // origin of the log
	Index uint64
	Raw   []byte      // canonical form, as sealed
	Entry audit.Entry // parsed from Raw; personal data opened when the sink is to have it
	Test  bool        // made up by `audit export test`: not in the log
}

// Message is an entry as a sink sends it.
type Message struct {
	Index    uint64
	ID       string
	Time     time.Time
	Kind     audit.Kind
	Severity Severity
	Entry    *audit.Entry // for attributes of the transport; nil when only Body is known
	Body     []byte       // one JSON object without a newline, in the sink's format
}

// Severity is how much a message asks for attention.
type Severity int

const (
	SeverityInfo    Severity = iota // what happens every day
	SeverityNotice                  // somebody changed who may do what
	SeverityWarning                 // a refusal
	SeverityAlert                   // break-glass, a lost entry, a refusal for want of the record
)

// Sink is where messages go. One goroutine uses it at a time.
type Sink interface {
	// Send delivers a batch. Nil means that the receiver has taken all of it. A *Refused says which messages it will never take; the rest
	// was taken. Any other error means that nothing can be said: the whole batch is sent again later.
	Send(ctx context.Context, batch []Message) error
	Close() error
}

// Refused is a receiver's refusal of single messages: they are dead letters.
type Refused struct {
	Which []int // places in the batch
	Code  string
	Text  string // what the receiver said, at most 300 bytes; never a secret of ours
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the receiver refused %d messages: %s: %s", len(r.Which), r.Code, r.Text)
}

// batchRefused is a receiver's refusal of a batch as a whole: one of its messages is at fault, or its size, and which is found by halving.
type batchRefused struct{ Code, Text string }

func (r *batchRefused) Error() string {
	return fmt.Sprintf("the receiver refused the batch: %s: %s", r.Code, r.Text)
}

// later is an error of a receiver that has said when to come again.
type later struct {
	after time.Duration
	err   error
}

func (l *later) Error() string { return l.err.Error() }
func (l *later) Unwrap() error { return l.err }

var (
	// ErrDiverged is wrapped by the state of a sink whose cursor is not of this log: the log was rolled back, or is another one.
	ErrDiverged = errors.New("the cursor is not of this log")
	// ErrBusy is returned when another process exports to the sink.
	ErrBusy = errors.New("another process exports to this sink")
	// errHold is wrapped by errors that trying again alone will not mend, such as a wrong token. The sink is tried again, rarely.
	errHold = errors.New("needs its operator")
)

// severityOf says how much an entry asks for attention.
func severityOf(e *audit.Entry) Severity {
	switch {
	case e.Kind == audit.KindLost, e.Detail["break_glass"] == "true":
		return SeverityAlert
	case e.Decision != nil && !e.Decision.Allow && e.Decision.Code == "audit_unavailable":
		return SeverityAlert
	case e.Decision != nil && !e.Decision.Allow:
		return SeverityWarning
	case e.Kind == audit.KindDecision:
		return SeverityInfo
	case e.Kind == audit.KindRevocation:
		return SeverityWarning
	}
	return SeverityNotice
}

// clip bounds what a receiver said, so that a large or hostile answer does not fill our files.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most]
	}
	out := []rune(nil)
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0xfffd || r >= 0x80 && r < 0xa0 {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}
