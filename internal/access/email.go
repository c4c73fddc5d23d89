package access

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// Email sends notices by SMTP (RFC 5321), always encrypted but on loopback.
type Email struct {
	Server       string   `yaml:"server"`        // HOST:PORT
	TLS          string   `yaml:"tls,omitempty"` // "starttls" (default), "tls" from the first byte, or "none", on loopback only
	From         string   `yaml:"from"`
	To           []string `yaml:"to"`
	User         string   `yaml:"user,omitempty"`
	PasswordFile string   `yaml:"password_file,omitempty"`
	AllowPrivate bool     `yaml:"allow_private,omitempty"`

	host, password string
	from           *mail.Address
	to             []*mail.Address
	roots          *tls.Config // for tests
}

func (e *Email) check(dir string) (err error) {
	if e.host, _, err = net.SplitHostPort(e.Server); err != nil || e.host == "" {
		return fmt.Errorf("server is %q; HOST:PORT is needed", e.Server)
	}
	switch e.TLS {
	case "":
		e.TLS = "starttls"
	case "starttls", "tls":
	case "none":
		if !netaddr.Loopback(e.host) {
			return errors.New("tls: none is possible on loopback only")
		}
	default:
		return fmt.Errorf("tls is %q; use starttls or tls", e.TLS)
	}
	if e.from, err = mail.ParseAddress(e.From); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	if len(e.To) == 0 {
		return errors.New("to names nobody")
	}
	for _, text := range e.To {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return fmt.Errorf("to %q: %w", text, err)
		}
		e.to = append(e.to, a)
	}
	if (e.User == "") != (e.PasswordFile == "") {
		return errors.New("user and password_file go together")
	}
	if e.PasswordFile != "" {
		if e.password, err = secretFile(dir, e.PasswordFile); err != nil {
			return fmt.Errorf("the password: %w", err)
		}
	}
	return nil
}

func (e *Email) send(ctx context.Context, n *Notice, link string) error {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	c, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if e.User != "" {
		if err := c.Auth(smtp.PlainAuth("", e.User, e.password, e.host)); err != nil {
			return fmt.Errorf("logging in to the mail server: %w", err)
		}
	}
	if err := c.Mail(e.from.Address); err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	for _, to := range e.to {
		if err := c.Rcpt(to.Address); err != nil {
			return fmt.Errorf("sending mail: %w", err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	if _, err := w.Write(e.message(n, link)); err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	return c.Quit()
}

func (e *Email) dial(ctx context.Context) (*smtp.Client, error) {
	d := &net.Dialer{Timeout: 5 * time.Second, Control: outboundControl(e.AllowPrivate)}
	conn, err := d.DialContext(ctx, "tcp", e.Server)
	if err != nil {
		return nil, fmt.Errorf("reaching the mail server: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	secure := &tls.Config{ServerName: e.host, MinVersion: tls.VersionTLS12}
	if e.roots != nil {
		secure.RootCAs = e.roots.RootCAs
	}
	if e.TLS == "tls" {
		conn = tls.Client(conn, secure)
	}
	c, err := smtp.NewClient(conn, e.host)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("greeting the mail server: %w", err)
	}
	if e.TLS == "starttls" { // a server that does not offer it is refused: somebody between may have taken the offer away
		if err := c.StartTLS(secure); err != nil {
			c.Close()
			return nil, fmt.Errorf("encrypting to the mail server: %w", err)
		}
	}
	return c, nil
}

// message is the mail (RFC 5322). What others chose is in the encoded body and in one encoded header: no line break of theirs gets anywhere.
func (e *Email) message(n *Notice, link string) []byte {
	r := &n.Request
	subject := "[bailiwick] " + n.Text
	if n.Loud {
		subject = "[bailiwick] ATTENTION " + n.Text
	}
	if runes := []rune(subject); len(runes) > 160 {
		subject = string(runes[:159]) + "…"
	}
	var to []string
	for _, a := range e.to {
		to = append(to, a.String())
	}
	body := n.Text + "\n\nRequest:  " + r.Asked.ID + "\nWho:      " + r.Asked.Login + " (" + r.Asked.Principal + ")\nWhat:     " + r.Asked.What() + "\nFor:      " + r.Asked.For() +
		"\nReason:   " + r.Asked.Reason + "\nState:    " + string(r.State) + "\nDigest:   " + r.Digest + "\n\n"
	if link != "" {
		body += "Open it: " + link + "\n"
	}
	body += "See it:  bailiwick access show " + r.Asked.ID + "\n"
	if r.State == Pending {
		body += "Decide:  bailiwick access approve " + r.Asked.ID + "   or   bailiwick access deny " + r.Asked.ID + "\n"
	}
	var b strings.Builder
	for _, h := range [][2]string{
		{"From", e.from.String()}, {"To", strings.Join(to, ", ")}, {"Subject", mime.BEncoding.Encode("utf-8", oneLine(subject))}, {"Date", n.At.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + n.ID + "@bailiwick.invalid>"}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "base64"}, {"Auto-Submitted", "auto-generated"},
	} {
		b.WriteString(h[0] + ": " + oneLine(h[1]) + "\r\n")
	}
	b.WriteString("\r\n")
	encoded := base64.StdEncoding.EncodeToString([]byte(body))
	for len(encoded) > 76 {
		b.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	b.WriteString(encoded + "\r\n")
	return []byte(b.String())
}

// oneLine takes line breaks out of a header. BEncoding folds long words with them; here they only would be one more way in.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n ", " ", "\r", " ", "\n", " ", "\x00", " ").Replace(s)
}
