package audit

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// The pieces of the canonical form. Adding a field to one of the structs below needs a line here (and a new EntryVersion);
// TestMarshalCoversEveryField fails until it is there.

func (p *Party) append(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.optional("principal", p.Principal)
	o.optional("login", p.Login)
	o.optional("client_id", p.ClientID)
	o.list("groups", p.Groups)
	o.optional("token_id", p.TokenID)
	o.list("actors", p.Actors)
	o.optional("actor_profile", p.ActorProfile)
	o.list("scopes", p.Scopes)
	if !p.AuthTime.IsZero() {
		o.name("auth_time")
		o.b = appendTime(o.b, p.AuthTime)
	}
	o.optional("acr", p.ACR)
	o.optional("token_key", p.TokenKey)
	o.list("amr", p.AMR)
	return append(o.b, '}')
}

func appendResource(b []byte, r *policy.Resource) []byte {
	o := object{b: append(b, '{')}
	o.optional("namespace", r.Namespace)
	o.optional("workflow_type", r.WorkflowType)
	o.optional("workflow_id", r.WorkflowID)
	o.optional("run_id", r.RunID)
	o.optional("task_queue", r.TaskQueue)
	o.optional("signal", r.Signal)
	o.optional("update", r.Update)
	o.optional("query", r.Query)
	o.optional("schedule_id", r.ScheduleID)
	o.optional("endpoint", r.Endpoint)
	o.optional("cron", r.Cron)
	o.list("search_attributes", r.SearchAttributes)
	o.optional("versioning", r.Versioning)
	o.flag("unresolved", r.Unresolved)
	return append(o.b, '}')
}

func appendActs(b []byte, acts []Act) []byte {
	b = append(b, '[')
	for i := range acts {
		if i > 0 {
			b = append(b, ',')
		}
		o := object{b: append(b, '{')}
		o.field("action", acts[i].Action)
		o.name("resource")
		b = append(appendResource(o.b, &acts[i].Resource), '}')
	}
	return append(b, ']')
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendDecision(b []byte, d *policy.Decision) []byte {
	o := object{b: strconv.AppendBool(append(b, `{"allow":`...), d.Allow)}
	o.field("code", string(d.Code))
	o.list("policies", d.Policies)
	o.list("reasons", d.Reasons)
	o.list("obligations", d.Obligations)
	o.optional("missing", d.Missing)
	o.optional("hint", d.Hint)
	o.field("policy_digest", d.PolicyDigest)
	return append(o.b, '}')
}

// object appends members to an object, putting the commas.
type object struct{ b []byte }

func (o *object) name(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), `":`...)
}

func (o *object) field(name, value string) {
	o.name(name)
	o.b = appendString(o.b, value)
}

func (o *object) optional(name, value string) {
	if value != "" {
		o.field(name, value)
	}
}

func (o *object) flag(name string, value bool) {
	if value {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	o.name(name)
	o.b = append(o.b, '[')
	for i, v := range values {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendString(o.b, v)
	}
	o.b = append(o.b, ']')
}

func appendField(b []byte, name, value string) []byte {
	o := object{b: b}
	o.field(name, value)
	return o.b
}

func appendOptional(b []byte, name, value string) []byte {
	o := object{b: b}
	o.optional(name, value)
	return o.b
}

// appendString appends a JSON string (RFC 8259 section 7) as encoding/json writes it without HTML escaping, except that invalid
// UTF-8 becomes the character U+FFFD and not its escape: reading and writing again must give the same bytes.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	if plain(s) {
		b = append(b, s...)
		return append(b, '"')
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		var escaped string
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				escaped = "\uFFFD"
			case r == '\u2028':
				escaped = `\u2028`
			case r == '\u2029':
				escaped = `\u2029`
			default:
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case escaped != "":
			b = append(b, escaped...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plain reports whether the string stands in JSON as it is: printable ASCII without quote and backslash. It looks at eight bytes at a time,
// because almost every string of an entry is plain.
func plain(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	bad := uint64(0) // the top bit of each byte that does not fit
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash := x^ones*'"', x^ones*'\\'
		bad |= x | (x - ones*' ') | (quote - ones) | (slash - ones) // a borrow can only add a false alarm, beside a byte that does not fit
		s = s[8:]
	}
	if bad&tops != 0 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
