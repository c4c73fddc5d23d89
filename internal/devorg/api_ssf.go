package devorg

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// signalRoutes are those of Shared Signals and Universal Logout.
func (o *Org) signalRoutes() []route {
	const read, manage, devOnly = "ssf.read", "ssf.manage", "dev.faults"
	return []route{
		{"GET", "/.well-known/ssf-configuration", "", "", o.ssfMetadata},
		{"GET", "/api/v1/ssf/stream", "ssf", read, o.getStream},
		{"POST", "/api/v1/ssf/stream", "ssf", manage, o.createStream},
		{"PUT", "/api/v1/ssf/stream", "ssf", manage, o.replaceStream},
		{"DELETE", "/api/v1/ssf/stream", "ssf", manage, o.deleteStream},
		{"GET", "/api/v1/ssf/stream/status", "ssf", read, o.streamStatus},
		{"POST", pollPath, "ssf", read, o.pollStream},
		{"POST", "/api/v1/ssf/stream/verification", "ssf", manage, o.verifyStream},

		// Not Okta's, whose admin console sets it: where Universal Logout calls.
		{"GET", "/dev/logout", "", devOnly, o.getLogout},
		{"PUT", "/dev/logout", "", devOnly, o.putLogout},
	}
}

// ssfMetadata serves GET /.well-known/ssf-configuration (SSF 1.0 section 7).
func (o *Org) ssfMetadata(c *call) error {
	base := o.base.String()
	c.json(http.StatusOK, map[string]any{
		"spec_version": "1_0-ID2", "issuer": base, "jwks_uri": base + "/oauth2/v1/keys", "delivery_methods_supported": []string{pushMethod, pollMethod},
		"configuration_endpoint": base + "/api/v1/ssf/stream", "status_endpoint": base + "/api/v1/ssf/stream/status", "verification_endpoint": base + "/api/v1/ssf/stream/verification",
		"authorization_schemes": []any{map[string]any{"spec_urn": "urn:ietf:rfc:6749"}},
	})
	return nil
}

func (o *Org) showStream(s stream) any {
	return map[string]any{
		"stream_id": s.ID, "iss": o.base.String(), "aud": s.Endpoint, "format": "iss_sub", "min_verification_interval": 0,
		"events_supported": setTypes, "events_requested": s.Requested, "events_delivered": s.Requested,
		"delivery": map[string]any{"method": cmp.Or(s.Method, pushMethod), "endpoint_url": s.Endpoint},
	}
}

// own finds the caller's stream.
func own(tx *store.Tx, c *call) (all []stream, i int, err error) {
	if all, err = streams(tx); err != nil {
		return nil, -1, err
	}
	id := c.r.URL.Query().Get("stream_id")
	return all, slices.IndexFunc(all, func(s stream) bool { return s.Client == c.api.party.ID && (id == "" || s.ID == id) }), nil
}

func noStream(c *call) error { return missing(printable(c.r.URL.Query().Get("stream_id")), "Stream") }

// getStream serves GET /api/v1/ssf/stream: a list, or the one that stream_id names.
func (o *Org) getStream(c *call) error {
	out := []any{}
	if err := o.view(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := own(tx, c)
		if err == nil && i >= 0 {
			out = append(out, o.showStream(all[i]))
		}
		return err
	}); err != nil {
		return err
	}
	switch {
	case c.r.URL.Query().Get("stream_id") == "":
		c.json(http.StatusOK, out)
	case len(out) == 0:
		return noStream(c)
	default:
		c.json(http.StatusOK, out[0])
	}
	return nil
}

// createStream serves POST /api/v1/ssf/stream. It tells what happens from now on.
func (o *Org) createStream(c *call) error {
	var in streamInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	s := stream{ID: newID("esc"), Client: c.api.party.ID, Created: c.now}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := own(tx, c)
		if err != nil {
			return err
		}
		if i >= 0 {
			return &apiError{Status: http.StatusConflict, Code: "E0000267", Summary: "Client already has an existing SSF stream."}
		}
		if s.Sent, err = lastLog(tx); err != nil {
			return err
		}
		in.apply(&s, o.base.String())
		return setMetaJSON(tx, metaStreams, append(all, s))
	})
	if err != nil {
		return err
	}
	c.json(http.StatusCreated, o.showStream(s))
	return nil
}

// replaceStream serves PUT /api/v1/ssf/stream.
func (o *Org) replaceStream(c *call) error {
	var in streamInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	var s stream
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := own(tx, c)
		if err != nil {
			return err
		}
		if i < 0 || in.ID != "" && all[i].ID != in.ID {
			return noStream(c)
		}
		in.apply(&all[i], o.base.String())
		s = all[i]
		return setMetaJSON(tx, metaStreams, all)
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showStream(s))
	return nil
}

// deleteStream serves DELETE /api/v1/ssf/stream.
func (o *Org) deleteStream(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := own(tx, c)
		if err != nil {
			return err
		}
		if i < 0 {
			return noStream(c)
		}
		return setMetaJSON(tx, metaStreams, slices.Delete(all, i, i+1))
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// streamStatus serves GET /api/v1/ssf/stream/status. Okta's streams are always enabled.
func (o *Org) streamStatus(c *call) error {
	var id string
	if err := o.view(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := own(tx, c)
		if err == nil && i >= 0 {
			id = all[i].ID
		}
		return err
	}); err != nil {
		return err
	}
	if id == "" {
		return noStream(c)
	}
	c.json(http.StatusOK, map[string]any{"stream_id": id, "status": "enabled"})
	return nil
}

// verifyStream serves POST /api/v1/ssf/stream/verification: a verification event follows, asynchronously.
func (o *Org) verifyStream(c *call) error {
	var in struct {
		ID    string `json:"stream_id"`
		State string `json:"state"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		all, i, err := own(tx, c)
		if err != nil {
			return err
		}
		if i < 0 || in.ID != all[i].ID {
			return noStream(c)
		}
		all[i].Verify = append(all[i].Verify, in.State)
		return setMetaJSON(tx, metaStreams, all)
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
