package export

import (
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/policy"
)

var (
	allKinds = []audit.Kind{audit.KindDecision, audit.KindPolicy, audit.KindGate, audit.KindLost, audit.KindAccess, audit.KindRevocation, audit.KindDirectory,
		audit.KindKey, audit.KindReport, audit.KindAdmin}
	allAccess = []policy.Access{policy.Read, policy.Operate, policy.Work, policy.Administer, policy.Delegate}
)

// complaints collects what is wrong, each with where.
type complaints struct {
	where string
	all   Problems
}

func (c *complaints) add(format string, args ...any) {
	c.all = append(c.all, c.where+": "+fmt.Sprintf(format, args...))
}

func (c *complaints) oneOf(field, value string, of ...string) {
	if !slices.Contains(of, value) {
		c.add("%s is %q; use %s", field, value, strings.Join(of, ", "))
	}
}

func (c *complaints) between(field string, d, least, most time.Duration) {
	if d < least || d > most {
		c.add("%s is %v; %v to %v are possible", field, d, least, most)
	}
}

func (c *Config) check() Problems {
	out := complaints{where: "exports"}
	if c.Version != ConfigVersion {
		out.add("version is %d; this build reads version %d", c.Version, ConfigVersion)
	}
	if len(c.Sinks) == 0 {
		out.add("there is no sink")
	}
	names, paths := map[string]bool{}, map[string]string{}
	for i := range c.Sinks {
		s := &c.Sinks[i]
		out.where = "sink " + strconv.Quote(s.Name)
		if !sinkName.MatchString(s.Name) {
			out.where = fmt.Sprintf("sink %d", i+1)
			out.add("name is %q; use a-z, 0-9 and -, at most 40", s.Name)
		}
		if names[s.Name] {
			out.add("another sink has this name")
		}
		names[s.Name] = true
		s.check(&out)
		if s.File != nil {
			if other, taken := paths[filepath.Clean(s.File.Path)]; taken {
				out.add("file.path is that of sink %q", other)
			}
			paths[filepath.Clean(s.File.Path)] = s.Name
		}
	}
	return out.all
}

func (s *SinkConfig) check(c *complaints) {
	c.oneOf("format", string(s.Format), string(FormatNative), string(FormatOCSF))
	c.oneOf("start", s.Start, "beginning", "end")
	c.oneOf("personal", s.Personal, "as_logged", "open")
	for _, k := range s.Only.Kinds {
		if !slices.Contains(allKinds, audit.Kind(k)) {
			c.add("only.kinds has %q, which is no kind of entry", k)
		}
	}
	for _, a := range s.Only.Access {
		if !slices.Contains(allAccess, policy.Access(a)) {
			c.add("only.access has %q, which is no access level", a)
		}
	}
	if s.Batch.Entries < 1 || s.Batch.Entries > 10_000 {
		c.add("batch.entries is %d; 1 to 10000 are possible", s.Batch.Entries)
	}
	if s.Batch.Bytes < 1<<10 || s.Batch.Bytes > 64<<20 {
		c.add("batch.bytes is %d; 1024 to 67108864 are possible", s.Batch.Bytes)
	}
	c.between("batch.wait", s.Batch.Wait, time.Millisecond, time.Hour)
	blocks := map[string]bool{"http": s.HTTP != nil, "otlp": s.OTLP != nil, "syslog": s.Syslog != nil, "file": s.File != nil}
	if there, known := blocks[s.Type]; !known {
		c.add("type is %q; use http, otlp, syslog or file", s.Type)
	} else if !there {
		c.add("type is %s, but there is no block %q", s.Type, s.Type+":")
	}
	for _, name := range []string{"http", "otlp", "syslog", "file"} {
		if blocks[name] && name != s.Type {
			c.add("block %q does not belong to type %q", name+":", s.Type)
		}
	}
	if s.HTTP != nil {
		s.HTTP.check(c)
	}
	if s.OTLP != nil {
		s.OTLP.check(c)
	}
	if s.Syslog != nil {
		s.Syslog.check(c)
	}
	if s.File != nil {
		s.File.check(c)
	}
}

func (h *HTTPConfig) check(c *complaints) {
	c.oneOf("http.shape", h.Shape, "ndjson", "array", "splunk", "elastic")
	checkURL(c, "http.url", h.URL)
	checkHeaders(c, "http.headers", h.Headers)
	c.between("http.timeout", h.Timeout, 100*time.Millisecond, 10*time.Minute)
	if h.Index != "" && h.Shape != "splunk" && h.Shape != "elastic" {
		c.add("http.index is for the shapes splunk and elastic")
	}
	if h.Index == "" && h.Shape == "elastic" {
		c.add("http.index is missing: the index or data stream")
	}
	h.TLS.check(c, "http.tls")
}

