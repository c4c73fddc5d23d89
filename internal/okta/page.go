package okta

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// pages yields the elements of a list, fetching further pages as they are needed. It ends after the first error.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		next, err := c.at(path, query)
		for next != nil || err != nil {
			var items []T
			var after *url.URL
			if err == nil {
				items, after, err = page[T](ctx, c, next)
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			next = after
		}
	}
}

// page fetches one page and says where the next is; nil if this was the last.
func page[T any](ctx context.Context, c *Client, at *url.URL) ([]T, *url.URL, error) {
	var items []T
	a, err := c.send(ctx, http.MethodGet, at, nil, &items)
	if err != nil {
		return nil, nil, err
	}
	next, err := c.nextLink(a.header)
	return items, next, err
}

// Cursor is where a list goes on: what was asked for and where the page after it begins. It can be kept, and is good for some time. Empty: the
// beginning of a list, or its end.
type Cursor string

// pageAt fetches the page that cursor names of the list at path, or the first by query.
func pageAt[T any](ctx context.Context, c *Client, path string, query url.Values, cursor Cursor) ([]T, Cursor, error) {
	u, err := c.at(path, query)
	if err != nil {
		return nil, "", err
	}
	if cursor != "" {
		if strings.ContainsAny(string(cursor), "#\r\n") {
			return nil, "", fmt.Errorf("okta: %q is no cursor of a list", clip(string(cursor)))
		}
		u.RawQuery = string(cursor)
	}
	items, next, err := page[T](ctx, c, u)
	switch {
	case err != nil || next == nil:
		return items, "", err
	case next.Path != u.Path || next.RawQuery == u.RawQuery:
		return nil, "", fmt.Errorf("okta: the page after that of %s is the same or another list's", path) // it would be read for ever
	}
	return items, Cursor(next.RawQuery), nil
}

// nextLink is the target of the Link header with rel="next" (RFC 8288). One that leads out of the org is an error: it would carry the token
// there.
func (c *Client) nextLink(h http.Header) (*url.URL, error) {
	for _, value := range h.Values("Link") {
		for _, link := range strings.Split(value, ", <") {
			target, params, found := strings.Cut(strings.TrimPrefix(link, "<"), ">")
			if !found || !strings.Contains(params, `rel="next"`) {
				continue
			}
			u, err := url.Parse(target)
			if err != nil || u.Scheme != c.base.Scheme || u.Host != c.base.Host || !strings.HasPrefix(u.Path, "/api/v1/") {
				return nil, fmt.Errorf("okta: the link to the next page leads out of the org: %q", clip(target))
			}
			return u, nil
		}
	}
	return nil, nil
}
