package okta

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

const pollMethod = "urn:ietf:rfc:8936"

// StreamPoll is an asking for a stream's tokens (RFC 8936 section 2.2).
type StreamPoll struct {
	Most      int                    `json:"maxEvents"`
	Immediate bool                   `json:"returnImmediately"` // don't wait for one
	Ack       []string               `json:"ack,omitempty"`     // jti of tokens that were taken
	Errors    map[string]StreamError `json:"setErrs,omitempty"` // of those that were refused
}

// StreamError is why a token was refused (section 2.6).
type StreamError struct {
	Code string `json:"err"`
	Text string `json:"description"`
}

// StreamTokens is the answer (section 2.3).
type StreamTokens struct {
	Sets map[string]string `json:"sets"` // by jti
	More bool              `json:"moreAvailable"`
}

// PollStream asks at a stream's endpoint, which must be the org's own: the app's access token goes there.
func (c *Client) PollStream(ctx context.Context, endpoint string, ask StreamPoll) (out StreamTokens, err error) {
	at, err := url.Parse(endpoint)
	if err != nil || at.Scheme != c.base.Scheme || at.Host != c.base.Host || at.User != nil {
		return out, errors.New("okta: polling a stream: its endpoint is not the org's")
	}
	_, err = c.do(ctx, http.MethodPost, strings.TrimPrefix(at.Path, c.base.Path), at.Query(), ask, &out)
	return out, err
}
