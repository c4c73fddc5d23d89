package runs

import (
	"testing"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// TestTakenOver: a run tells who took it over, if that is genuine and not whoever began it; who began it stays.
func TestTakenOver(t *testing.T) {
	s := newStory(t)
	by := func(name string, edge attest.Edge) *commonpb.Header {
		who := attest.Party{Principal: "user:http://idp|" + name, Login: name + "@acme.example", Profile: "user"}
		raw, err := s.signer.Sign(attest.Statement{ID: "dec-" + name, Issuer: "gate", Audience: aud, Edge: edge, Originator: who, Actor: who, Reason: "alice left", IssuedAt: began,
			Binding: attest.Binding{Namespace: "deploy", WorkflowID: "d-1", RunID: "run-1", Name: attest.AdoptSignal}})
		if err != nil {
			t.Fatal(err)
		}
		return &commonpb.Header{Fields: map[string]*commonpb.Payload{attest.HeaderKey: attest.ToPayload(raw)}}
	}
	s.started(s.sign(attest.EdgeStart, "dec-1", startBinding))
	s.signaled(attest.AdoptSignal, by("00u1", attest.EdgeAdopt), nil) // who began it
	s.signaled(attest.AdoptSignal, by("carol", attest.EdgeSignal), nil)
	if got := s.build(); got.Owner != nil || got.Steps[1].Kind != KindSignal || got.Steps[2].Kind != KindSignal {
		t.Errorf("owner %+v, steps %+v", got.Owner, got.Steps)
	}
	s.signaled(attest.AdoptSignal, by("bob", attest.EdgeAdopt), nil)
	got := s.build()
	if got.Owner == nil || got.Owner.Login != "bob@acme.example" || got.Steps[3].Title() != "adopted" || got.Steps[0].Attestation.Originator.Login != "alice@acme.example" || !got.OK() {
		t.Errorf("owner %+v, steps %+v", got.Owner, got.Steps)
	}
}
