package devorg

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// logWindow is how far back a query without `since` looks.
const logWindow = 7 * 24 * time.Hour

// logScan bounds how many rows one request reads when a filter drops most of them.
const logScan = 5000

// listLogs serves GET /api/v1/logs. Without `until` and ascending it is polling: events in persistence order, and always a
// rel="next" to continue from, even after an empty page.
func (o *Org) listLogs(c *call) error {
	p, err := c.paging(100, 1000)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	match, err := parseFilter(q.Get("filter"))
	if err != nil {
		return invalid("filter", "filter: "+err.Error())
	}
	query, err := logQuery(c, p)
	if err != nil {
		return err
	}
	words := strings.ToLower(q.Get("q"))
	out := []json.RawMessage{}
	cursor, exhausted := query.After, false
	err = o.view(c.r.Context(), func(tx *store.Tx) error {
		for scanned := 0; len(out) < p.limit && scanned < logScan && !exhausted; {
			query.Limit, query.After = p.limit, cursor
			rows, err := tx.Logs(query)
			if err != nil {
				return err
			}
			exhausted = len(rows) < query.Limit
			for _, row := range rows {
				if len(out) == p.limit {
					exhausted = false
					break
				}
				scanned++
				cursor = row.Seq
				if words != "" && !strings.Contains(strings.ToLower(string(row.Event)), words) || !match(eventAttribute(row)) {
					continue
				}
				out = append(out, row.Event)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	polling := query.Until.IsZero() && !query.Descending
	next := ""
	if polling || !exhausted {
		next = strconv.FormatInt(cursor, 10)
		if cursor == 0 && query.Since.After(time.UnixMilli(0)) {
			// Nothing yet: the cursor must not forget where the caller wanted to start.
			next = "since_" + strconv.FormatInt(query.Since.UnixMilli(), 10)
		}
	}
	c.links(next)
	c.json(http.StatusOK, out)
	return nil
}

// logQuery reads since, until, after and sortOrder.
func logQuery(c *call, p pageParams) (store.LogQuery, error) {
	q := c.r.URL.Query()
	var out store.LogQuery
	if q.Get("since") != "" && q.Get("after") != "" {
		return out, invalid("since", "since: since and after exclude each other")
	}
	for name, into := range map[string]*time.Time{"since": &out.Since, "until": &out.Until} {
		if raw := q.Get(name); raw != "" {
			t, err := time.Parse(time.RFC3339Nano, raw)
			if err != nil {
				return out, invalid(name, name+": must be a timestamp like 2026-01-02T15:04:05.000Z")
			}
			*into = t
		}
	}
	switch order := strings.ToUpper(q.Get("sortOrder")); order {
	case "", "ASCENDING":
	case "DESCENDING":
		out.Descending = true
	default:
		return out, invalid("sortOrder", "sortOrder: must be ASCENDING or DESCENDING")
	}
	if since, ok := strings.CutPrefix(p.after, "since_"); ok {
		ms, err := strconv.ParseInt(since, 10, 64)
		if err != nil {
			return out, invalid("after", "after: not a cursor of this log")
		}
		out.Since = time.UnixMilli(ms)
	} else if p.after != "" {
		seq, err := strconv.ParseInt(p.after, 10, 64)
		if err != nil || seq < 0 {
			return out, invalid("after", "after: not a cursor of this log")
		}
		out.After = seq
	} else if out.Since.IsZero() {
		out.Since = c.now.Add(-logWindow)
	}
	return out, nil
}

// eventAttribute is what a log filter can name.
func eventAttribute(row store.LogRow) func(string) []string {
	var e logEvent
	parsed := false
	return func(name string) []string {
		if name == "eventType" {
			return []string{row.EventType}
		}
		if !parsed {
			if json.Unmarshal(row.Event, &e) != nil {
				return nil
			}
			parsed = true
		}
		party := func(p logParty, field string) []string {
			return []string{map[string]string{"id": p.ID, "type": p.Type, "alternateId": p.AlternateID, "displayName": p.DisplayName}[field]}
		}
		if field, ok := strings.CutPrefix(name, "actor."); ok {
			return party(e.Actor, field)
		}
		if field, ok := strings.CutPrefix(name, "target."); ok {
			var out []string
			for _, t := range e.Target {
				out = append(out, party(t, field)...)
			}
			return out
		}
		switch name {
		case "outcome.result":
			return []string{e.Outcome.Result}
		case "published":
			return []string{e.Published}
		case "uuid":
			return []string{e.UUID}
		case "severity":
			return []string{e.Severity}
		case "transaction.id":
			id, _ := e.Transaction["id"].(string)
			return []string{id}
		}
		return nil
	}
}
