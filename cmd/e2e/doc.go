// Package e2e tests the real binaries as their users meet them: the command line, the Go SDK, the npm client and a browser.
//
// It owns the harness that starts `bailiwick dev` on free ports and tears it down, and the tests that need the whole product. It refuses to
// build anything (run `make build` first) and to reach into a process: what it knows, it learned from outputs, ports and files.
package e2e
