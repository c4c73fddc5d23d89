package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// Webhook is an address that takes notices as JSON. Receivers check the signature over exactly what was sent, refuse timestamps that are more than
// five minutes off, and ids that they have seen.
//
//	Bailiwick-Id: the notice's id, the same when it is sent again
//	Bailiwick-Timestamp: Unix seconds
//	Bailiwick-Signature: v1=hex(HMAC-SHA256(secret, ID "." TIMESTAMP "." BODY))
type Webhook struct {
	URL          string `yaml:"url"`
	SecretFile   string `yaml:"secret_file"`
	AllowPrivate bool   `yaml:"allow_private,omitempty"` // private addresses too; loopback is always allowed, link-local never

	secret string
	client *http.Client
}

// WebhookVersion is the integer version of the body's form. History: 1 (2026-11) first.
const WebhookVersion = 1

func (w *Webhook) check(dir string) (err error) {
	if err := checkTarget(w.URL); err != nil {
		return err
	}
	if w.SecretFile == "" {
		return errors.New("webhook needs secret_file")
	}
	if w.secret, err = secretFile(dir, w.SecretFile); err != nil {
		return fmt.Errorf("webhook's secret: %w", err)
	}
	if len(w.secret) < 16 {
		return errors.New("webhook's secret is shorter than 16 characters")
	}
	w.client = outbound(w.AllowPrivate)
	return nil
}

func (w *Webhook) post(ctx context.Context, n *Notice, now time.Time) error {
	body, err := json.Marshal(struct {
		Version int `json:"v"`
		*Notice
	}{WebhookVersion, n})
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	return postJSON(ctx, w.client, w.URL, body, map[string]string{
		"Bailiwick-Id": n.ID, "Bailiwick-Timestamp": stamp, "Bailiwick-Signature": sign(w.secret, n.ID, stamp, body),
	})
}

// sign is the signature that a receiver checks.
func sign(secret, id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}

// postJSON sends a body; any answer but 2xx is an error. The URL may hold a secret and is not in it.
func postJSON(ctx context.Context, c *http.Client, to string, body []byte, header map[string]string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "bailiwick")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := c.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return fmt.Errorf("sending to %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered HTTP %d", req.URL.Host, res.StatusCode)
	}
	return nil
}

// checkTarget refuses URLs that would carry notices in the clear.
func checkTarget(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("the url must be absolute and without a user")
	}
	if u.Scheme == "https" {
		return nil
	}
	if u.Scheme == "http" && netaddr.Loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s: only https is possible, and http on loopback", u.Host)
}

// outbound is a client for addresses that somebody configured: it follows no redirects, uses no proxy, and looks at the address that it really
// connects to, so that no name leads it where it must not go.
func outbound(allowPrivate bool) *http.Client {
	d := &net.Dialer{Timeout: 5 * time.Second, Control: outboundControl(allowPrivate)}
	return &http.Client{
		Timeout:       15 * time.Second,
		Transport:     &http.Transport{DialContext: d.DialContext, TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// outboundControl judges each address before a connection is made.
func outboundControl(allowPrivate bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error { return mayConnect(address, allowPrivate) }
}

// notPublic are networks that are private in all but netip's eyes: carrier-grade NAT, benchmarks, and prefixes
// that carry an IPv4 address inside.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16"),
}

func mayConnect(address string, allowPrivate bool) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("the address can't be judged")
	}
	ip := at.Addr().Unmap().WithZone("")
	private := ip.IsPrivate()
	for _, p := range notPublic {
		private = private || p.Contains(ip)
	}
	switch {
	case ip.IsLoopback():
		return nil
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified(), !ip.IsGlobalUnicast():
		return fmt.Errorf("%s is link-local or no single host: never connected to", ip)
	case private && !allowPrivate:
		return fmt.Errorf("%s is a private address; allow_private permits it", ip)
	}
	return nil
}

// Slack is an incoming webhook of Slack, or of anything that takes its messages. The message's buttons open the request's page: who presses one
// signs in there as themselves. Interactive buttons would need Slack's users mapped to Okta's, and nobody approves by a mapping.
type Slack struct {
	URLFile      string `yaml:"url_file"` // the URL is a secret
	AllowPrivate bool   `yaml:"allow_private,omitempty"`

	url    string
	client *http.Client
}

func (s *Slack) check(dir string) (err error) {
	if s.URLFile == "" {
		return errors.New("slack needs url_file")
	}
	if s.url, err = secretFile(dir, s.URLFile); err != nil {
		return fmt.Errorf("slack's URL: %w", err)
	}
	if err := checkTarget(s.url); err != nil {
		return errors.New("slack's URL: only https is possible, and http on loopback")
	}
	s.client = outbound(s.AllowPrivate)
	return nil
}

func (s *Slack) post(ctx context.Context, n *Notice, link string) error {
	body, err := json.Marshal(slackMessage(n, link))
	if err != nil {
		return err
	}
	return postJSON(ctx, s.client, s.url, body, nil)
}

// slackMessage is a notice in Slack's Block Kit, with a text for clients that show no blocks.
func slackMessage(n *Notice, link string) map[string]any {
	r := &n.Request
	text := slackText(n.Text)
	head := text
	if n.Loud {
		head = ":rotating_light: *" + text + "*"
	}
	mrkdwn := func(s string) map[string]any { return map[string]any{"type": "mrkdwn", "text": s} }
	who := r.Asked.Login
	if who == "" {
		who = r.Asked.Principal
	}
	blocks := []any{
		map[string]any{"type": "section", "text": mrkdwn(head)},
		map[string]any{"type": "section", "fields": []any{
			mrkdwn("*Who*\n" + slackText(who)), mrkdwn("*What*\n" + slackText(r.Asked.What())), mrkdwn("*For*\n" + r.Asked.For()), mrkdwn("*State*\n" + string(r.State)),
		}},
		map[string]any{"type": "section", "text": mrkdwn("*Reason*\n" + slackText(r.Asked.Reason))},
	}
	if link != "" {
		button := func(label, style string) map[string]any {
			b := map[string]any{"type": "button", "text": map[string]any{"type": "plain_text", "text": label}, "url": link, "action_id": strings.ToLower(strings.ReplaceAll(label, " ", "-"))}
			if style != "" {
				b["style"] = style
			}
			return b
		}
		var buttons []any
		switch {
		case r.State == Pending || r.Extension != nil:
			buttons = []any{button("Review and approve", "primary"), button("Review and deny", "danger")}
		case r.Review != nil && r.Review.By == nil:
			buttons = []any{button("Review", "primary")}
		default:
			buttons = []any{button("Open", "")}
		}
		blocks = append(blocks, map[string]any{"type": "actions", "elements": buttons})
	}
	blocks = append(blocks, map[string]any{"type": "context", "elements": []any{mrkdwn("`bailiwick access show " + r.Asked.ID + "`")}})
	return map[string]any{"text": text, "blocks": blocks}
}

// slackText keeps text from being read as markup: no mention, no link, no format that somebody else chose.
func slackText(s string) string {
	s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "∗", "_", "＿", "`", "'", "~", "∼").Replace(s)
	if len([]rune(s)) > 1500 {
		s = string([]rune(s)[:1500]) + "…"
	}
	return s
}
