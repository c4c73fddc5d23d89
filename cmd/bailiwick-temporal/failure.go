package main

import (
	"encoding/json"
	"errors"
	"io"
)

// Failure is a reason not to start, told as one line of JSON so that a parent process can tell its user what to do.
type Failure struct {
	Code   string `json:"error"`          // stable
	Detail string `json:"detail"`         // what was wrong
	Fix    string `json:"fix"`            // what to do
	Port   int    `json:"port,omitempty"` // for port_in_use
	Path   string `json:"path,omitempty"` // the file or directory that is meant
}

func (f *Failure) Error() string { return f.Code + ": " + f.Detail }

// report writes err as one line of JSON.
func report(w io.Writer, err error) {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Code: "start_failed", Detail: err.Error(), Fix: "see the log lines above, or start again with --log-level info"}
	}
	_ = json.NewEncoder(w).Encode(f) // standard error is gone: nobody is left to tell
}
