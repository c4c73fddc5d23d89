package main

import (
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
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
