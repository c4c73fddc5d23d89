package access

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// settings parses access.yaml in a directory that has the secrets "hook" and "slack".
func settings(t *testing.T, text, slackURL string) (Settings, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"hook": "a-secret-of-enough-characters\n", "slack": slackURL, "short": "x", "access.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "open"), []byte("a-secret-of-enough-characters"), 0o644); err != nil {
		t.Fatal(err)
	}
	return LoadSettings(filepath.Join(dir, "access.yaml"))
}

func notice() Notice {
	r := Request{Asked: Asked{ID: "ar-aaaaaaaaaaaa", Login: "alice@acme.example", Principal: alice.Principal(), Namespace: "payments", Role: "write", Seconds: 1800, Reason: "<!channel> INC-1 *bold* `x`"}, State: Pending, Digest: "d"}
	return Notice{ID: "01a2", Event: "requested", At: time.Unix(1_800_000_000, 0), Text: noticeText("requested", &r, "", ""), Request: r}
}

func TestWebhook(t *testing.T) {
	var got []*http.Request
	var bodies [][]byte
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, bodies = append(got, r), append(bodies, body)
		if status == http.StatusFound {
			w.Header().Set("Location", "http://169.254.169.254/latest")
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	s, err := settings(t, "version: 1\nlink: https://console.acme.example/access/{id}\nnotify:\n  - name: ops\n    webhook: {url: '"+server.URL+"/x', secret_file: hook}\n  - name: pager\n    loud: true\n    webhook: {url: '"+server.URL+"/pager', secret_file: hook}\n  - name: chat\n    slack: {url_file: slack}\n", server.URL+"/services/T0/B0/secret")
	if err != nil {
		t.Fatal(err)
	}
	n, err := NewNotifier(s.Notify, s.Link, nil)
	if err != nil || strings.Join(n.Channels(), " ") != "ops pager chat" {
		t.Fatal(err, n.Channels())
	}
	for _, channel := range n.Channels() {
		if err := n.Notify(t.Context(), channel, notice()); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 2 {
		t.Fatalf("%d deliveries", len(got)) // the pager takes loud ones only
	}
	h := got[0].Header
	mac := hmac.New(sha256.New, []byte("a-secret-of-enough-characters"))
	mac.Write([]byte(h.Get("Bailiwick-Id") + "." + h.Get("Bailiwick-Timestamp") + "." + string(bodies[0])))
	if h.Get("Bailiwick-Signature") != "v1="+hex.EncodeToString(mac.Sum(nil)) || h.Get("Bailiwick-Id") != "01a2" {
		t.Errorf("signature %v", h)
	}
	var body struct {
		V       int
		Event   string
		Request Request
	}
	if err := json.Unmarshal(bodies[0], &body); err != nil || body.V != 1 || body.Event != "requested" || body.Request.Asked.ID != "ar-aaaaaaaaaaaa" {
		t.Errorf("body %s, %v", bodies[0], err)
	}
	slack := string(bodies[1])
	if strings.Contains(slack, "<!channel>") || !strings.Contains(slack, `https://console.acme.example/access/ar-aaaaaaaaaaaa`) || !strings.Contains(slack, "Review and approve") || strings.Contains(slack, "`x`") {
		t.Errorf("slack %s", slack)
	}
	loud := notice()
	loud.Loud = true
	if err := n.Notify(t.Context(), "pager", loud); err != nil || len(got) != 3 {
		t.Errorf("the pager: %v, %d", err, len(got))
	}
	for _, status = range []int{http.StatusFound, http.StatusInternalServerError, http.StatusNotFound} {
		before := len(got)
		err := n.Notify(t.Context(), "chat", notice())
		if err == nil || strings.Contains(err.Error(), "secret") || len(got) != before+1 {
			t.Errorf("HTTP %d: %v, %d requests", status, err, len(got)-before)
		}
	}
	if err := n.Notify(t.Context(), "nobody", notice()); !errors.Is(err, ErrUnknownChannel) {
		t.Errorf("unknown channel: %v", err)
	}
	server.Close()
	if err := n.Notify(t.Context(), "chat", notice()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("down: %v", err)
	}
}

// Threat 44: a webhook must not be a way into the network.
func TestThreat44WebhookAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:80": "ok", "[::1]:443": "ok", "93.184.216.34:443": "ok", "[2606:2800:220:1::1]:443": "ok",
		"10.0.0.1:443": "private", "192.168.1.1:443": "private", "172.16.0.9:443": "private", "100.64.0.1:443": "private", "[fd00::1]:443": "private", "[::ffff:10.0.0.1]:443": "private", "[64:ff9b::a00:1]:443": "private",
		"169.254.169.254:80": "never", "[fe80::1%eth0]:80": "never", "[::ffff:169.254.169.254]:80": "never", "0.0.0.0:80": "never", "[::]:80": "never", "224.0.0.1:80": "never", "255.255.255.255:80": "never", "nonsense": "never",
	} {
		strict, loose := mayConnect(address, false), mayConnect(address, true)
		got := "never"
		if strict == nil && loose == nil {
			got = "ok"
		} else if loose == nil {
			got = "private"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	for _, bad := range []string{"http://hooks.acme.example/x", "ftp://127.0.0.1", "https://user:pw@acme.example", "/x", "http://127.0.0.1.evil.example/", "http://0.0.0.0/"} {
		if checkTarget(bad) == nil {
			t.Errorf("%s is let through", bad)
		}
	}
	// A name that leads to the metadata service is judged by where it leads.
	client := outbound(true)
	client.Transport.(*http.Transport).TLSHandshakeTimeout = time.Second
	if _, err := client.Get("http://[::ffff:169.254.169.254]/"); err == nil || !strings.Contains(err.Error(), "link-local") {
		t.Errorf("metadata: %v", err)
	}
}

func TestSettingsAreStrict(t *testing.T) {
	for text, want := range map[string]string{
		"version: 2": "version", "version: 1\nnotfy: []": "notfy", "version: 1\ndefaults: {expire_after: 3}": "expire_after", "version: 1\ndefaults: {expire_after: 10s}": "expire_after",
		"version: 1\nlink: https://x/y": "{id}", "version: 1\nlink: javascript:{id}": "link", "version: 1\nokta_groups: [{namespace: payments, role: owner, group: g}]": "okta_groups",
		"version: 1\nnotify: [{name: a}]": "one of", "version: 1\nnotify: [{name: a, slack: {url_file: slack}, webhook: {url: 'https://x', secret_file: hook}}]": "one of",
		"version: 1\nnotify: [{name: a, webhook: {url: 'https://x'}}]":                                              "secret_file",
		"version: 1\nnotify: [{name: a, webhook: {url: 'http://x.example', secret_file: hook}}]":                    "https",
		"version: 1\nnotify: [{name: a, webhook: {url: 'https://x', secret_file: short}}]":                          "shorter",
		"version: 1\nnotify: [{name: a, webhook: {url: 'https://x', secret_file: open}}]":                           "chmod",
		"version: 1\nnotify: [{name: a, webhook: {url: 'https://x', secret_file: none}}]":                           "none",
		"version: 1\nnotify: [{name: a, events: [asked], webhook: {url: 'https://x', secret_file: hook}}]":          "asked",
		"version: 1\nnotify: [{name: a, email: {server: mail, from: a@b.c, to: [a@b.c]}}]":                          "HOST:PORT",
		"version: 1\nnotify: [{name: a, email: {server: 'mail:25', tls: none, from: a@b.c, to: [a@b.c]}}]":          "loopback",
		"version: 1\nnotify: [{name: a, email: {server: 'mail:25', from: \"a@b.c\\r\\nBcc: x@y.z\", to: [a@b.c]}}]": "from",
		"version: 1\nnotify: [{name: a, email: {server: 'mail:25', from: a@b.c, to: []}}]":                          "nobody",
		"version: 1\n---\nversion: 1": "more than one",
	} {
		if _, err := settings(t, text, "https://hooks.example/x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\t%v does not speak of %q", text, err, want)
		}
	}
	s, err := LoadSettings(filepath.Join(t.TempDir(), "access.yaml"))
	if err != nil || s.Rules != DefaultRules() {
		t.Errorf("without a file: %+v, %v", s, err)
	}
}

// mailServer takes one mail, in the clear on loopback and offering nothing better, and gives what it was sent.
func mailServer(t *testing.T) (address string, lines chan []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines = make(chan []string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		say := func(s string) { _, _ = io.WriteString(conn, s+"\r\n") }
		say("220 test")
		var all []string
		data := false
		for in := bufio.NewScanner(conn); in.Scan(); {
			line := in.Text()
			all = append(all, line)
			switch {
			case data && line == ".":
				data = false
				say("250 taken")
			case data:
			case strings.HasPrefix(line, "EHLO"):
				say("250 test")
			case line == "DATA":
				data = true
				say("354 go on")
			case line == "QUIT":
				say("221 bye")
				lines <- all
				return
			default:
				say("250 ok")
			}
		}
		lines <- all
	}()
	return l.Addr().String(), lines
}

func TestEmail(t *testing.T) {
	address, lines := mailServer(t)
	e := &Email{Server: address, TLS: "none", From: "Bailiwick <access@acme.example>", To: []string{"ops@acme.example", "Carol <carol@acme.example>"}}
	if err := e.check(""); err != nil {
		t.Fatal(err)
	}
	n := notice()
	n.Text = "requested\r\nBcc: evil@x.example\r\n\r\n.\r\nMAIL FROM:<x>"
	n.Request.Asked.Reason = "x\r\n.\r\nQUIT"
	if err := e.send(t.Context(), &n, "https://console.acme.example/access/ar-aaaaaaaaaaaa"); err != nil {
		t.Fatal(err)
	}
	sent := <-lines
	raw := strings.Join(sent, "\r\n")
	_, content, _ := strings.Cut(raw, "DATA\r\n")
	content, _, _ = strings.Cut(content, "\r\n.\r\n")
	m, err := mail.ReadMessage(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Bcc") != "" || strings.Count(raw, "MAIL FROM") != 1+strings.Count(m.Header.Get("Subject"), "MAIL FROM") || strings.Count(raw, "\r\n.\r\n") != 1 || strings.Count(raw, "RCPT TO") != 2 {
		t.Errorf("injected:\n%s", raw)
	}
	body, _ := io.ReadAll(m.Body)
	text, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(body), "\r\n", ""))
	if err != nil || !strings.Contains(string(text), "bailiwick access approve ar-aaaaaaaaaaaa") || !strings.Contains(string(text), "https://console.acme.example") {
		t.Errorf("body %s, %v", text, err)
	}
}

// A server that does not offer to encrypt is not told anything.
func TestEmailNeverInTheClear(t *testing.T) {
	address, lines := mailServer(t)
	e := &Email{Server: address, From: "access@acme.example", To: []string{"ops@acme.example"}}
	if err := e.check(""); err != nil {
		t.Fatal(err)
	}
	n := notice()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := e.send(ctx, &n, ""); err == nil || !strings.Contains(err.Error(), "encrypting") {
		t.Errorf("sent in the clear: %v", err)
	}
	if sent := strings.Join(<-lines, "\n"); strings.Contains(sent, "alice") || strings.Contains(sent, "MAIL") {
		t.Errorf("told %s", sent)
	}
}
