package policy

import (
	"strconv"
	"strings"
)

// Keys under which an audit entry's detail tells what a request for access is about, so that the decision on it can be replayed. They are
// those of the entries about its steps.
const (
	detailRole      = "role"
	detailActions   = "actions"
	detailSeconds   = "seconds"
	detailRequester = "requester"
	detailManager   = "requester_manager"
)

// Detail returns, for an audit entry, what the context says of a request for access: nil when it says nothing.
func (c *Context) Detail() map[string]string {
	d := map[string]string{}
	put := func(key, value string) {
		if value != "" {
			d[key] = value
		}
	}
	put(detailRole, c.Role)
	put(detailActions, strings.Join(c.Wanted, ","))
	put(detailRequester, c.Requester)
	put(detailManager, c.Manager)
	if c.Minutes > 0 {
		d[detailSeconds] = strconv.Itoa(c.Minutes * 60)
	}
	if len(d) == 0 {
		return nil
	}
	return d
}

// FromDetail is the way back: it fills in what an entry's detail says of a request for access. Minutes are rounded up.
func (c *Context) FromDetail(d map[string]string) {
	c.Role, c.Requester, c.Manager = d[detailRole], d[detailRequester], d[detailManager]
	if actions := d[detailActions]; actions != "" {
		c.Wanted = strings.Split(actions, ",")
	}
	if seconds, err := strconv.Atoi(d[detailSeconds]); err == nil {
		c.Minutes = (seconds + 59) / 60
	}
}