func (o *OTLPConfig) check(c *complaints) {
	c.oneOf("otlp.protocol", o.Protocol, "http", "grpc")
	if o.Protocol == "grpc" {
		checkAddress(c, "otlp.endpoint", o.Endpoint)
	} else {
		checkURL(c, "otlp.endpoint", o.Endpoint)
	}
	checkHeaders(c, "otlp.headers", o.Headers)
	c.between("otlp.timeout", o.Timeout, 100*time.Millisecond, 10*time.Minute)
	o.TLS.check(c, "otlp.tls")
}

func (y *SyslogConfig) check(c *complaints) {
	c.oneOf("syslog.network", y.Network, "tls", "tcp", "udp")
	host, ok := checkAddress(c, "syslog.address", y.Address)
	if ok && y.Network != "tls" && !netaddr.Loopback(host) {
		c.add("syslog.network is %s, which is neither encrypted nor authenticated: off loopback use tls", y.Network)
	}
	if *y.Facility < 0 || *y.Facility > 23 {
		c.add("syslog.facility is %d; 0 to 23 are possible (RFC 5424 table 1)", *y.Facility)
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"hostname", y.Hostname, 255}, {"app_name", y.AppName, 48}, {"sd_id", y.SDID, 32}} {
		if len(f.value) > f.most || strings.ContainsFunc(f.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.add("syslog.%s must have at most %d printable ASCII characters and no space", f.name, f.most)
		}
	}
	if strings.ContainsAny(y.SDID, `="]`) {
		c.add(`syslog.sd_id must not have =, " or ]`)
	}
	c.between("syslog.timeout", y.Timeout, 100*time.Millisecond, 10*time.Minute)
	y.TLS.check(c, "syslog.tls")
}

func (f *FileConfig) check(c *complaints) {
	if f.Path == "" {
		c.add("file.path is missing")
	}
	if f.MaxBytes < 1<<10 {
		c.add("file.max_bytes is %d; at least 1024 are needed", f.MaxBytes)
	}
	c.between("file.max_age", f.MaxAge, time.Second, 366*24*time.Hour)
	if f.Keep < 0 {
		c.add("file.keep is %d; 0 keeps all", f.Keep)
	}
}

func (t *TLSConfig) check(c *complaints, field string) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		c.add("%s.cert_file and %s.key_file belong together", field, field)
	}
}

func checkURL(c *complaints, field, text string) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		c.add("%s is missing", field)
	case err != nil:
		c.add("%s is not a URL", field) // the error would repeat a password in it
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Hostname() == "":
		c.add("%s must have the form https://HOST/PATH", field)
	case u.User != nil:
		c.add("%s holds a user or password: use token_file", field)
	case u.Fragment != "":
		c.add("%s has a fragment", field)
	case u.Scheme == "http" && !netaddr.Loopback(u.Hostname()):
		c.add("%s is http, which neither encrypts nor authenticates: off loopback use https", field)
	case forbiddenHost(u.Hostname()):
		c.add("%s names an address that no receiver has (link-local, multicast or unspecified)", field)
	}
}

func checkAddress(c *complaints, field, text string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(text)
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case text == "":
		c.add("%s is missing", field)
	case err != nil || host == "" || perr != nil || n == 0:
		c.add("%s is %q; it must have the form HOST:PORT", field, text)
	case forbiddenHost(host):
		c.add("%s names an address that no receiver has (link-local, multicast or unspecified)", field)
	default:
		return host, true
	}
	return host, false
}

// headerName is a token of RFC 9110 section 5.6.2.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// ours are headers that sinks set themselves.
var ours = []string{"Authorization", "Content-Type", "Content-Encoding", "Content-Length", "Host", "Connection", "Transfer-Encoding", "Idempotency-Key", "User-Agent"}

func checkHeaders(c *complaints, field string, headers map[string]string) {
	for k, v := range headers {
		canonical := textproto.CanonicalMIMEHeaderKey(k)
		switch {
		case !headerName.MatchString(k) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }):
			c.add("%s: %q is not a header", field, k)
		case slices.Contains(ours, canonical) || strings.HasPrefix(canonical, "Bailiwick-"):
			c.add("%s: %s is set by the sink (secrets go into token_file)", field, canonical)
		}
	}
}

// forbiddenHost reports whether a literal address is one that no receiver has.
func forbiddenHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && forbiddenIP(ip)
}

// forbiddenIP is true of addresses where machines keep their own secrets (link-local: cloud metadata) or that are nobody's.
func forbiddenIP(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()
}
