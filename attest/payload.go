package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// wire is the payload as it is signed. It differs from Statement only in its times, which are NumericDates (RFC 7519 section 2)
// in whole seconds. The order of the fields is the order of the bytes: changing it changes the format.
type wire struct {
	Version       int      `json:"v"`
	ID            string   `json:"jti"`
	Issuer        string   `json:"iss"`
	Audience      string   `json:"aud"`
	Edge          Edge     `json:"edge"`
	Originator    Party    `json:"originator"`
	Actor         *Party   `json:"actor,omitempty"` // absent when the originator acts, as most often
	Chain         []Party  `json:"chain,omitempty"`
	Reason        string   `json:"reason,omitempty"`
	Grant         string   `json:"grant,omitempty"`
	Policies      []string `json:"policies,omitempty"`
	PolicyDigest  string   `json:"policy_digest,omitempty"`
	GroupsDigest  string   `json:"groups_digest,omitempty"`
	AuthTime      int64    `json:"auth_time,omitempty"`
	ACR           string   `json:"acr,omitempty"`
	Binding       Binding  `json:"bind"`
	RequestDigest string   `json:"request_digest,omitempty"`
	IssuedAt      int64    `json:"iat"`
}

// marshalPayload writes the one canonical form of a statement: fields in order, no spaces, no HTML escapes.
func marshalPayload(s Statement) ([]byte, error) {
	w := wire{
		Version: s.Version, ID: s.ID, Issuer: s.Issuer, Audience: s.Audience, Edge: s.Edge,
		Originator: s.Originator, Chain: s.Chain, Reason: s.Reason, Grant: s.Grant,
		Policies: s.Policies, PolicyDigest: s.PolicyDigest, GroupsDigest: s.GroupsDigest, ACR: s.ACR,
		Binding: s.Binding, RequestDigest: s.RequestDigest, IssuedAt: s.IssuedAt.Unix(),
	}
	if s.Actor != s.Originator {
		w.Actor = &s.Actor
	}
	if !s.AuthTime.IsZero() {
		w.AuthTime = s.AuthTime.Unix()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return nil, fmt.Errorf("encoding statement: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// parsePayload reads a payload whose signature is already known to be good. A payload that is not byte for byte what marshalPayload
// writes is refused, which leaves no room for duplicate, re-cased or unknown keys, spaces, trailing data or invalid UTF-8.
func parsePayload(b []byte) (Statement, error) {
	var probe struct {
		Version *int `json:"v"`
	}
	if err := json.Unmarshal(b, &probe); err != nil || probe.Version == nil {
		return Statement{}, refuse(CodeMalformed, "the payload is not a JSON object with an integer version \"v\"")
	}
	if *probe.Version != Version {
		return Statement{}, refuse(CodeVersion, fmt.Sprintf("version %d is not supported (this code knows %d); upgrade the verifier or re-issue", *probe.Version, Version))
	}
	var w wire
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return Statement{}, refuse(CodeMalformed, "the payload does not have the fields of version 1")
	}
	s := Statement{
		Version: w.Version, ID: w.ID, Issuer: w.Issuer, Audience: w.Audience, Edge: w.Edge,
		Originator: w.Originator, Actor: w.Originator, Chain: w.Chain, Reason: w.Reason, Grant: w.Grant,
		Policies: w.Policies, PolicyDigest: w.PolicyDigest, GroupsDigest: w.GroupsDigest, ACR: w.ACR,
		Binding: w.Binding, RequestDigest: w.RequestDigest, IssuedAt: time.Unix(w.IssuedAt, 0).UTC(),
	}
	if w.Actor != nil {
		s.Actor = *w.Actor
	}
	if w.AuthTime != 0 {
		s.AuthTime = time.Unix(w.AuthTime, 0).UTC()
	}
	if again, err := marshalPayload(s); err != nil || !bytes.Equal(again, b) {
		return Statement{}, refuse(CodeMalformed, "the payload is not in canonical form")
	}
	if err := complete(s); err != nil {
		return Statement{}, refuse(CodeMalformed, err.Error())
	}
	return s, nil
}

// complete reports what a statement lacks. Signer and verifier share it, so that nothing is signed that would not be accepted.
func complete(s Statement) error {
	switch {
	case s.ID == "":
		return errors.New("the statement has no decision id (jti)")
	case s.Issuer == "":
		return errors.New("the statement has no issuer (iss)")
	case s.Audience == "":
		return errors.New("the statement has no audience (aud)")
	case s.Originator.Principal == "" || s.Actor.Principal == "":
		return errors.New("the statement names no originator or no actor")
	case s.Binding.Namespace == "" || s.Binding.WorkflowID == "":
		return errors.New("the statement is bound to no namespace or no workflow id")
	case s.IssuedAt.Unix() <= 0:
		return errors.New("the statement has no time of issue (iat)")
	case !s.AuthTime.IsZero() && s.AuthTime.Unix() <= 0:
		return errors.New("the statement's auth_time is before 1970")
	}
	switch s.Edge {
	case EdgeStart:
		if s.Binding.WorkflowType == "" {
			return errors.New("a start is bound to no workflow type")
		}
	case EdgeSchedule:
		if s.Binding.WorkflowType == "" || s.Binding.ScheduleID == "" {
			return errors.New("a schedule is bound to no workflow type or no schedule id")
		}
	case EdgeSignal, EdgeUpdate, EdgeQuery:
		if s.Binding.Name == "" {
			return fmt.Errorf("a %s is bound to no name", s.Edge)
		}
	default:
		return fmt.Errorf("the edge %q is unknown", s.Edge)
	}
	return nil
}

// validText reports whether every string of the statement is valid UTF-8. JSON would replace bad bytes silently, and what was signed
// would not be what was said.
func validText(s Statement) bool {
	parties := append([]Party{s.Originator, s.Actor}, s.Chain...)
	texts := append([]string{
		s.ID, s.Issuer, s.Audience, s.Reason, s.Grant, s.PolicyDigest, s.GroupsDigest, s.ACR, s.RequestDigest,
		s.Binding.Namespace, s.Binding.WorkflowID, s.Binding.WorkflowType, s.Binding.RunID, s.Binding.TaskQueue, s.Binding.Name, s.Binding.ScheduleID,
	}, s.Policies...)
	for _, p := range parties {
		texts = append(texts, p.Principal, p.Login, p.ClientID, p.Profile, p.SessionID)
	}
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return false
		}
	}
	return true
}
