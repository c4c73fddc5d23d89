package okta

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Document is an object of the management API as it is on the wire, for whoever reads and writes settings that this package has no type for. What it does
// not know stays as it is: a document that is read, changed and put back loses nothing.
type Document map[string]any

// At finds a value by the names on the way to it, joined by dots; nil if there is none.
func (d Document) At(path string) any {
	var at any = map[string]any(d)
	for name := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[name]
	}
	return at
}

// Text is the text at a path; empty if there is none.
func (d Document) Text(path string) string {
	s, _ := d.At(path).(string)
	return s
}

// Number is the whole number at a path; 0 if there is none.
func (d Document) Number(path string) int {
	switch n := d.At(path).(type) {
	case float64:
		return int(n)
	case int:
		return n
	}
	return 0
}

// Texts are the texts of the list at a path, sorted.
func (d Document) Texts(path string) []string {
	out := []string{}
	switch list := d.At(path).(type) {
	case []any:
		for _, v := range list {
			if s, ok := v.(string); ok {
				out = append(out, s)
			}
		}
	case []string:
		out = append(out, list...)
	}
	slices.Sort(out)
	return out
}

// Set puts a value at a path, making what is missing on the way.
func (d Document) Set(path string, value any) {
	at := map[string]any(d)
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		next, ok := at[name].(map[string]any)
		if !ok {
			next = map[string]any{}
		} else {
			next = maps.Clone(next) // documents share what was not changed
		}
		at[name] = next
		at = next
	}
	at[names[len(names)-1]] = value
}

// readOnly are the fields that Okta adds to what it answers, and refuses or ignores in what is written.
var readOnly = []string{"id", "created", "lastUpdated", "_links", "_embedded", "lastMembershipUpdated", "objectClass", "issuer", "default"}

// Changed is a copy to put back, with values set at their paths and without what only Okta writes.
func (d Document) Changed(values map[string]any) Document {
	out := maps.Clone(d)
	for _, name := range readOnly {
		delete(out, name)
	}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		out.Set(path, values[path])
	}
	return out
}

// Documents lists a collection, all pages of it. path begins at the root, such as "/api/v1/apps", its segments escaped.
func (c *Client) Documents(ctx context.Context, path string, q url.Values) (all []Document, err error) {
	for d, err := range pages[Document](ctx, c, path, q) {
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// Document reads one object.
func (c *Client) Document(ctx context.Context, path string) (d Document, err error) {
	_, err = c.do(ctx, http.MethodGet, path, nil, nil, &d)
	return d, err
}

// CreateDocument makes an object in a collection. It is not sent twice: after a lost answer the object may be there.
func (c *Client) CreateDocument(ctx context.Context, path string, d Document) (made Document, err error) {
	_, err = c.do(ctx, http.MethodPost, path, nil, d, &made)
	return made, err
}

// PutDocument replaces an object, or makes one at a path that the caller names.
func (c *Client) PutDocument(ctx context.Context, path string, d Document) (now Document, err error) {
	_, err = c.do(ctx, http.MethodPut, path, nil, d, &now)
	return now, err
}

// ActivateDocument makes an inactive object count again.
func (c *Client) ActivateDocument(ctx context.Context, path string) error {
	return c.step(ctx, path+"/lifecycle/activate")
}

// Limit is how a rate limit stood when its family of endpoints answered last.
type Limit struct {
	Family    string    `json:"family"`
	Limit     int       `json:"limit"` // requests a minute, everybody's
	Remaining int       `json:"remaining"`
	Used      int       `json:"used"` // by this client in this window
	Reset     time.Time `json:"reset"`
}

// Limits lists the rate limits that this client has heard of, by family.
func (c *Client) Limits() (all []Limit) {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.budget.families)) {
		if w := c.budget.families[name]; w.limit > 0 {
			all = append(all, Limit{Family: name, Limit: w.limit, Remaining: w.remaining, Used: w.used, Reset: w.reset})
		}
	}
	return all
}

// Path fills the %s of a format with names, escaped.
func Path(format string, parts ...string) string {
	escaped := make([]any, len(parts))
	for i, p := range parts {
		escaped[i] = url.PathEscape(p)
	}
	return fmt.Sprintf(format, escaped...)
}

// TryDocuments asks for the first page of a collection, and says whether that may be done.
func (c *Client) TryDocuments(ctx context.Context, path string, q url.Values) error {
	_, err := c.do(ctx, http.MethodGet, path, q, nil, &[]Document{})
	return err
}
