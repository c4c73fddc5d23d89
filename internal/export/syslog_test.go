package export

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func serverTLS(a authority) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.server}, MinVersion: tls.VersionTLS12}
}

// syslogServer reads octet-counted messages, as RFC 5425 section 4.3 has them.
type syslogServer struct {
	net.Listener
	mu       sync.Mutex
	messages []string
	conns    []net.Conn
}

func (s *syslogServer) serve() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go func() {
			defer c.Close()
			for in := bufio.NewReader(c); ; {
				count, err := in.ReadString(' ')
				if err != nil {
					return
				}
				n, err := strconv.Atoi(strings.TrimSuffix(count, " "))
				if err != nil || n <= 0 || n > 1<<20 {
					return
				}
				one := make([]byte, n)
				if _, err := io.ReadFull(in, one); err != nil {
					return
				}
				s.mu.Lock()
				s.messages = append(s.messages, string(one))
				s.mu.Unlock()
			}
		}()
	}
}

func (s *syslogServer) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.messages...)
}

func (s *syslogServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// rfc5424 is the grammar of RFC 5424 section 6, for one structured data element.
var rfc5424 = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) - ([!-~]{1,32}) \[bailiwick@32473 index="(\d+)" id="([^"\\\]]|\\["\\\]])*"(?: code="([a-z_]*)")?\] \x{FEFF}(\{.*\})$`)

// Messages over TLS, in their form, and a connection that breaks: what was just written comes again.
func TestSyslogOverTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "127.0.0.1")
	want := serverTLS(a)
	want.ClientAuth, want.ClientCAs = tls.RequireAndVerifyClientCert, a.pool
	s := &syslogServer{Listener: tls.NewListener(listenTCP(t), want)}
	go s.serve()
	log := newMemoryLog(t, decisions(20)...)
	cfg := config(t, SinkConfig{Type: "syslog", Batch: BatchConfig{Entries: 8}, Syslog: &SyslogConfig{Address: s.Addr().String(), Hostname: "host1", TLS: TLSConfig{CAFile: a.file, CertFile: a.client[0], KeyFile: a.client[1]}}})
	r := start(t, cfg, Options{Log: log})
	until(t, "twenty messages", func() bool { return len(s.all()) >= 20 })
	for i, m := range s.all() {
		f := rfc5424.FindStringSubmatch(m)
		if f == nil {
			t.Fatalf("message %d: %q", i, m)
		}
		pri := 13*8 + 6
		if i%5 == 4 {
			pri = 13*8 + 4
		}
		if f[1] != strconv.Itoa(pri) || f[2] != fmt.Sprintf("2026-11-23T10:00:%02d.123456Z", i) || f[3] != "host1" || f[4] != "bailiwick" || f[5] != "decision" || f[6] != strconv.Itoa(i) || indexOf(t, []byte(f[9])) != uint64(i) {
			t.Errorf("message %d: %q", i, f[:8])
		}
	}
	s.cut()
	time.Sleep(50 * time.Millisecond) // the sink has to see it; were it not to, its next write would fail and be done again
	log.add(t, decision(20, true))
	until(t, "the last", func() bool { return strings.Contains(strings.Join(s.all(), ""), `index="20"`) })
	var got counted
	for _, m := range s.all() {
		n, _ := strconv.ParseUint(rfc5424.FindStringSubmatch(m)[6], 10, 64)
		got.add(n)
	}
	if got.len() != 21 || got.most() != 2 || got.times[20] != 1 {
		t.Errorf("%v", got.times)
	}
	r.stop(t)
}

func TestSyslogRefusesStrangers(t *testing.T) {
	a, b := newAuthority(t, "127.0.0.1"), newAuthority(t, "127.0.0.1")
	other := newAuthority(t, "syslog.example")
	for name, c := range map[string]struct {
		server authority
		trust  string
	}{"another authority": {a, b.file}, "another name": {other, other.file}, "the system's authorities": {a, ""}} {
		s := &syslogServer{Listener: tls.NewListener(listenTCP(t), serverTLS(c.server))}
		go s.serve()
		cfg := config(t, SinkConfig{Type: "syslog", Syslog: &SyslogConfig{Address: s.Addr().String(), TLS: TLSConfig{CAFile: c.trust}}})
		sink, err := newSyslogSink(*cfg.Sinks[0].Syslog)
		if err != nil {
			t.Fatal(err)
		}
		e := decision(0, true)
		if err := sink.Send(t.Context(), []Message{{Entry: &e, Body: []byte("{}")}}); !errors.Is(err, errHold) || len(s.all()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
		_ = sink.Close()
	}
}

func TestSyslogOverUDP(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := config(t, SinkConfig{Type: "syslog", Syslog: &SyslogConfig{Address: c.LocalAddr().String(), Network: "udp"}})
	sink, err := newSyslogSink(*cfg.Sinks[0].Syslog)
	if err != nil {
		t.Fatal(err)
	}
	e := decision(0, true)
	large := Message{Index: 1, Body: append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), maxDatagram)...)}
	err = sink.Send(t.Context(), []Message{{Entry: &e, Kind: e.Kind, Body: []byte(`{"index":0}`)}, large})
	var r *Refused
	if !errors.As(err, &r) || len(r.Which) != 1 || r.Which[0] != 1 || r.Code != "too_large" {
		t.Errorf("%v", err)
	}
	buf := make([]byte, 1<<16)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := c.ReadFrom(buf)
	if err != nil || !bytes.HasPrefix(buf[:n], []byte("<110>1 ")) || !bytes.HasSuffix(buf[:n], []byte(`{"index":0}`)) {
		t.Errorf("%q %v", buf[:n], err)
	}
}

// What callers choose can't add structured data or header fields.
func TestSyslogEscapes(t *testing.T) {
	for in, want := range map[string]string{`a"b]c\d`: `a\"b\]c\\d`, "line\nbreak": "line break", "ä": "ä"} {
		if got := syslogValue(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"": "-", "a b": "a_b", "é\n": "__", strings.Repeat("x", 40): strings.Repeat("x", 32)} {
		if got := syslogName(in, 32); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
