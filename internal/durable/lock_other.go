//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package durable

import (
	"errors"
	"fmt"
	"runtime"
)

// Lock is refused where there is no flock(2): without it two writers could mix their entries.
func Lock(path string) (unlock func() error, err error) {
	return nil, fmt.Errorf("locking %s on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}
