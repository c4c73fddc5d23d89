// Package devorgtest drives the development org's pages as a person with a browser would, by its HTML forms alone, so that
// tests of other programs can log in.
//
// It owns a cookie jar and the reading of forms. It refuses to know the org's insides: everything goes over HTTP.
package devorgtest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// Browser is one person's browser. It is not safe for concurrent use.
type Browser struct{ client *http.Client }

// NewBrowser returns a browser without cookies.
func NewBrowser() *Browser {
	jar, _ := cookiejar.New(nil) // the only error is a bad option
	return &Browser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Page is where the browser ended up: a page of the org, or an address outside it that it was sent to and did not open.
type Page struct {
	URL    *url.URL
	Status int    // 0 for an address outside the org
	Body   string // empty for an address outside the org
	Header http.Header
}

// Authorize opens an authorization URL, signs in where asked, and returns the address that the org sends the browser to
// in the end, usually the application's callback with code and state. It does not open that address.
func (b *Browser) Authorize(ctx context.Context, authorizeURL, username, password string) (*url.URL, error) {
	p, err := b.SignIn(ctx, authorizeURL, username, password)
	if err != nil {
		return nil, err
	}
	if p.Status != 0 {
		return nil, fmt.Errorf("authorizing: the org answered %d instead of sending the browser back: %s", p.Status, p.Text())
	}
	return p.URL, nil
}

// SignIn opens a page of the org and signs in if it leads to the login page.
func (b *Browser) SignIn(ctx context.Context, pageURL, username, password string) (*Page, error) {
	p, err := b.Open(ctx, pageURL)
	if err != nil || p.Status == 0 || p.URL.Path != "/login" {
		return p, err
	}
	return b.Submit(ctx, p, url.Values{"username": {username}, "password": {password}})
}

// DecideDevice opens a device flow's verification_uri_complete, signs in where asked, and approves or denies.
func (b *Browser) DecideDevice(ctx context.Context, verificationURIComplete, username, password string, approve bool) error {
	p, err := b.SignIn(ctx, verificationURIComplete, username, password)
	if err != nil {
		return err
	}
	action := "deny"
	if approve {
		action = "approve"
	}
	if p, err = b.Submit(ctx, p, url.Values{"action": {action}}); err != nil {
		return err
	}
	if p.Status != http.StatusOK {
		return fmt.Errorf("deciding about a device: the org answered %d: %s", p.Status, p.Text())
	}
	return nil
}

// Open follows redirects within the org.
func (b *Browser) Open(ctx context.Context, address string) (*Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return b.follow(req)
}

// Submit sends the page's POST form with its hidden fields and the given ones.
func (b *Browser) Submit(ctx context.Context, p *Page, fields url.Values) (*Page, error) {
	form := p.Hidden()
	if len(form) == 0 {
		return nil, fmt.Errorf("submitting: the page at %s has no form: %s", p.URL, p.Text())
	}
	for k, v := range fields {
		form[k] = v
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL.ResolveReference(&url.URL{Path: p.URL.Path}).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.follow(req)
}

func (b *Browser) follow(req *http.Request) (*Page, error) {
	host := req.URL.Host
	for range 10 {
		res, err := b.client.Do(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 300 || res.StatusCode > 399 {
			return &Page{res.Request.URL, res.StatusCode, string(body), res.Header}, nil
		}
		to, err := res.Location()
		if err != nil {
			return nil, err
		}
		if to.Host != host {
			return &Page{URL: to, Header: res.Header}, nil
		}
		if req, err = http.NewRequestWithContext(req.Context(), http.MethodGet, to.String(), nil); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("following redirects: there are more than ten")
}

// SetCookie puts a cookie into the jar.
func (b *Browser) SetCookie(org *url.URL, c *http.Cookie) {
	b.client.Jar.SetCookies(org, []*http.Cookie{c})
}

// Cookie returns a cookie's value; "" if there is none.
func (b *Browser) Cookie(org *url.URL, name string) string {
	for _, c := range b.client.Jar.Cookies(org) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

var (
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	tags   = regexp.MustCompile(`(?s)<head>.*</head>|<[^>]*>`)
)

// Hidden returns the hidden fields of the page's form.
func (p *Page) Hidden() url.Values {
	out := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(p.Body, -1) {
		out.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return out
}

// Text is what a person reads on the page.
func (p *Page) Text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(p.Body, " "))), " ")
}
