//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const exeSuffix = ""

var errLocked = errors.New("locked by another process")

// tryLock takes an exclusive lock that ends with this process, however it ends.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// killGroup kills the process and what it has started.
func killGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // gone already is as good
}
