package main

import (
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// A log may be of several gates: what one says of its policies is not taken for what another decides by.
func TestEachGateIsHeardForItself(t *testing.T) {
	begin := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	heard := map[string]*gateForce{}
	for i, e := range []audit.Entry{
		{Gate: "east", Kind: audit.KindGate, Detail: map[string]string{"event": "started", "policy_digest": "old"}},
		{Gate: "west", Kind: audit.KindGate, Detail: map[string]string{"event": "started", "policy_digest": "old"}},
		{Gate: "east", Kind: audit.KindPolicy, Detail: map[string]string{"policy_digest": "new"}},
		{Gate: "west", Kind: audit.KindPolicy, Detail: map[string]string{"policy_digest": "old", "error_digest": "e"}},
		{Gate: "north", Kind: audit.KindGate, Detail: map[string]string{"event": "started", "policy_digest": "new"}},
		{Gate: "north", Kind: audit.KindGate, Detail: map[string]string{"event": "stopped"}},
		{Gate: "south", Kind: audit.KindGate, Detail: map[string]string{"event": "stopped"}}, // it never said
		{Gate: "east", Kind: audit.KindDecision, Detail: map[string]string{"policy_digest": "no news"}},
	} {
		e.Time = begin.Add(time.Duration(i) * time.Minute)
		hear(heard, e)
	}
	at := func(minute int) time.Time { return begin.Add(time.Duration(minute) * time.Minute) }
	for _, want := range []gateForce{
		{Gate: "east", Running: true, Digest: "new", Since: at(2)},
		{Gate: "west", Running: true, Digest: "old", Since: at(1), Refused: true, RefusedAt: at(3), failure: "e"},
		{Gate: "north", Digest: "new", Since: at(4)},
	} {
		if got := heard[want.Gate]; got == nil || *got != want {
			t.Errorf("%s: %+v, want %+v", want.Gate, got, want)
		}
	}
	if len(heard) != 3 {
		t.Errorf("%d gates were heard, want 3: %v", len(heard), heard)
	}
}

// What failed is called by its name: a bundle that ran out is no set that was refused.
func TestFailuresOfAGateAreCalledByTheirNames(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	mistakes := []policy.Problem{{File: "a.cedar", Text: "no"}}
	for name, test := range map[string]struct {
		s          inForce
		want, line string // of the one gate, and of one among several
	}{
		"a bundle expired": {inForce{gateForce: gateForce{Serial: 7, Expires: at, Refused: true, RefusedAt: at.Add(time.Second)}}, "no newer bundle could be put in force since 2026-11-23 ", "expired"},
		"to the second":    {inForce{gateForce: gateForce{Serial: 7, Expires: at, Refused: true, RefusedAt: at}}, "no newer bundle could be put in force since 2026-11-23 ", "expired"},
		"a bundle did not come, the last one is good": {inForce{gateForce: gateForce{Serial: 7, Expires: at.AddDate(100, 0, 0), Refused: true, RefusedAt: at}},
			"could not fetch a newer bundle, or refused it, 2026-11-23 ", "has no newer bundle"},
		"it came later than a failure": {inForce{gateForce: gateForce{Serial: 7, Expires: at, Refused: true, RefusedAt: at.Add(-time.Second)}}, "could not fetch a newer bundle", "has no newer bundle"},
		"a directory":                  {inForce{gateForce: gateForce{Refused: true, RefusedAt: at}}, "refused another set 2026-11-23 ", "refused another set"},
		"the directory as it is":       {inForce{gateForce: gateForce{Refused: true, RefusedAt: at}, Problems: mistakes, SameError: true}, "refused another set", "refused another set"},
		"another mistake in it":        {inForce{gateForce: gateForce{Refused: true, RefusedAt: at}, Problems: mistakes}, "refused another set", "refused another set"},
	} {
		var out buffer
		a := newApp(strings.NewReader(""), &out, &out)
		test.s.Running, test.s.Digest = true, "d"
		got := a.refusedWords(test.s, func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") })
		if !strings.HasPrefix(got, test.want) || strings.HasSuffix(got, ": the one on disk") != test.s.SameError || strings.Contains(got, "own log says why") == test.s.SameError {
			t.Errorf("%s: %q", name, got)
		}
		line := a.gateLine(test.s.gateForce, "d")
		if !strings.Contains(line, test.line) || strings.Contains(line, "refused another set") != strings.Contains(test.line, "refused another set") {
			t.Errorf("%s, among several: %q", name, line)
		}
	}
}
