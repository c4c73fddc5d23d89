package export

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// syslogMessage writes one message of RFC 5424 section 6: header, structured data with the entry's index and id, and the JSON as UTF-8
// behind a byte order mark. host, app and id have been checked to be printable ASCII without spaces.
func syslogMessage(b *bytes.Buffer, m *Message, cfg *SyslogConfig, host string) {
	severity := map[Severity]int{SeverityInfo: 6, SeverityNotice: 5, SeverityWarning: 4, SeverityAlert: 1}[m.Severity]
	b.WriteString("<" + strconv.Itoa(*cfg.Facility*8+severity) + ">1 ")
	b.WriteString(m.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00")) // section 6.2.3: at most six digits
	b.WriteString(" " + host + " " + cfg.AppName + " - " + syslogName(string(m.Kind), 32))
	b.WriteString(" [" + cfg.SDID + ` index="` + strconv.FormatUint(m.Index, 10) + `" id="` + syslogValue(m.ID) + `"`)
	if m.Entry != nil && m.Entry.Decision != nil {
		b.WriteString(` code="` + syslogValue(string(m.Entry.Decision.Code)) + `"`)
	}
	b.WriteString("] \xEF\xBB\xBF")
	b.Write(m.Body)
}

// syslogName makes a header field: printable ASCII, no space, at most n; "-" for nothing.
func syslogName(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s = s[:min(len(s), n)]; s == "" {
		return "-"
	}
	return s
}

// syslogValue escapes a parameter's value (section 6.3.3): ", \ and ]. Control characters can't come through a log that lines are made of.
func syslogValue(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || r == ']':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// frame puts the message's length before it (RFC 6587 section 3.4.1, RFC 5425 section 4.3: octet counting).
func frame(b *bytes.Buffer, message []byte) {
	b.WriteString(strconv.Itoa(len(message)))
	b.WriteByte(' ')
	b.Write(message)
}

func syslogHost(cfg *SyslogConfig) string {
	if cfg.Hostname != "" {
		return cfg.Hostname
	}
	name, err := os.Hostname()
	if err != nil {
		return "-"
	}
	return syslogName(name, 255)
}

// settleTime is how long a receiver may take to say that it did not want what it was sent: syslog has no acknowledgement, and what was
// written may be lost with the connection. What was written later than that before a connection broke is sent again.
const settleTime = 5 * time.Second
