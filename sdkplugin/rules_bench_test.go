package sdkplugin_test

import (
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// What a requirement with everything set costs an activity, beside the verification of its attestation.
func BenchmarkRequirement(b *testing.B) {
	r := sdkplugin.Requirement{ACR: []string{"phr"}, MaxLoginAge: 2 * time.Hour, MaxAge: time.Hour, Human: true, NoAgents: true, Reason: true, Grant: true,
		Originators: []string{"user:https://other|*", "user:https://issuer.example|*"}, Policies: []string{"deploys"}}
	s := strong(nil)
	info := sdkplugin.Info{Originator: s.Originator, Actor: s.Actor, Statement: s, Verified: true}
	for b.Loop() {
		if v := r.Check(info, noon); v != nil {
			b.Fatal(v)
		}
	}
}
