package devorg

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
)

//go:embed pages/*.html pages/org.css
var pageFiles embed.FS

// page is everything that any of the pages shows.
type page struct {
	Org, Title, Problem string
	App                 string // the application that is signed in to or asks
	CSRF                string
	FromURI             string
	Username, Password  string // pre-filled login; published password
	People              []hint
	User                string // who is signed in
	UserCode            string
	Scopes              []string
	Denied              bool
	Issuers             []string
	FormAction          string // one more origin that a form's answer may redirect to
}

// hint is a person that a developer can sign in as.
type hint struct {
	Login, Name string
	Groups      []string
}

// templates parses each page together with the layout. Called once per mount; a bad template is a bug that every test meets.
func templates() (map[string]*template.Template, error) {
	out := map[string]*template.Template{}
	for _, name := range []string{"login", "code", "activate", "done", "problem", "home"} {
		t, err := template.New("layout.html").Funcs(template.FuncMap{"join": strings.Join}).ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		out[name] = t
	}
	return out, nil
}

// page renders a page with the strictest policy that it can live with: no scripts at all, styles from here, forms to here
// (and, because browsers apply form-action to redirects too, to the application being signed in to), no framing, no caching.
func (c *call) page(status int, name string, p page) {
	p.Org = c.o.seed.Org
	var body bytes.Buffer
	if err := c.o.pages[name].Execute(&body, p); err != nil {
		c.o.log.ErrorContext(c.r.Context(), "development org page failed", "page", name, "error", err)
		http.Error(c.w, "internal error", http.StatusInternalServerError)
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.TrimRight("default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' "+p.FormAction, " "))
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache, no-store")
	c.w.WriteHeader(status)
	c.w.Write(body.Bytes())
}

// stylesheet serves GET /assets/org.css.
func (o *Org) stylesheet(c *call) error {
	css, err := pageFiles.ReadFile("pages/org.css")
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/css; charset=utf-8")
	c.w.Header().Set("Cache-Control", "max-age=3600")
	c.w.Write(css)
	return nil
}
