//go:build unix

package login

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// checksModes: file modes mean something here.
const checksModes = true

// lockFile takes an exclusive flock on path (made 0600 if absent, never removed: removing it would let two holders in). The lock ends
// with the process, however it ends. It waits until ctx ends, at most lockPatience.
func lockFile(ctx context.Context, path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another process holds %s: %w", path, ctx.Err())
		case <-time.After(15 * time.Millisecond):
		}
	}
}
