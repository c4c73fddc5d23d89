// Package netaddr judges network addresses: which can only be this machine, and where a request came from.
//
// It owns those two rules, because what is secret crosses plain connections by the first and policy looks at the second. It refuses to resolve names
// and to believe headers.
package netaddr

import (
	"net"
	"net/http"
	"net/netip"
)

// Loopback reports whether host is "localhost" or a loopback address, without port and zone.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Source is the address that the request came from; zero when unknown. Headers by which a proxy would tell another are not believed.
func Source(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
