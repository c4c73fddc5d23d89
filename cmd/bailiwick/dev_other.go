//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const exeSuffix = ".exe"

var errLocked = errors.New("locked by another process")

// tryLock does nothing here: the journal has a lock of its own.
func tryLock(*os.File) error { return nil }

// terminate has no gentle form here; the pipe on a child's standard input is the gentle one, and child.stop closes it first.
func terminate(p *os.Process) error { return nil }

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func childAttributes() *syscall.SysProcAttr { return nil }
