package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// internalPorts are the loopback ports of the services that only talk to each other.
type internalPorts struct {
	internalFrontend, nexus, history, matching, worker int
}

// requirePort fails with port_in_use if nobody could listen there now. The server's own error would end the process without a hint.
func requirePort(host, name string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err == nil {
		return l.Close()
	}
	f := &Failure{Code: "port_unusable", Detail: fmt.Sprintf("%s %d: %v", name, port, err), Fix: fmt.Sprintf("choose another %s", name), Port: port}
	if errors.Is(err, syscall.EADDRINUSE) {
		f.Code = "port_in_use"
		f.Fix = fmt.Sprintf("stop what listens on port %d, or choose another %s", port, name)
	}
	return f
}

// pickInternalPorts asks the system for free ports. It holds all of them until the last is known, so that they differ; another process may
// still take one before the server does, and then the server ends with its own message.
func pickInternalPorts(host string) (internalPorts, error) {
	var out internalPorts
	for _, p := range []*int{&out.internalFrontend, &out.nexus, &out.history, &out.matching, &out.worker} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return out, fmt.Errorf("picking a port for an internal service: %w", err)
		}
		defer l.Close()
		*p = l.Addr().(*net.TCPAddr).Port
	}
	return out, nil
}
