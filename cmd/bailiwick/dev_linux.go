package main

import "syscall"

// childAttributes give a child a process group of its own, so that a Ctrl-C at the terminal reaches only us, and let the kernel end it when
// we die without a word.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
