package runs

import (
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// checker verifies attestations of one run and remembers which came in by a door that a gate guards (start, signal, update), because
// whatever the run carries on must be one of those.
type checker struct {
	keys     attest.KeySet
	archive  func() (attest.KeySet, error) // nil: none, or asked already
	audience string
	run      attest.Run
	brought  map[string]int64 // raw attestation → event that brought it in
}

// signed verifies signature, format and audience; the bool is false when there is no attestation at all.
func (c *checker) signed(h *commonpb.Header) (attest.Verified, bool, error) {
	payload, ok := h.GetFields()[attest.HeaderKey]
	if !ok {
		return attest.Verified{}, false, nil
	}
	raw, ok := attest.FromPayload(payload)
	if !ok {
		return attest.Verified{}, true, &attest.Error{Code: attest.CodeMalformed, Detail: "the header's value is not an attestation"}
	}
	v, err := c.keys.Verify(raw, c.audience)
	if ae, ok := errors.AsType[*attest.Error](err); ok && ae.Code == attest.CodeKeyUnknown && c.archive != nil {
		archived, aerr := c.archive()
		c.archive = nil
		if aerr != nil {
			return v, true, fmt.Errorf("%w (nor could the keys in the audit log be read: %w)", err, aerr)
		}
		c.keys = archived.Merge(c.keys)
		v, err = c.keys.Verify(raw, c.audience)
	}
	return v, true, err
}

// judge fills in a step's verdict from a header and a binding rule.
func (c *checker) judge(s *Step, h *commonpb.Header, bound func(attest.Verified) error) {
	v, present, err := c.signed(h)
	switch {
	case !present:
		s.Verdict = Unattested
		return
	case err == nil:
		err = bound(v)
	}
	if err != nil {
		s.refuse(err)
		return
	}
	statement := v.Statement()
	s.Verdict, s.Attestation, s.KeyID = Verified, &statement, v.KeyID()
	if from, seen := c.brought[v.Raw()]; seen && from != s.EventID {
		s.CarriedFrom = from
	}
}

// brings judges an event through which a gate lets an attestation into the run.
func (c *checker) brings(s *Step, h *commonpb.Header, bound func(attest.Verified) error) {
	c.judge(s, h, func(v attest.Verified) error {
		if err := bound(v); err != nil {
			return err
		}
		if _, seen := c.brought[v.Raw()]; !seen {
			c.brought[v.Raw()] = s.EventID
		}
		return nil
	})
}

// carries judges an event whose header the worker wrote: only what this very run was given may be in it. The statement of another run
// of the same workflow id is genuine and bound alike; that it was never brought into this one is how it is found out.
func (c *checker) carries(s *Step, h *commonpb.Header) {
	c.judge(s, h, func(v attest.Verified) error {
		if _, seen := c.brought[v.Raw()]; !seen {
			return &attest.Error{Code: attest.CodeBinding, Detail: fmt.Sprintf("decision %s was not given to this run: it was taken from elsewhere", v.Statement().ID)}
		}
		return nil
	})
}

func (s *Step) refuse(err error) {
	s.Verdict, s.Problem = Invalid, err.Error()
	var ae *attest.Error
	if errors.As(err, &ae) {
		s.Code, s.Problem = ae.Code, ae.Detail
	}
}
