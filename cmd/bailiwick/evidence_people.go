package main

import (
	"bytes"
	"context"
	"io"

	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/evidence"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// evidencePeople adds to a pack who holds which role at the identity provider, as the control plane hands it out and puts on record. Only groups that
// are roles by the pack's rules are asked for, and people who are in one.
func (a *app) evidencePeople(ctx context.Context, c login.Context, cfg *evidence.Config) (listingHead, error) {
	var kept bytes.Buffer
	listed := listingCopy{to: &kept}
	head, err := a.listPeople(ctx, c, listingAsk{Groups: cfg.Rules.GroupPattern, Record: true}, &listed, func(listingHead, directory.Listed) {})
	if err != nil {
		return head, err
	}
	cfg.Settings.Directory = &evidence.Listing{SHA256: listed.end.SHA256, Entry: listed.end.Entry}
	cfg.Directory = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept.Bytes())), nil }
	return head, nil
}
