package main

import (
	"context"
	"slices"
	"sync"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
)

// archivedKeys returns a way to the attestation keys that the audit log holds, for runs that outlived their key's publication. It is nil where
// the caller named a file: then that file alone is trusted.
func (a *app) archivedKeys(ctx context.Context, file string) func() (attest.KeySet, error) {
	if file != "" {
		return nil
	}
	return sync.OnceValues(func() (set attest.KeySet, err error) {
		x, err := a.syncedIndex(ctx, indexFlags{})
		if err != nil {
			return attest.KeySet{}, err
		}
		defer x.Close()
		q := index.Filter{Kind: []audit.Kind{audit.KindKey}, Oldest: true, Limit: 100}
		var details []map[string]string
		for {
			rows, next, err := x.query(ctx, q)
			if err != nil {
				return attest.KeySet{}, err
			}
			for _, r := range rows {
				details = append(details, r.Entry.Detail)
			}
			if q.Cursor = next; next == "" {
				break
			}
		}
		return attest.ArchivedKeys(slices.Values(details))
	})
}
