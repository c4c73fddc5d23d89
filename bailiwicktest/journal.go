package bailiwicktest

import (
	"errors"
	"io"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Entries reads what a journal's directory holds by now, in order. The journal may be open.
func Entries(t testing.TB, dir string) (out []audit.Entry) {
	t.Helper()
	r, err := audit.OpenReader(dir, 0)
	if err != nil {
		t.Fatalf("opening the journal: %v", err)
	}
	defer r.Close()
	for {
		_, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("reading the journal: %v", err)
		}
		e, err := audit.ParseEntry(raw)
		if err != nil {
			t.Fatalf("parsing an entry: %v", err)
		}
		out = append(out, e)
	}
}
