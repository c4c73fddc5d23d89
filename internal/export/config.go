package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// ConfigVersion is the integer version of the configuration file. History: 1 (2026-11) first.
const ConfigVersion = 1

// Config is exports.yaml (YAML, of which JSON is a part). Paths in it are relative to the file.
type Config struct {
	Version int          `yaml:"version"` // ConfigVersion
	State   string       `yaml:"state"`   // directory of cursors and dead letters; default "exports" beside the file
	Sinks   []SinkConfig `yaml:"sinks"`
}

// SinkConfig is one receiver. Exactly the block that Type names must be there.
type SinkConfig struct {
	Name     string      `yaml:"name"`     // a-z, 0-9 and -, at most 40; names its cursor: a new name is a new sink
	Type     string      `yaml:"type"`     // http, otlp, syslog or file
	Format   Format      `yaml:"format"`   // native or ocsf; default ocsf
	Start    string      `yaml:"start"`    // where a new sink begins: beginning (default) or end
	Personal string      `yaml:"personal"` // as_logged (default): encrypted personal data stays encrypted; open: decrypted while its key exists
	Only     Selection   `yaml:"only"`
	Batch    BatchConfig `yaml:"batch"`

	HTTP   *HTTPConfig   `yaml:"http"`
	OTLP   *OTLPConfig   `yaml:"otlp"`
	Syslog *SyslogConfig `yaml:"syslog"`
	File   *FileConfig   `yaml:"file"`
}

// Selection says which entries a sink gets. Empty lists take all. Refusals of a selected kind always pass, whatever Access says.
type Selection struct {
	Kinds  []string `yaml:"kinds"`  // decision, policy, gate, lost, access, revocation, directory, key, report, admin
	Access []string `yaml:"access"` // of decisions: read, operate, work, administer, delegate
	Denied bool     `yaml:"denied"` // of decisions: only refusals
}

// BatchConfig bounds a batch: it is sent when one of the three is reached.
type BatchConfig struct {
	Entries int           `yaml:"entries"` // default 500
	Bytes   int           `yaml:"bytes"`   // of bodies; default 1 MiB
	Wait    time.Duration `yaml:"wait"`    // since its first entry; default 1s
}

// HTTPConfig is a receiver of batches by POST.
type HTTPConfig struct {
	URL        string            `yaml:"url"`         // https, or http on loopback
	Shape      string            `yaml:"shape"`       // ndjson (default), array, splunk (HTTP Event Collector) or elastic (_bulk)
	Index      string            `yaml:"index"`       // splunk, elastic: index or data stream
	SecretFile string            `yaml:"secret_file"` // signs each batch by HMAC-SHA256; file of at least 16 bytes, readable by its owner only
	TokenFile  string            `yaml:"token_file"`  // sent as "Authorization: Bearer …" (splunk: "Splunk …", elastic: "ApiKey …")
	Headers    map[string]string `yaml:"headers"`     // sent as they are: no secrets here
	Gzip       bool              `yaml:"gzip"`
	Timeout    time.Duration     `yaml:"timeout"` // of one request; default 30s
	TLS        TLSConfig         `yaml:"tls"`
}

// OTLPConfig is an OpenTelemetry collector.
type OTLPConfig struct {
	Endpoint  string            `yaml:"endpoint"`   // http: URL of the logs endpoint, such as https://collector:4318/v1/logs; grpc: host:port
	Protocol  string            `yaml:"protocol"`   // http (default; protobuf) or grpc
	TokenFile string            `yaml:"token_file"` // sent as "Authorization: Bearer …"
	Headers   map[string]string `yaml:"headers"`
	Gzip      bool              `yaml:"gzip"`
	Timeout   time.Duration     `yaml:"timeout"` // of one request; default 30s
	TLS       TLSConfig         `yaml:"tls"`
}

// SyslogConfig is a syslog receiver (RFC 5424 messages).
type SyslogConfig struct {
	Address  string        `yaml:"address"`  // host:port
	Network  string        `yaml:"network"`  // tls (default; RFC 5425), or on loopback tcp (RFC 6587, octet counting) and udp (RFC 5426)
	Facility *int          `yaml:"facility"` // 0 to 23; default 13, log audit
	Hostname string        `yaml:"hostname"` // of this machine in messages; default what the system says
	AppName  string        `yaml:"app_name"` // default bailiwick
	SDID     string        `yaml:"sd_id"`    // id of the structured data; default bailiwick@32473
	Timeout  time.Duration `yaml:"timeout"`  // of connecting and of writing a batch; default 30s
	TLS      TLSConfig     `yaml:"tls"`
}

