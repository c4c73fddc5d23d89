package main

import (
	"context"
	"iter"
	"os"
	"path/filepath"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
)

// opener gives back personal data that the log holds encrypted, by the keys beside the log, or in the directories of $BAILIWICK_PRIVACY_KEYS, a list
// like $PATH for gates that keep keys of their own. It is nil, and
// changes nothing, where there are none: then readers see pseudonyms.
func opener(log string, journals []string) (*privacy.Opener, error) {
	dir := os.Getenv("BAILIWICK_PRIVACY_KEYS")
	if dir == "" {
		beside := log
		if beside == "" && len(journals) > 0 {
			beside = journals[0]
		}
		if beside == "" {
			return nil, nil
		}
		dir = filepath.Join(filepath.Dir(filepath.Clean(beside)), "privacy")
		if _, err := os.Stat(filepath.Join(dir, "names.key")); err != nil {
			return nil, nil // a copy of a log comes without keys
		}
	}
	var stores []*privacy.Store
	for _, d := range filepath.SplitList(dir) {
		keys, err := privacy.OpenStore(d)
		if err != nil {
			return nil, err
		}
		stores = append(stores, keys)
	}
	return privacy.NewOpener(stores...), nil
}

// scan is tiles.Scan with what is encrypted opened: Entry is for people, Raw stays as it is in the log.
func scan(ctx context.Context, cfg tiles.ScanConfig) iter.Seq2[tiles.Record, error] {
	return func(yield func(tiles.Record, error) bool) {
		o, err := opener(cfg.Log, cfg.Journals)
		if err != nil {
			yield(tiles.Record{}, err)
			return
		}
		for r, err := range tiles.Scan(ctx, cfg) {
			r.Entry = o.Open(r.Entry)
			if !yield(r, err) {
				return
			}
		}
	}
}
