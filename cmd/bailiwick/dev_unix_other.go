//go:build unix && !linux

package main

import "syscall"

// childAttributes give a child a process group of its own, so that a Ctrl-C at the terminal reaches only us. That it ends with us is up to
// the pipe on its standard input.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