// FileConfig is a file of one JSON object a line.
type FileConfig struct {
	Path     string        `yaml:"path"`      // of the file being written; its directory must exist
	MaxBytes int64         `yaml:"max_bytes"` // size at which it is rotated; default 100 MiB
	MaxAge   time.Duration `yaml:"max_age"`   // since its first entry was written; default 24h
	Keep     int           `yaml:"keep"`      // rotated files kept; default 0: all
	Gzip     *bool         `yaml:"gzip"`      // of rotated files; default true
}

// TLSConfig is what TLS needs besides the system's certificate authorities.
type TLSConfig struct {
	CAFile     string `yaml:"ca_file"`     // PEM; these instead of the system's
	CertFile   string `yaml:"cert_file"`   // PEM; client certificate
	KeyFile    string `yaml:"key_file"`    // PEM; its key, readable by its owner only
	ServerName string `yaml:"server_name"` // expected in the certificate; default the host
}

// Problems is everything that is wrong with a configuration.
type Problems []string

func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0]
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d problems", len(p))
	for _, s := range p {
		b.WriteString("\n  " + s)
	}
	return b.String()
}

// LoadConfig reads a configuration, fills defaults and resolves paths. Its error, when the file can be read, is Problems: all of them.
func LoadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration of exports: %w", err)
	}
	c, err := ParseConfig(raw)
	if err != nil {
		return Config{}, err
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// ParseConfig is LoadConfig without the file: paths stay as they are.
func ParseConfig(raw []byte) (Config, error) {
	var c Config
	var p Problems
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		te := &yaml.TypeError{}
		switch {
		case errors.As(err, &te):
			p = append(p, te.Errors...)
		case errors.Is(err, io.EOF):
			return Config{}, Problems{"the file is empty; see docs/export.md for an example"}
		default:
			return Config{}, Problems{err.Error()}
		}
	} else if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		p = append(p, "a second document follows the first")
	}
	c.defaults()
	if p = append(p, c.check()...); len(p) > 0 {
		return Config{}, p
	}
	return c, nil
}

func (c *Config) defaults() {
	if c.State == "" {
		c.State = "exports"
	}
	for i := range c.Sinks {
		s := &c.Sinks[i]
		fill(&s.Format, FormatOCSF)
		fill(&s.Start, "beginning")
		fill(&s.Personal, "as_logged")
		fill(&s.Batch.Entries, 500)
		fill(&s.Batch.Bytes, 1<<20)
		fill(&s.Batch.Wait, time.Second)
		if h := s.HTTP; h != nil {
			fill(&h.Shape, "ndjson")
			fill(&h.Timeout, 30*time.Second)
		}
		if o := s.OTLP; o != nil {
			fill(&o.Protocol, "http")
			fill(&o.Timeout, 30*time.Second)
		}
		if y := s.Syslog; y != nil {
			fill(&y.Network, "tls")
			fill(&y.AppName, "bailiwick")
			fill(&y.SDID, "bailiwick@32473")
			fill(&y.Timeout, 30*time.Second)
			if y.Facility == nil {
				y.Facility = new(13)
			}
		}
		if f := s.File; f != nil {
			fill(&f.MaxBytes, 100<<20)
			fill(&f.MaxAge, 24*time.Hour)
			if f.Gzip == nil {
				f.Gzip = new(true)
			}
		}
	}
}

func fill[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

// resolve makes paths relative to dir absolute or relative to where the program runs.
func (c *Config) resolve(dir string) {
	at := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	at(&c.State)
	for i := range c.Sinks {
		s := &c.Sinks[i]
		if s.HTTP != nil {
			at(&s.HTTP.SecretFile)
			at(&s.HTTP.TokenFile)
			s.HTTP.TLS.resolve(at)
		}
		if s.OTLP != nil {
			at(&s.OTLP.TokenFile)
			s.OTLP.TLS.resolve(at)
		}
		if s.Syslog != nil {
			s.Syslog.TLS.resolve(at)
		}
		if s.File != nil {
			at(&s.File.Path)
		}
	}
}

func (t *TLSConfig) resolve(at func(*string)) {
	at(&t.CAFile)
	at(&t.CertFile)
	at(&t.KeyFile)
}

// Sink finds a sink by its name.
func (c *Config) Sink(name string) (SinkConfig, bool) {
	i := slices.IndexFunc(c.Sinks, func(s SinkConfig) bool { return s.Name == name })
	if i < 0 {
		return SinkConfig{}, false
	}
	return c.Sinks[i], true
}

var sinkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
