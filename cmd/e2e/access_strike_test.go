package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/access"
)

// TestApprovingAgainAfterAStrike: an approver loses the right between approving and activation. Their approval is struck out, nothing is in force,
// somebody else approves; and once they have the right again, their new approval counts, though they have sent the same one before.
func TestApprovingAgainAfterAStrike(t *testing.T) {
	k := newAccessKit(t)
	w, err := k.work(k.client, "strike")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	approver := "temporal:payments:approver"
	carol, dave := k.as("carol@acme.example", approver), k.as("dave@acme.example", approver)
	lose := func(login string) { k.outside.with(func() { k.outside.unfit = login }) }
	struckOut := func(r access.Request) bool { return r.Code == "approver_not_entitled" }
	inForce := func(r access.Request) bool { return r.State == access.Active }
	for name, again := range map[string]*access.Client{"somebody else": dave, "the same, with the right again": carol} {
		t.Run(name, func(t *testing.T) {
			login := "alice" + name[:3] + "@acme.example"
			alice := k.as(login, "temporal:payments:read")
			r, err := alice.Ask(ctx, access.AskBody{Namespace: byGrant, Role: "write", Seconds: 1800, Reason: "strike"}, name)
			if err != nil {
				t.Fatal(err)
			}
			id, yes := r.Asked.ID, access.ActBody{Digest: r.Digest}
			lose("carol@acme.example")
			if _, err := carol.Do(ctx, id, "approve", yes); err != nil {
				t.Fatal(err)
			}
			r, err = reach(ctx, alice, id, struckOut)
			if err != nil || r.State != access.Pending || len(r.Approvals) != 0 || k.has(byGrant, login) {
				t.Fatalf("after carol lost the right: %+v, %v", r, err)
			}
			lose("")
			if _, err := again.Do(ctx, id, "approve", yes); err != nil {
				t.Fatal(err)
			}
			r, err = reach(ctx, alice, id, inForce)
			if err != nil || len(r.Approvals) != 1 || !k.has(byGrant, login) {
				t.Fatalf("approved again: %+v, %v", r, err)
			}
			var refused *access.Refusal
			if _, err := dave.Do(ctx, id, "approve", yes); again != dave && (!errors.As(err, &refused) || refused.Code != "not_pending") {
				t.Errorf("one approval too many: %v", err)
			}
			if _, err := alice.Do(ctx, id, "return", access.ActBody{}); err != nil {
				t.Error(err)
			}
		})
	}
}
