package netaddr

import (
	"net/http"
	"testing"
)

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "LOCALHOST": false, "localhost.": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "127.1": false, "0x7f000001": false,
		"0.0.0.0": false, "::": false, "10.0.0.1": false, "::1%lo": false, "[::1]": false, "127.0.0.1:80": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestSource(t *testing.T) {
	for from, want := range map[string]string{"192.0.2.7:80": "192.0.2.7", "[::ffff:192.0.2.7]:80": "192.0.2.7", "[2001:db8::1]:80": "2001:db8::1", "@": "invalid IP", "": "invalid IP"} {
		r := &http.Request{RemoteAddr: from, Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
		if got := Source(r).String(); got != want {
			t.Errorf("%q: %s, want %s", from, got, want)
		}
	}
}
