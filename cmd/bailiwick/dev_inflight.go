package main

import (
	"context"
	"errors"
	"log/slog"

	commonpb "go.temporal.io/api/common/v1"

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
	return inflight.New(inflight.Config{
		File: d.state.path("in-flight.yaml"), Namespace: access.Namespace, TaskQueue: access.TaskQueue, Recorder: plane, Logger: logger, Reason: sdkplugin.WithReason,
		Parties: func(ctx context.Context, p *commonpb.Payload) ([]string, error) {
			raw, ok := attest.FromPayload(p)
			if !ok {
				return nil, errors.New("the header field is not an attestation")
			}
			set, err := attest.PublishedKeys(d.state.path("keys", "attestation"))
			if err != nil {
				return nil, err
			}
			v, err := set.Verify(raw, d.audience())
			if e, refused := errors.AsType[*attest.Error](err); refused && e.Code == attest.CodeKeyUnknown { // runs outlive the keys that signed for them
				old, failed := reader.archivedKeys(ctx, "")()
				if failed != nil {
					return nil, failed
				}
				v, err = old.Verify(raw, d.audience())
			}
			if err != nil {
				return nil, err
			}
			s := v.Statement()
			return []string{s.Originator.Principal, s.Actor.Principal}, nil
		},
	})
}
