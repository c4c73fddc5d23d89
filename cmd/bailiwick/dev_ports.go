package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
)

// devPorts are where a development environment listens, on 127.0.0.1.
type devPorts struct{ Org, Control, GRPC, HTTP, UI int }

var defaultPorts = devPorts{Org: 9080, Control: 9090, GRPC: 7233, HTTP: 7243, UI: 8233}

// portFlag is one port and the flag that sets it.
type portFlag struct {
	flag, what string
	port       *int
}

func (p *devPorts) all() []portFlag {
	return []portFlag{{"org-port", "the development org", &p.Org}, {"control-port", "the control plane", &p.Control}, {"grpc-port", "Temporal's frontend", &p.GRPC},
		{"http-port", "Temporal's HTTP API", &p.HTTP}, {"ui-port", "the web UI", &p.UI}}
}

// used leaves out what is not going to listen.
func (f *devFlags) used() []portFlag {
	var out []portFlag
	for _, p := range f.ports.all() {
		if p.flag == "ui-port" && (f.noUI || f.noTemporal) || f.noTemporal && (p.flag == "grpc-port" || p.flag == "http-port") {
			continue
		}
		out = append(out, p)
	}
	return out
}

// choosePorts applies --ports and --port-base to the ports that no flag gave.
func (f *devFlags) choosePorts(c *cobra.Command) error {
	if f.pick != "" && f.pick != "auto" {
		return badUsage(c, `--ports is %q; only "auto" is possible`, f.pick)
	}
	if f.pick == "auto" && f.base != 0 {
		return badUsage(c, "--ports auto and --port-base exclude each other")
	}
	var held []net.Listener // until all are known, so that they differ
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for i, p := range f.ports.all() {
		switch {
		case c.Flags().Changed(p.flag):
		case f.pick == "auto":
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				return fmt.Errorf("picking a port: %w", err)
			}
			held = append(held, l)
			*p.port = l.Addr().(*net.TCPAddr).Port
		case f.base != 0:
			*p.port = f.base + i
		}
	}
	seen := map[int]string{}
	for _, p := range f.used() {
		if *p.port < 1 || *p.port > 65535 {
			return badUsage(c, "--%s is %d; 1 to 65535 are possible", p.flag, *p.port)
		}
		if other, taken := seen[*p.port]; taken {
			return badUsage(c, "--%s and --%s are both %d", other, p.flag, *p.port)
		}
		seen[*p.port] = p.flag
	}
	return nil
}

// checkPorts fails with port_in_use if one of them is taken, before anything is started.
func (f *devFlags) checkPorts() error {
	for _, p := range f.used() {
		l, err := listenOn(*p.port, p)
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

func listenOn(port int, p portFlag) (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &coded{Code: "port_in_use", Text: fmt.Sprintf("port %d, for %s, is taken by another process", port, p.what),
			Fix: fmt.Sprintf("stop that process (another `bailiwick dev`?), or choose another port with --%s, or --ports auto", p.flag), Port: port}
	}
	return nil, &coded{Code: "port_unusable", Text: fmt.Sprintf("port %d, for %s: %v", port, p.what, err), Fix: "choose another port with --" + p.flag, Port: port}
}
