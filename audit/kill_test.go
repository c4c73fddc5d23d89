package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const childVariable = "BAILIWICK_AUDIT_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child appends from several goroutines and prints each acknowledgement, until it is killed.
func child(dir string) {
	j, err := OpenJournal(JournalConfig{Dir: dir, SegmentBytes: 64 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d/%d/%d", os.Getpid(), w, i)
				seq, err := j.Append(context.Background(), entry(id))
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				// One write(2) of less than a pipe's atomic size: a killed child leaves whole lines.
				fmt.Fprintf(os.Stdout, "%d %s\n", seq, id)
			}
		}()
	}
	select {}
}

// A writer killed in the middle of a burst, again and again: every entry that it acknowledged is there, at its number.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	acked := map[uint64]string{}
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		count := 0
		for lines.Scan() {
			if count++; count == 1 {
				time.AfterFunc(time.Duration(20+rand.IntN(150))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
			if strings.HasPrefix(lines.Text(), "error") {
				t.Fatal(lines.Text())
			}
			var seq uint64
			var id string
			if _, err := fmt.Sscan(lines.Text(), &seq, &id); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			if old, ok := acked[seq]; ok {
				t.Fatalf("number %d was acknowledged for %s and %s", seq, old, id)
			}
			acked[seq] = id
		}
		_ = cmd.Wait()
		if count == 0 {
			t.Fatalf("round %d: the child acknowledged nothing", round)
		}
		j := open(t, JournalConfig{Dir: dir})
		if r := j.Recovered(); r.Lost != 0 {
			t.Fatalf("round %d: recovered %+v", round, r)
		}
		closeJournal(t, j)
		checkAcked(t, dir, acked, fmt.Sprint("round ", round))
		ids, err := readIDs(t, dir, 0)
		if !errors.Is(err, io.EOF) || len(ids) > len(acked)+8*(round+1) {
			t.Errorf("round %d: %d entries for %d acknowledgements (%v)", round, len(ids), len(acked), err)
		}
	}
	t.Logf("%d entries acknowledged", len(acked))
}
