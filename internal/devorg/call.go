package devorg

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxBody bounds every request body; the largest legitimate one is a few kilobytes.
const maxBody = 256 << 10

// call is one request on its way through the org.
type call struct {
	o   *Org
	w   http.ResponseWriter
	r   *http.Request
	id  string // X-Okta-Request-Id, and the transaction.id of the events it causes
	now time.Time
	api apiCaller // who calls the management API; zero elsewhere
}

func (c *call) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.fail(err)
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache, no-store")
		h.Set("Pragma", "no-cache")
	}
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		c.w.Write(body)
	}
}

func (c *call) empty(status int) {
	c.w.Header().Set("Cache-Control", "no-cache, no-store")
	c.w.WriteHeader(status)
}

// redirect sends the browser on with 302, or 303 after a POST so that the form is not sent again.
func (c *call) redirect(to string) {
	status := http.StatusFound
	if c.r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	h := c.w.Header()
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", to)
	c.w.WriteHeader(status)
}

// form parses an application/x-www-form-urlencoded body and refuses a parameter sent twice (RFC 6749 section 3.2).
func (c *call) form() (url.Values, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, badRequest("invalid_request", "The request body must be application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		return nil, badRequest("invalid_request", "The request body is too large or could not be read.")
	}
	return parseParams(string(body))
}

func parseParams(raw string) (url.Values, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("invalid_request", "The request parameters are not well-formed.")
	}
	for name, v := range values {
		if len(v) > 1 {
			return nil, badRequest("invalid_request", "The '%s' parameter was sent more than once.", printable(name))
		}
	}
	return values, nil
}

// body reads a JSON body into v. An empty body is an empty object.
func (c *call) body(v any) error {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &apiError{Status: http.StatusRequestEntityTooLarge, Code: "E0000003", Summary: "The request body was too large."}
		}
		return errBody
	}
	if len(data) == 0 {
		return nil
	}
	return decodeJSON(data, v)
}

// ip is the caller's address without the port.
func (c *call) ip() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// printable keeps a caller's text short and free of control characters before it is echoed.
func printable(s string) string {
	out := make([]rune, 0, 64)
	for _, r := range s {
		if len(out) == 64 {
			return string(out) + "…"
		}
		if r < ' ' || r == 0x7f || r == '"' || r == '\\' {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID makes an Okta-shaped identifier: a three-letter prefix and 17 random characters.
func newID(prefix string) string {
	return prefix + randomText(17, base62)
}

// randomText draws n characters uniformly from the alphabet (at most 256 characters).
func randomText(n int, alphabet string) string {
	out := make([]byte, 0, n)
	limit := 256 - 256%len(alphabet)
	var buf [64]byte
	for {
		rand.Read(buf[:]) // never fails since Go 1.24
		for _, b := range buf {
			if int(b) >= limit {
				continue // would favour the alphabet's start
			}
			if out = append(out, alphabet[int(b)%len(alphabet)]); len(out) == n {
				return string(out)
			}
		}
	}
}

// newSecret makes 256 bits of unguessable text.
func newSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// digest is how bearer secrets (codes, refresh tokens, cookies) are kept: enough to find them, useless to a reader of the file.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// stamp is Okta's timestamp format.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// stampOrNull is null for a zero time.
func stampOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := stamp(t)
	return &s
}
