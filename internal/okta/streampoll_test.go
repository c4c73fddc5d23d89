package okta

import "testing"

// The app's token goes to the org and nowhere else.
func TestStreamsArePolledAtTheOrgAlone(t *testing.T) {
	c, err := New(Config{URL: "https://acme.okta.example", Credentials: APIToken("t")})
	if err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{"", "https://evil.example/poll", "http://acme.okta.example/poll", "https://acme.okta.example@evil.example/poll", "https://u@acme.okta.example/poll", "https://acme.okta.example:444/poll", ":"} {
		if _, err := c.PollStream(t.Context(), endpoint, StreamPoll{}); err == nil || err.Error() != "okta: polling a stream: its endpoint is not the org's" {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
