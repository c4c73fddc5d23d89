//go:build !unix

package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// checksModes: file modes say nothing here; the user's profile directory is private already.
const checksModes = false

// lockFile makes path as a lock by exclusive creation. A process that was killed leaves it behind; after lockPatience it is taken over.
func lockFile(ctx context.Context, path string) (release func(), err error) {
	give := time.Now().Add(lockPatience)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err == nil {
			return func() { f.Close(); os.Remove(path) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if time.Now().After(give) {
			os.Remove(path)
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another process holds %s: %w", path, ctx.Err())
		case <-time.After(15 * time.Millisecond):
		}
	}
}
