package okta

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// LogEvent is one event of the System Log.
type LogEvent struct {
	UUID      string     `json:"uuid"`
	Published time.Time  `json:"published"`
	EventType string     `json:"eventType"`
	Actor     LogParty   `json:"actor"`
	Target    []LogParty `json:"target"`
	Outcome   struct {
		Result string `json:"result"` // SUCCESS, FAILURE, ALLOW, DENY …
		Reason string `json:"reason"`
	} `json:"outcome"`
	AuthenticationContext struct {
		ExternalSessionID string `json:"externalSessionId"`
	} `json:"authenticationContext"`
	Transaction struct {
		ID string `json:"id"`
	} `json:"transaction"`
	DebugContext struct {
		DebugData map[string]any `json:"debugData"`
	} `json:"debugContext"`
}

// LogParty is who did something, or to whom or what it was done.
type LogParty struct {
	ID          string `json:"id"`
	Type        string `json:"type"`
	AlternateID string `json:"alternateId"` // the login of a person
	DisplayName string `json:"displayName"`
}

// Logs returns the next events of the System Log in the order in which Okta stored them, at most 1000, and where to go on: to be kept and
// passed as cursor the next time. With an empty cursor it begins at since. There is always a next cursor; no events means that there are none
// yet.
func (c *Client) Logs(ctx context.Context, cursor string, since time.Time, filter string) (events []LogEvent, next string, err error) {
	u := *c.base
	u.Path = "/api/v1/logs"
	if cursor == "" {
		q := url.Values{"limit": {strconv.Itoa(1000)}, "sortOrder": {"ASCENDING"}, "since": {since.UTC().Format("2006-01-02T15:04:05.000Z")}}
		if filter != "" {
			q.Set("filter", filter)
		}
		u.RawQuery = q.Encode()
	} else if u.RawQuery = cursor; strings.ContainsAny(cursor, "#\n") {
		return nil, "", fmt.Errorf("okta: %q is no cursor of the System Log", clip(cursor))
	}
	events, after, err := page[LogEvent](ctx, c, &u)
	if err != nil {
		return nil, "", err
	}
	if after == nil {
		return nil, "", fmt.Errorf("okta: the System Log's answer has no link to go on from")
	}
	return events, after.RawQuery, nil
}
