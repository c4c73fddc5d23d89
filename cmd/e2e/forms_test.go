package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
)

const password = "bailiwick" // of everyone in the development org

// form is an HTML form as a browser would send it.
type form struct {
	action  string
	method  string
	values  url.Values
	secret  string   // name of the password field, if any
	texts   []string // names of the fields that a person fills in
	buttons []button
}

type button struct{ name, value, text string }

// approve walks the org's pages from a URL to their end as a person who says yes would: signs in when asked and presses the button that
// goes on.
func approve(start, login string) error {
	jar, _ := cookiejar.New(nil) // its options are optional and it cannot fail without them
	c := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	res, err := c.Get(start)
	for page := 0; page < 8; page++ {
		if err != nil {
			return fmt.Errorf("opening the org's page: %w", err)
		}
		body, rerr := io.ReadAll(res.Body)
		res.Body.Close()
		if rerr != nil {
			return fmt.Errorf("reading the org's page: %w", rerr)
		}
		doc, perr := html.Parse(bytes.NewReader(body))
		if perr != nil {
			return fmt.Errorf("parsing the org's page: %w", perr)
		}
		f := firstForm(doc)
		if f == nil {
			if res.StatusCode >= 400 {
				return fmt.Errorf("the org answered %s: %s", res.Status, text(doc))
			}
			return nil
		}
		if f.secret != "" {
			f.values.Set(f.secret, password)
		}
		for _, name := range f.texts {
			if f.values.Get(name) == "" {
				f.values.Set(name, login)
			}
		}
		if i := slices.IndexFunc(f.buttons, goesOn); i >= 0 && f.buttons[i].name != "" {
			f.values.Set(f.buttons[i].name, f.buttons[i].value)
		}
		to, perr := res.Request.URL.Parse(f.action)
		if perr != nil {
			return fmt.Errorf("reading a form's action: %w", perr)
		}
		if f.method == "GET" {
			to.RawQuery = f.values.Encode()
			res, err = c.Get(to.String())
		} else {
			req, _ := http.NewRequest("POST", to.String(), strings.NewReader(f.values.Encode())) // the URL was parsed before
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", fmt.Sprintf("%s://%s", to.Scheme, to.Host))
			res, err = c.Do(req)
		}
	}
	return errors.New("the org's pages never came to an end")
}

func goesOn(b button) bool {
	all := strings.ToLower(b.name + " " + b.value + " " + b.text)
	return !slices.ContainsFunc([]string{"deny", "denied", "cancel", "refuse", "reject", "not me", "sign out", "log out", "another"}, func(w string) bool { return strings.Contains(all, w) })
}

func firstForm(n *html.Node) *form {
	var out *form
	for d := range n.Descendants() {
		if d.Type != html.ElementNode || d.Data != "form" {
			continue
		}
		f := &form{action: attr(d, "action"), method: strings.ToUpper(attr(d, "method")), values: url.Values{}}
		for e := range d.Descendants() {
			if e.Type != html.ElementNode {
				continue
			}
			name := attr(e, "name")
			switch typ := strings.ToLower(attr(e, "type")); {
			case e.Data == "button", e.Data == "input" && typ == "submit":
				f.buttons = append(f.buttons, button{name, attr(e, "value"), text(e)})
			case e.Data != "input" || name == "":
			case typ == "password":
				f.secret = name
			case typ == "hidden":
				f.values.Set(name, attr(e, "value"))
			case typ == "checkbox", typ == "radio":
			default:
				f.texts = append(f.texts, name)
				f.values.Set(name, attr(e, "value"))
			}
		}
		if out == nil || !slices.ContainsFunc(out.buttons, goesOn) {
			out = f
		}
	}
	return out
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || d.Parent.Data != "style" && d.Parent.Data != "script") {
			b.WriteString(d.Data)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
