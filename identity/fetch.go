package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

const maxDocument = 1 << 20 // bytes of a discovery document or key set, after decompression

// fetcher gets small JSON documents from issuers.
type fetcher struct{ client *http.Client }

var errNotFound = errors.New("status 404")

// newFetcher keeps the caller's transport but not its redirect policy nor its cookies.
func newFetcher(c *http.Client) fetcher {
	own := *c
	own.Jar = nil
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		first := via[0].URL
		if len(via) > 3 || req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			return fmt.Errorf("refusing redirect to %s://%s", req.URL.Scheme, req.URL.Host)
		}
		return nil
	}
	return fetcher{&own}
}

// get returns the body of a 200 answer of a JSON type. ctx bounds the whole of it, body included.
func (f fetcher) get(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", from, err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err) // *url.Error names method and URL
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("fetching %s: %w", from, errNotFound)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching %s: status %d", from, resp.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")) {
		return nil, fmt.Errorf("fetching %s: content type %s is not JSON", from, quoted(resp.Header.Get("Content-Type")))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: reading body: %w", from, err)
	}
	if len(body) > maxDocument {
		return nil, fmt.Errorf("fetching %s: body is larger than 1 MB", from)
	}
	return body, nil
}

// discover finds where an issuer's keys are: OpenID Connect Discovery 1.0 section 4, else Okta's form of RFC 8414.
// The document's issuer must be the issuer to the letter, and its keys must be on the issuer's own host.
func (f fetcher) discover(ctx context.Context, issuer string) (string, error) {
	base := strings.TrimSuffix(issuer, "/") + "/.well-known/"
	body, err := f.get(ctx, base+"openid-configuration")
	if errors.Is(err, errNotFound) {
		body, err = f.get(ctx, base+"oauth-authorization-server")
	}
	if err != nil {
		return "", fmt.Errorf("discovering issuer: %w", err)
	}
	doc, err := parseObject(string(body), nil)
	if err != nil {
		return "", fmt.Errorf("reading discovery document: %w", err)
	}
	var said, keys string
	for _, m := range doc {
		switch m.name {
		case "issuer":
			said, _ = stringValue(m.value)
		case "jwks_uri":
			keys, _ = stringValue(m.value)
		}
	}
	if said != issuer {
		return "", fmt.Errorf("discovery document of %s is for issuer %s", issuer, quoted(said))
	}
	home, err := url.Parse(issuer)
	if err != nil {
		return "", fmt.Errorf("reading issuer: %w", err)
	}
	at, err := url.Parse(keys)
	if err != nil || at.Scheme != home.Scheme || at.Host != home.Host || at.User != nil {
		return "", fmt.Errorf("discovery document's jwks_uri %s is not on the issuer's own host; set the issuer's JWKS URL if that is meant", quoted(keys))
	}
	return keys, nil
}
