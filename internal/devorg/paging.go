package devorg

import (
	"fmt"
	"net/url"
	"strconv"
)

// pageParams is how much of a list is asked for.
type pageParams struct {
	after string // the last id of the page before
	limit int
}

// paging reads `limit` and `after`.
func (c *call) paging(fallback, most int) (pageParams, error) {
	q := c.r.URL.Query()
	p := pageParams{after: q.Get("after"), limit: fallback}
	if raw := q.Get("limit"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 || n > most {
			return p, invalid("limit", fmt.Sprintf("limit: must be a number from 1 to %d", most))
		}
		p.limit = n
	}
	return p, nil
}

// links sets the Link headers of a list: self, and next with the given cursor unless it is empty.
func (c *call) links(next string) {
	self := *c.o.base
	self.Path, self.RawQuery = c.r.URL.Path, c.r.URL.RawQuery
	c.w.Header().Add("Link", fmt.Sprintf(`<%s>; rel="self"`, self.String()))
	if next == "" {
		return
	}
	q := c.r.URL.Query()
	q.Set("after", next)
	q.Del("since") // since and after exclude each other
	c.w.Header().Add("Link", fmt.Sprintf(`<%s>; rel="next"`, c.o.address(c.r.URL.Path, q)))
}

// address is an absolute address at the org.
func (o *Org) address(path string, q url.Values) string {
	u := *o.base
	u.Path, u.RawQuery = path, q.Encode()
	return u.String()
}

// pageOf cuts a list to a page and sets the Link headers. It shows each element, in the list's order, that keep accepts.
func pageOf[T any](c *call, p pageParams, list []T, id func(T) string, keep func(T) bool, show func(T) any) []any {
	out := []any{}
	last, more := "", false
	for _, v := range list {
		if !keep(v) {
			continue
		}
		if len(out) == p.limit {
			more = true
			break
		}
		out, last = append(out, show(v)), id(v)
	}
	if !more {
		last = ""
	}
	c.links(last)
	return out
}
