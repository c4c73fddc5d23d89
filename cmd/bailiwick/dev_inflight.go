package main

import (
	"context"
	"errors"
	"log/slog"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/inflight"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// openInFlight makes what acts on runs of who lost access. It is connected with the worker of access requests, which runs its workflows too.
func (d *devEnv) openInFlight(plane *control.Plane, logger *slog.Logger) (*inflight.Service, error) {
	reader := newApp(nil, nil, nil)
	reader.context = d.name()
	verify := func(ctx context.Context, raw string) (attest.Verified, error) {
		set, err := attest.PublishedKeys(d.state.path("keys", "attestation"))
		if err != nil {
			return attest.Verified{}, err
		}
		v, err := set.Verify(raw, d.audience())
		if e, refused := errors.AsType[*attest.Error](err); refused && e.Code == attest.CodeKeyUnknown { // runs outlive the keys that signed for them
			old, failed := reader.archivedKeys(ctx, "")()
			if failed != nil {
				return attest.Verified{}, failed
			}
			v, err = old.Verify(raw, d.audience())
		}
		return v, err
	}
	return inflight.New(inflight.Config{
		File: d.state.path("in-flight.yaml"), Namespace: access.Namespace, TaskQueue: access.TaskQueue, Recorder: plane, Logger: logger, Reason: sdkplugin.WithReason,
		Parties: func(ctx context.Context, p *commonpb.Payload) ([]string, error) {
			raw, ok := attest.FromPayload(p)
			if !ok {
				return nil, errors.New("the header field is not an attestation")
			}
			v, err := verify(ctx, raw)
			if err != nil {
				return nil, err
			}
			s := v.Statement()
			return []string{s.Originator.Principal, s.Actor.Principal}, nil
		},
		Owner: func(ctx context.Context, service workflowservice.WorkflowServiceClient, t inflight.Target, former string) (string, error) {
			check := func(raw string) (attest.Verified, error) { return verify(ctx, raw) }
			v, ok, err := sdkplugin.RunOwner(ctx, service, check, attest.Run{Namespace: t.Namespace, WorkflowID: t.WorkflowID, RunID: t.RunID}, former)
			if err != nil || !ok {
				return "", err
			}
			owner := v.Statement().Originator
			if owner.Login != "" {
				return owner.Login, nil
			}
			return owner.Principal, nil
		},
	})
}
