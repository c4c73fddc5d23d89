package devorg

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// polling is a receiver that asks.
type polling struct {
	*testOrg
	t   *testing.T
	id  string
	aud string
}

// poll asks, and returns the tokens by jti, each of which must be this org's and for this stream.
func (p *polling) poll(ask map[string]any) (events map[string]string, more bool) {
	p.t.Helper()
	answer := p.api("POST", pollPath, ask).want(200).json()
	sets, ok := answer["sets"].(map[string]any)
	if !ok {
		p.t.Fatalf("no sets: %v", answer)
	}
	events = map[string]string{}
	for jti, raw := range sets {
		claims := p.openPublished(raw.(string), "secevent+jwt")
		if string(claims["jti"]) != `"`+jti+`"` || string(claims["aud"]) != `"`+p.aud+`"` {
			p.t.Errorf("%s: %s", jti, claims)
		}
		events[jti] = string(claims["events"])
	}
	more, _ = answer["moreAvailable"].(bool)
	return events, more
}

func newPolling(t *testing.T) *polling {
	p := &polling{testOrg: newTestOrg(t), t: t}
	made := p.api("POST", "/api/v1/ssf/stream", map[string]any{"events_requested": setTypes, "delivery": map[string]any{"method": pollMethod}}).want(201).json()
	p.id, _ = made["stream_id"].(string)
	p.aud, _ = made["aud"].(string)
	if d, _ := made["delivery"].(map[string]any); d["method"] != pollMethod || d["endpoint_url"] != p.url+pollPath+"?stream_id="+p.id || p.aud != d["endpoint_url"] {
		t.Fatalf("%v", made)
	}
	return p
}

// RFC 8936: what is not acknowledged comes again, oldest first and no more than wanted; what is, or was refused, does not.
func TestPolledSignals(t *testing.T) {
	p := newPolling(t)
	const alice = "/api/v1/users/alice@acme.example"
	now := map[string]any{"returnImmediately": true}
	if got, more := p.poll(now); len(got) != 0 || more {
		t.Errorf("before anything happened: %v", got)
	}
	for _, step := range []string{"suspend", "unsuspend", "deactivate"} {
		p.api("POST", alice+"/lifecycle/"+step, nil).want(200)
	}
	p.api("POST", "/api/v1/ssf/stream/verification", map[string]any{"stream_id": p.id, "state": "hello"}).want(204)
	all, more := p.poll(now)
	again, _ := p.poll(now)
	if len(all) != 4 || more || !maps.Equal(all, again) {
		t.Fatalf("%v, and again %v", all, again)
	}
	find := func(what ...string) (jtis []string) {
		for jti, events := range all {
			if slices.ContainsFunc(what, func(w string) bool { return strings.Contains(events, w) }) {
				jtis = append(jtis, jti)
			}
		}
		return jtis
	}
	hello, enabled, disabled := find(`"state":"hello"`), find("account-enabled"), find("account-disabled")
	if len(hello) != 1 || len(enabled) != 1 || len(disabled) != 2 {
		t.Fatalf("%v", all)
	}
	if got, more := p.poll(map[string]any{"returnImmediately": true, "maxEvents": 2}); len(got) != 2 || !more || got[hello[0]] == "" || got[enabled[0]] != "" {
		t.Errorf("the two oldest: %v, %v", got, more)
	}
	if got, more := p.poll(map[string]any{"maxEvents": 0}); len(got) != 0 || !more {
		t.Errorf("none are wanted: %v, %v", got, more)
	}
	// One from the middle, and one refused; ids that mean nothing are passed over.
	if got, _ := p.poll(map[string]any{"returnImmediately": true, "ack": []string{enabled[0], "nothing"}, "setErrs": map[string]any{hello[0]: map[string]any{"err": "invalid_key", "description": "try"}}}); len(got) != 2 || got[disabled[0]] == "" || got[disabled[1]] == "" {
		t.Errorf("after acknowledgements: %v", got)
	}
	p.api("DELETE", "/api/v1/users/bob@acme.example/sessions", nil).want(204)
	if got, _ := p.poll(map[string]any{"ack": disabled}); len(got) != 1 {
		t.Errorf("what came since: %v", got)
	} else if got, _ = p.poll(map[string]any{"returnImmediately": true, "ack": slices.Collect(maps.Keys(got))}); len(got) != 0 {
		t.Errorf("after all was acknowledged: %v", got)
	}
	for _, bad := range []map[string]any{{"maxEvents": -1}, {"ack": make([]string, maxAcks+1)}, {"ack": "one"}} {
		if status := p.api("POST", pollPath, bad).status; status != 400 {
			t.Errorf("%v: %d", bad, status)
		}
	}
}

// An asking waits for something to happen.
func TestPollIsHeld(t *testing.T) {
	p := newPolling(t)
	got := make(chan int, 1)
	go func() {
		answer := p.api("POST", pollPath, map[string]any{}).json()
		sets, _ := answer["sets"].(map[string]any)
		got <- len(sets)
	}()
	p.api("POST", "/api/v1/users/alice@acme.example/lifecycle/suspend", nil).want(200)
	if n := <-got; n != 1 { // before or after the asking: it is told either way
		t.Errorf("%d tokens", n)
	}
}

// A stream is polled or pushed, and where it is polled is the org's to say.
func TestStreamsArePolledOrPushed(t *testing.T) {
	p := newPolling(t)
	poll := map[string]any{"method": pollMethod, "endpoint_url": "https://x.example/"}
	p.api("PUT", "/api/v1/ssf/stream", map[string]any{"events_requested": setTypes, "delivery": poll}).wantAPI(400, "E0000001")
	l := newListener(t)
	p.api("POST", "/api/v1/users/alice@acme.example/lifecycle/suspend", nil).want(200)
	p.api("PUT", "/api/v1/ssf/stream", map[string]any{"events_requested": setTypes, "delivery": map[string]any{"method": pushMethod, "endpoint_url": l.URL}}).want(200)
	l.wait(t, 1) // what was not acknowledged is not lost
	p.api("POST", pollPath, map[string]any{"returnImmediately": true}).wantAPI(404, "E0000007")
}
