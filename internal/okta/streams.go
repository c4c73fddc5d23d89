package okta

import (
	"context"
	"net/http"
	"net/url"
)

// Stream is a Shared Signals stream: security event tokens of some types, pushed to an address (RFC 8935) or, which Okta itself does
// not offer, kept until they are asked for (RFC 8936). A service app has one at most.
// Its secret is written and never read. The app needs ssf.manage.
type Stream struct {
	ID       string
	Audience string   // that its tokens are for, as the org says
	Polled   bool     // they are asked for
	Endpoint string   // where they are pushed, or asked for, as the org says
	Types    []string // that were asked for
}

// streamWire is Okta's form of it.
type streamWire struct {
	ID        string   `json:"stream_id,omitempty"`
	Audience  any      `json:"aud,omitempty"` // a text, or a list of one
	Requested []string `json:"events_requested"`
	Format    string   `json:"format"`
	Delivery  struct {
		Method   string `json:"method"`
		Endpoint string `json:"endpoint_url,omitempty"`
		Secret   string `json:"authorization_header,omitempty"`
	} `json:"delivery"`
}

func (w *streamWire) stream() Stream {
	s := Stream{ID: w.ID, Polled: w.Delivery.Method == pollMethod, Endpoint: w.Delivery.Endpoint, Types: w.Requested}
	switch aud := w.Audience.(type) {
	case string:
		s.Audience = aud
	case []any:
		if len(aud) == 1 {
			s.Audience, _ = aud[0].(string)
		}
	}
	return s
}

func (s *Stream) wire(secret string) streamWire {
	w := streamWire{ID: s.ID, Requested: s.Types, Format: "iss_sub"}
	w.Delivery.Method, w.Delivery.Endpoint, w.Delivery.Secret = "urn:ietf:rfc:8935", s.Endpoint, secret
	if s.Polled {
		w.Delivery.Method, w.Delivery.Endpoint, w.Delivery.Secret = pollMethod, "", ""
	}
	return w
}

const streamPath = "/api/v1/ssf/stream"

// Streams lists the app's stream, if it has one.
func (c *Client) Streams(ctx context.Context) (out []Stream, err error) {
	var wire []streamWire
	if _, err = c.do(ctx, http.MethodGet, streamPath, nil, nil, &wire); err != nil {
		return nil, err
	}
	for i := range wire {
		out = append(out, wire[i].stream())
	}
	return out, nil
}

// CreateStream makes the app's stream.
func (c *Client) CreateStream(ctx context.Context, s Stream, secret string) (Stream, error) {
	var out streamWire
	_, err := c.do(ctx, http.MethodPost, streamPath, nil, s.wire(secret), &out)
	return out.stream(), err
}

// ReplaceStream changes it.
func (c *Client) ReplaceStream(ctx context.Context, s Stream, secret string) (Stream, error) {
	var out streamWire
	_, err := c.do(ctx, http.MethodPut, streamPath, nil, s.wire(secret), &out)
	return out.stream(), err
}

// VerifyStream asks for a verification event that carries the state.
func (c *Client) VerifyStream(ctx context.Context, id, state string) error {
	_, err := c.do(ctx, http.MethodPost, streamPath+"/verification", nil, map[string]string{"stream_id": id, "state": state}, nil)
	return err
}

// DeleteStream ends it.
func (c *Client) DeleteStream(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodDelete, streamPath, url.Values{"stream_id": {id}}, nil, nil)
	return err
}

// ResetPassword sends somebody a mail to choose another password, and ends their sessions.
func (c *Client) ResetPassword(ctx context.Context, userID string) error {
	_, err := c.do(ctx, http.MethodPost, "/api/v1/users/"+url.PathEscape(userID)+"/lifecycle/reset_password", url.Values{"sendEmail": {"true"}}, nil, nil)
	return err
}
