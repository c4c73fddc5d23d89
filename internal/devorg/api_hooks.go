package devorg

import (
	"net/http"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// showHook is Okta's EventHook object. The secret is never shown.
func (o *Org) showHook(h store.EventHook) any {
	self := o.base.String() + "/api/v1/eventHooks/" + h.ID
	return map[string]any{
		"id": h.ID, "name": h.Name, "status": h.Status, "verificationStatus": h.Verification, "created": stamp(h.Created), "createdBy": h.CreatedBy, "lastUpdated": stamp(h.LastUpdated),
		"events":  map[string]any{"type": "EVENT_TYPE", "items": h.Types, "filter": nil},
		"channel": map[string]any{"type": "HTTP", "version": "1.0.0", "config": map[string]any{"uri": h.URI, "headers": []any{}, "method": "POST", "authScheme": map[string]any{"type": "HEADER", "key": h.AuthKey}}},
		"_links":  map[string]any{"self": map[string]any{"href": self}, "verify": map[string]any{"href": self + "/lifecycle/verify", "hints": map[string]any{"allow": []string{"POST"}}}},
	}
}

func pathHook(tx *store.Tx, c *call) (store.EventHook, error) {
	h, err := tx.EventHook(c.r.PathValue("hook"))
	return h, orMissing(err, printable(c.r.PathValue("hook")), "EventHook")
}

// listHooks serves GET /api/v1/eventHooks.
func (o *Org) listHooks(c *call) error {
	var hooks []store.EventHook
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { hooks, err = tx.EventHooks(); return err }); err != nil {
		return err
	}
	out := []any{}
	for _, h := range hooks {
		out = append(out, o.showHook(h))
	}
	c.json(http.StatusOK, out)
	return nil
}

// getHook serves GET /api/v1/eventHooks/{id}.
func (o *Org) getHook(c *call) error {
	var h store.EventHook
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { h, err = pathHook(tx, c); return err }); err != nil {
		return err
	}
	c.json(http.StatusOK, o.showHook(h))
	return nil
}

// hookInput is what a hook is made of.
type hookInput struct {
	Name   string `json:"name"`
	Events struct {
		Type  string   `json:"type"`
		Items []string `json:"items"`
	} `json:"events"`
	Channel struct {
		Type   string `json:"type"`
		Config struct {
			URI  string `json:"uri"`
			Auth struct {
				Type  string `json:"type"`
				Key   string `json:"key"`
				Value string `json:"value"`
			} `json:"authScheme"`
		} `json:"config"`
	} `json:"channel"`
}

func (in *hookInput) check() error {
	switch {
	case strings.TrimSpace(in.Name) == "":
		return invalid("name", "name: The field cannot be left blank")
	case in.Events.Type != "EVENT_TYPE" || len(in.Events.Items) == 0:
		return invalid("events", "events: type must be EVENT_TYPE, with at least one item")
	case in.Channel.Type != "HTTP" || !checkHookURI(in.Channel.Config.URI):
		return invalid("channel", "channel: type must be HTTP, and config.uri an https URL (or http on loopback)")
	case in.Channel.Config.Auth.Key != "" && (in.Channel.Config.Auth.Type != "HEADER" || strings.ContainsAny(in.Channel.Config.Auth.Key+in.Channel.Config.Auth.Value, "\r\n: ")):
		return invalid("authScheme", "authScheme: type must be HEADER, with the name of a header and a value")
	}
	for _, t := range in.Events.Items {
		if !slices.Contains(hookTypes, t) {
			return invalid("events.items", "events.items: "+printable(t)+" is not eligible for event hooks")
		}
	}
	return nil
}

func (in *hookInput) apply(h *store.EventHook) {
	h.Name, h.Types = in.Name, in.Events.Items
	if h.URI != in.Channel.Config.URI {
		h.URI, h.Verification = in.Channel.Config.URI, store.Unverified
	}
	h.AuthKey = in.Channel.Config.Auth.Key
	if in.Channel.Config.Auth.Value != "" || h.AuthKey == "" {
		h.AuthValue = in.Channel.Config.Auth.Value
	}
}

// createHook serves POST /api/v1/eventHooks. A hook is active at once and delivers when it is verified.
func (o *Org) createHook(c *call) error {
	var in hookInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	h := store.EventHook{ID: newID("who"), Status: store.Active, Verification: store.Unverified, CreatedBy: c.api.party.ID, Created: c.now, LastUpdated: c.now}
	in.apply(&h)
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		if err := tx.PutEventHook(h); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "event_hook.created", message: "Event hook created", actor: c.api.party, targets: []logParty{hookParty(h)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showHook(h))
	return nil
}

func hookParty(h store.EventHook) logParty {
	return logParty{ID: h.ID, Type: "EventHook", AlternateID: "unknown", DisplayName: h.Name}
}

// replaceHook serves PUT /api/v1/eventHooks/{id}. Another address has to be verified anew.
func (o *Org) replaceHook(c *call) error {
	var in hookInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	var h store.EventHook
	err := o.update(c.r.Context(), func(tx *store.Tx) (err error) {
		if h, err = pathHook(tx, c); err != nil {
			return err
		}
		in.apply(&h)
		h.LastUpdated = c.now
		if err := tx.PutEventHook(h); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "event_hook.updated", message: "Event hook updated", actor: c.api.party, targets: []logParty{hookParty(h)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showHook(h))
	return nil
}

// deleteHook serves DELETE /api/v1/eventHooks/{id}: of an inactive hook.
func (o *Org) deleteHook(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		h, err := pathHook(tx, c)
		if err != nil {
			return err
		}
		if h.Status != store.Inactive {
			return invalid("status", "status: Only an INACTIVE event hook can be deleted")
		}
		if err := tx.DeleteEventHook(h.ID); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "event_hook.deleted", message: "Event hook deleted", actor: c.api.party, targets: []logParty{hookParty(h)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// changeHook serves POST /api/v1/eventHooks/{id}/lifecycle/{verify,activate,deactivate}.
func (o *Org) changeHook(c *call) error {
	var h store.EventHook
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { h, err = pathHook(tx, c); return err }); err != nil {
		return err
	}
	step := c.r.PathValue("step")
	kinds := map[string]string{"verify": "event_hook.verified", "activate": "event_hook.activated", "deactivate": "event_hook.deactivated"}
	if kinds[step] == "" {
		return missing(printable(c.r.URL.Path), "this development org does not serve it")
	}
	asked := h.URI
	if step == "verify" {
		if err := o.hooks.verifyHook(c.r.Context(), h); err != nil {
			return err
		}
	}
	err := o.update(c.r.Context(), func(tx *store.Tx) (err error) {
		if h, err = pathHook(tx, c); err != nil {
			return err
		}
		switch step {
		case "verify":
			if h.URI != asked {
				return invalid("verification", "The event hook was changed while it was verified")
			}
			h.Verification = store.Verified
		case "activate":
			h.Status = store.Active
		case "deactivate":
			h.Status = store.Inactive
		}
		h.LastUpdated = c.now
		if err := tx.PutEventHook(h); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: kinds[step], message: "Event hook changed", actor: c.api.party, targets: []logParty{hookParty(h)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showHook(h))
	return nil
}
