package tiles

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// age makes a journal's segments look old.
func age(t testing.TB, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		segments, _ := filepath.Glob(filepath.Join(dir, "segment-*"))
		for _, s := range segments {
			if err := os.Chtimes(s, time.Now(), time.Now().Add(-48*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is sealed may be removed from the journals; everything goes on as before, and what is left is still compared.
func TestPrune(t *testing.T) {
	l := newSeveral(t)
	for i := 0; i < 1000; i += 100 { // in batches, so that there are several segments
		record(t, l.journal, "a", i, i+100, 0)
	}
	for i := 0; i < 600; i += 100 {
		record(t, l.second, "b", i, i+100, 0)
	}
	l.seal(t, 1600)
	record(t, l.journal, "a", 1000, 1010, 0)
	l.seal(t, 1610) // the order folds what was published before
	cfg := PruneConfig{Log: l.log, Key: l.verifier, Journals: l.journals(t), Older: 24 * time.Hour}
	if all, err := Prune(t.Context(), cfg); err != nil || all[0].Segments != 0 || all[1].Segments != 0 {
		t.Errorf("young: %+v %v", all, err)
	}
	age(t, l.journal, l.second)
	for name, change := range map[string]func(*PruneConfig){
		"not cosigned": func(c *PruneConfig) { c.Witnessed = true },
		"not indexed":  func(c *PruneConfig) { c.Indexed = func(context.Context) (uint64, error) { return 5, nil } },
		"another key": func(c *PruneConfig) {
			_, c.Key = fixedKey(t, origin, 9)
		},
	} {
		bad := cfg
		change(&bad)
		if all, err := Prune(t.Context(), bad); err == nil {
			t.Errorf("%s: pruned %+v", name, all)
		}
	}
	all, err := Prune(t.Context(), cfg)
	if err != nil || len(all) != 2 || all[0].First == 0 || all[0].First > 1000 || all[1].First == 0 || all[1].Bytes == 0 {
		t.Fatalf("%+v %v", all, err)
	}
	check := func(when string, entries, journal uint64) {
		t.Helper()
		r := l.verify(t)
		if !r.OK() || r.Entries != entries || r.Journal != journal || len(r.Notes) != 2 || r.Notes[0].Code != CodeJournalPruned {
			t.Errorf("%s: %+v", when, r)
		}
	}
	left := 1010 - all[0].First + 600 - all[1].First
	check("pruned", 1610, left)
	record(t, l.journal, "a", 1010, 1020, 0)
	l.seal(t, 1620)
	check("and sealed on", 1620, left+10)
	remove(t, filepath.Join(l.log, orderName))
	record(t, l.second, "b", 600, 605, 0)
	l.seal(t, 1625)
	check("and the order derived from what is left", 1625, left+15)
	ids, _ := l.ids(t, 0, true)
	wantOrders(t, ids, map[string]int{"a": 1020, "b": 605})
	// A journal that is not the one that was sealed is not touched.
	if err := os.RemoveAll(l.second); err != nil {
		t.Fatal(err)
	}
	record(t, l.second, "b", 100, 900, 0)
	age(t, l.second)
	before, _, _ := audit.First(l.second)
	if _, err := Prune(t.Context(), cfg); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "nothing of it was removed") {
		t.Errorf("another journal: %v", err)
	}
	if after, _, _ := audit.First(l.second); after != before {
		t.Errorf("it was pruned from %d to %d", before, after)
	}
}
