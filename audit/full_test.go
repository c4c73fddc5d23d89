package audit

import (
	"bytes"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"
)

// On a disk that is really full the journal can be cut and synced, only not written: it re-opens and fails again. That must neither keep a
// processor busy nor fill the log, and an entry that nobody waits for is written when there is room.
func TestFullDiskThatReopens(t *testing.T) {
	dir := t.TempDir()
	files := newFaultFiles()
	full := false
	files.fault, files.err = partial, syscall.ENOSPC
	files.broken = func(op string, _ int) bool { return full && strings.HasPrefix(op, "write segment") }
	setFull := func(v bool) { files.mu.Lock(); full = v; files.mu.Unlock() }
	var said bytes.Buffer // written by the journal's goroutine only, read after it has ended
	j := open(t, JournalConfig{Dir: dir, Files: files, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	appendN(t, j, 0, 3)
	setFull(true)
	if err := j.Enqueue(entry("e3")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	setFull(false)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if j.Next() == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the entry is not written though there is room")
		}
	}
	closeJournal(t, j)
	wantIDs(t, dir, 4)
	// Pauses of 0, 5, 10, 20 … ms: some ten tries in half a second, two lines each.
	if n := strings.Count(said.String(), "\n"); n > 40 || n < 4 {
		t.Errorf("the journal logged %d lines in half a second:\n%.2000s", n, said.String())
	}
}
