package export

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

const example = `
version: 1
state: state
sinks:
  - name: siem
    type: http
    only: {kinds: [decision, access], access: [operate, administer]}
    http: {url: https://siem.example/in, secret_file: siem.key, tls: {ca_file: /etc/ca.pem}}
  - name: collector
    type: otlp
    format: native
    start: end
    otlp: {endpoint: "collector.example:4317", protocol: grpc}
  - name: syslog
    type: syslog
    batch: {entries: 10, bytes: 4096, wait: 2s}
    syslog: {address: "logs.example:6514"}
  - {name: archive, type: file, personal: open, file: {path: out/audit.jsonl, gzip: false}}
`

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "exports.yaml")
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.State != filepath.Join(dir, "state") || c.Sinks[0].HTTP.SecretFile != filepath.Join(dir, "siem.key") || c.Sinks[0].HTTP.TLS.CAFile != "/etc/ca.pem" || c.Sinks[3].File.Path != filepath.Join(dir, "out", "audit.jsonl") {
		t.Errorf("paths: %+v", c)
	}
	if s := c.Sinks[0]; s.Format != FormatOCSF || s.Batch != (BatchConfig{500, 1 << 20, time.Second}) || s.HTTP.Shape != "ndjson" || s.Personal != "as_logged" {
		t.Errorf("defaults: %+v", s)
	}
	if *c.Sinks[3].File.Gzip || *c.Sinks[2].Syslog.Facility != 13 || c.Sinks[2].Batch.Wait != 2*time.Second {
		t.Errorf("%+v", c.Sinks)
	}
}

// All that is wrong is told at once.
func TestConfigProblems(t *testing.T) {
	_, err := ParseConfig([]byte(`
version: 2
color: red
sinks:
  - {name: "../up", type: http, http: {url: "http://siem.example/in", shape: xml}}
  - {name: a, type: otlp, format: cef, start: noon, http: {url: "https://user:pw@h/", headers: {Authorization: x, "b d": y}}}
  - {name: a, type: syslog, syslog: {address: "logs.example:514", network: tcp, facility: 24, sd_id: "a]b", app_name: "a b", tls: {cert_file: c}}}
  - {name: b, type: http, only: {kinds: [gossip], access: [all]}, http: {url: "https://169.254.169.254/x", timeout: 1h, index: i}}
  - {name: c, type: pigeon}
  - {name: d, type: file, batch: {entries: -1, bytes: 1, wait: 2h}, file: {path: x, max_bytes: 1, max_age: 1ms, keep: -1}}
  - {name: e, type: file, personal: all, file: {path: ./x}}
  - {name: f, type: otlp, otlp: {endpoint: "[fe80::1]:4317", protocol: grpc}}
  - {name: g, type: http, http: {url: "https://h/#f", shape: elastic}}
`))
	var p Problems
	if !errors.As(err, &p) {
		t.Fatal(err)
	}
	text := err.Error()
	for _, want := range []string{"color", "version is 2", "sink 1: name", "off loopback use https", "shape", `format is "cef"`, "start", `no block "otlp:"`, `block "http:"`, "holds a user or password",
		"Authorization is set by the sink", `"b d" is not a header`, "another sink has this name", "off loopback use tls", "facility is 24", "sd_id must not", "app_name must", "belong together",
		"gossip", `"all", which is no access`, "link-local", "http.timeout", "http.index is for", "pigeon", "batch.entries", "batch.bytes", "batch.wait", "max_bytes", "max_age", "keep is -1",
		`file.path is that of sink "d"`, "personal", "otlp.endpoint names an address", "has a fragment", "http.index is missing"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told", want)
		}
	}
	if strings.Contains(text, "pw@") {
		t.Error("a password is told")
	}
	for _, raw := range []string{"", "version: 1", "sinks: 3", "version: 1\nsinks: [{name: a, type: file, file: {path: x}}]\n---\nversion: 1", "{", "version: 1\nversion: 1"} {
		if _, err := ParseConfig([]byte(raw)); err == nil {
			t.Errorf("%q is taken", raw)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(example))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseConfig(raw)
		if err == nil && (len(c.Sinks) == 0 || c.Version != ConfigVersion) {
			t.Error("taken without a sink or version")
		}
	})
}

// Whatever a name resolves to, nothing is sent to addresses that no receiver has.
func TestForbiddenAddresses(t *testing.T) {
	for addr, want := range map[string]bool{"169.254.169.254": true, "fe80::1": true, "::ffff:169.254.1.1": true, "0.0.0.0": true, "::": true, "224.0.0.1": true, "10.0.0.1": false, "192.0.2.1": false, "127.0.0.1": false} {
		if forbiddenIP(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	control := dialer("siem.example", time.Second).ControlContext
	for addr, ok := range map[string]bool{"127.0.0.1:443": false, "[::1]:443": false, "169.254.169.254:80": false, "192.0.2.1:443": true} {
		if err := control(t.Context(), "tcp", addr, nil); (err == nil) != ok {
			t.Errorf("siem.example at %s: %v", addr, err)
		}
	}
	if err := dialer("localhost", time.Second).ControlContext(t.Context(), "tcp", "127.0.0.1:1", nil); err != nil {
		t.Errorf("localhost: %v", err)
	}
}

func TestSelection(t *testing.T) {
	read, denied, operate := decision(0, true), decision(1, false), decision(2, true)
	read.Access, denied.Access = "read", "read"
	key := audit.Entry{Kind: audit.KindKey}
	for i, c := range []struct {
		s    Selection
		want []bool // read, denied, operate, key
	}{
		{Selection{}, []bool{true, true, true, true}},
		{Selection{Access: []string{"operate"}}, []bool{false, true, true, true}},
		{Selection{Denied: true}, []bool{false, true, false, true}},
		{Selection{Kinds: []string{"decision"}}, []bool{true, true, true, false}},
		{Selection{Kinds: []string{"key"}}, []bool{false, false, false, true}},
	} {
		var got []bool
		for _, e := range []audit.Entry{read, denied, operate, key} {
			got = append(got, c.s.takes(&e))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}
