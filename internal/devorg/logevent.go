package devorg

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// logParty is an actor or target of a System Log event.
type logParty struct {
	ID          string         `json:"id"`
	Type        string         `json:"type"`
	AlternateID string         `json:"alternateId"`
	DisplayName string         `json:"displayName"`
	Detail      map[string]any `json:"detailEntry"`
}

// logEvent is a LogEvent of Okta's System Log API.
type logEvent struct {
	Actor   logParty       `json:"actor"`
	Client  map[string]any `json:"client"`
	Device  *string        `json:"device"`
	Auth    map[string]any `json:"authenticationContext"`
	Message string         `json:"displayMessage"`
	Type    string         `json:"eventType"`
	Outcome struct {
		Result string  `json:"result"`
		Reason *string `json:"reason"`
	} `json:"outcome"`
	Published   string         `json:"published"`
	Security    map[string]any `json:"securityContext"`
	Severity    string         `json:"severity"`
	Debug       map[string]any `json:"debugContext"`
	Legacy      *string        `json:"legacyEventType"`
	Transaction map[string]any `json:"transaction"`
	UUID        string         `json:"uuid"`
	Version     string         `json:"version"`
	Request     map[string]any `json:"request"`
	Target      []logParty     `json:"target"`
}

// event is what a handler says about something that happened; record adds the circumstances.
type event struct {
	kind, message string
	failure       string // the outcome's reason; empty: success
	actor         logParty
	targets       []logParty
	session       string // the org session's public id
	debug         map[string]any
}

func userParty(u store.User) logParty {
	return logParty{ID: u.ID, Type: "User", AlternateID: u.Login, DisplayName: u.DisplayName()}
}

func groupParty(g store.Group) logParty {
	return logParty{ID: g.ID, Type: "UserGroup", AlternateID: "unknown", DisplayName: g.Name}
}

func appParty(a store.App) logParty {
	return logParty{ID: a.ID, Type: "PublicClientApp", AlternateID: a.ID, DisplayName: a.Label}
}

// record appends an event to the System Log in the transaction of what it tells of: both happen or neither.
func (o *Org) record(tx *store.Tx, c *call, e event) error {
	out := logEvent{
		Actor: e.actor, Message: e.message, Type: e.kind, Published: stamp(c.now), Severity: "INFO", UUID: newUUID(), Version: "0", Target: e.targets,
		Client: map[string]any{
			"userAgent": map[string]any{"rawUserAgent": printable(c.r.UserAgent()), "os": "Unknown", "browser": "UNKNOWN"},
			"zone":      "null", "device": "Unknown", "id": nil, "ipAddress": c.ip(), "geographicalContext": nil,
		},
		Auth: map[string]any{
			"authenticationProvider": nil, "credentialProvider": nil, "credentialType": nil, "issuer": nil, "interface": nil,
			"authenticationStep": 0, "rootSessionId": nil, "externalSessionId": "unknown",
		},
		Security:    map[string]any{"asNumber": nil, "asOrg": nil, "isp": nil, "domain": nil, "isProxy": nil},
		Transaction: map[string]any{"type": "WEB", "id": c.id, "detail": map[string]any{}},
		Request:     map[string]any{"ipChain": []any{}},
	}
	if e.session != "" {
		out.Auth["externalSessionId"], out.Auth["rootSessionId"] = e.session, e.session
	}
	debug := map[string]any{"requestId": c.id, "requestUri": c.r.URL.Path}
	for k, v := range e.debug {
		debug[k] = v
	}
	out.Debug = map[string]any{"debugData": debug}
	out.Outcome.Result = "SUCCESS"
	if e.failure != "" {
		out.Outcome.Result, out.Outcome.Reason, out.Severity = "FAILURE", &e.failure, "WARN"
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encoding a log event: %w", err)
	}
	if err := tx.AddLog(c.now, e.kind, body); err != nil {
		return err
	}
	if e.failure != "" {
		return nil
	}
	return queueDeliveries(tx, e.kind, body)
}

// recordGrant logs the issue of one token.
func (o *Org) recordGrant(tx *store.Tx, c *call, in issue, token, id string) error {
	e := event{
		kind: "app.oauth2.as.token.grant." + token, message: "OAuth2 " + token + " is granted", actor: appParty(in.app),
		targets: []logParty{{ID: id, Type: token, AlternateID: "unknown", DisplayName: token}},
		debug:   map[string]any{"grantedScopes": joinScopes(in.scopes), "authorizationServerId": in.as.ID, "clientId": in.app.ID},
	}
	if in.user != nil {
		e.targets = append(e.targets, userParty(*in.user))
		e.session = in.family.SessionID
	}
	return o.record(tx, c, e)
}

// newUUID makes a random (version 4) UUID.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
