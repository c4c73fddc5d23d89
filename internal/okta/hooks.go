package okta

import (
	"context"
	"net/http"
	"net/url"
)

// EventHook sends events of some types to an address. Its secret is written and never read.
type EventHook struct {
	ID           string
	Name         string
	Status       string // ACTIVE or INACTIVE
	Verification string // UNVERIFIED or VERIFIED; only a verified hook is delivered to
	URI          string
	Header       string // that carries the secret, such as "Authorization"
	Types        []string
}

// hookWire is Okta's form of it.
type hookWire struct {
	ID           string `json:"id,omitempty"`
	Name         string `json:"name"`
	Status       string `json:"status,omitempty"`
	Verification string `json:"verificationStatus,omitempty"`
	Events       struct {
		Type  string   `json:"type"`
		Items []string `json:"items"`
	} `json:"events"`
	Channel struct {
		Type    string `json:"type"`
		Version string `json:"version"`
		Config  struct {
			URI  string `json:"uri"`
			Auth struct {
				Type  string `json:"type"`
				Key   string `json:"key"`
				Value string `json:"value,omitempty"`
			} `json:"authScheme"`
		} `json:"config"`
	} `json:"channel"`
}

func (w *hookWire) hook() EventHook {
	return EventHook{ID: w.ID, Name: w.Name, Status: w.Status, Verification: w.Verification, URI: w.Channel.Config.URI, Header: w.Channel.Config.Auth.Key, Types: w.Events.Items}
}

func (h *EventHook) wire(secret string) hookWire {
	w := hookWire{Name: h.Name}
	w.Events.Type, w.Events.Items = "EVENT_TYPE", h.Types
	w.Channel.Type, w.Channel.Version, w.Channel.Config.URI = "HTTP", "1.0.0", h.URI
	w.Channel.Config.Auth.Type, w.Channel.Config.Auth.Key, w.Channel.Config.Auth.Value = "HEADER", h.Header, secret
	return w
}

// EventHooks lists the org's event hooks.
func (c *Client) EventHooks(ctx context.Context) (out []EventHook, err error) {
	for w, err := range pages[hookWire](ctx, c, "/api/v1/eventHooks", nil) {
		if err != nil {
			return nil, err
		}
		out = append(out, w.hook())
	}
	return out, nil
}

// CreateEventHook makes a hook; it delivers when VerifyEventHook has succeeded.
func (c *Client) CreateEventHook(ctx context.Context, h EventHook, secret string) (EventHook, error) {
	var out hookWire
	_, err := c.do(ctx, http.MethodPost, "/api/v1/eventHooks", nil, h.wire(secret), &out)
	return out.hook(), err
}

// ReplaceEventHook changes a hook. One with another address must be verified anew.
func (c *Client) ReplaceEventHook(ctx context.Context, h EventHook, secret string) (EventHook, error) {
	var out hookWire
	_, err := c.do(ctx, http.MethodPut, hookPath(h.ID, ""), nil, h.wire(secret), &out)
	return out.hook(), err
}

// VerifyEventHook makes Okta ask the address for the echo of a challenge.
func (c *Client) VerifyEventHook(ctx context.Context, id string) (EventHook, error) {
	return c.changeHook(ctx, id, "verify")
}

// ActivateEventHook begins deliveries again.
func (c *Client) ActivateEventHook(ctx context.Context, id string) (EventHook, error) {
	return c.changeHook(ctx, id, "activate")
}

// DeactivateEventHook ends deliveries.
func (c *Client) DeactivateEventHook(ctx context.Context, id string) (EventHook, error) {
	return c.changeHook(ctx, id, "deactivate")
}

// DeleteEventHook removes an inactive hook for good.
func (c *Client) DeleteEventHook(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodDelete, hookPath(id, ""), nil, nil, nil)
	return err
}

func (c *Client) changeHook(ctx context.Context, id, step string) (EventHook, error) {
	var out hookWire
	_, err := c.do(ctx, http.MethodPost, hookPath(id, "/lifecycle/"+step), nil, nil, &out)
	return out.hook(), err
}

func hookPath(id, rest string) string { return "/api/v1/eventHooks/" + url.PathEscape(id) + rest }
