package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// wire is the payload as it is signed. It says what Statement says in fewer bytes, because it lies in every history: times are NumericDates
// (RFC 7519 section 2) in whole seconds, digests base64url, parties lists (party.go). The order of the fields is the order of the
// bytes: changing it changes the format.
type wire struct {
	Version       int         `json:"v"`
	ID            string      `json:"jti"`
	Issuer        string      `json:"iss"`
	Audience      string      `json:"aud"`
	Edge          Edge        `json:"e"`
	IdP           string      `json:"idp,omitempty"` // the originator's issuer, which parties then leave out
	By            []string    `json:"by"`            // originator
	Via           []string    `json:"via,omitempty"` // actor; absent when the originator acts, as most often
	Chain         [][]string  `json:"chain,omitempty"`
	Cause         string      `json:"for,omitempty"`
	Reason        string      `json:"why,omitempty"`
	Grant         string      `json:"grant,omitempty"`
	Policies      []string    `json:"pol,omitempty"`
	GroupsDigest  string      `json:"gd,omitempty"`
	AuthTime      int64       `json:"at,omitempty"`
	ACR           string      `json:"acr,omitempty"`
	Binding       wireBinding `json:"on"`
	RequestDigest string      `json:"rd,omitempty"`
	IssuedAt      int64       `json:"iat"`
	Until         int64       `json:"end,omitempty"`
}

type wireBinding struct {
	Namespace    string `json:"n"`
	WorkflowID   string `json:"w,omitempty"`
	WorkflowType string `json:"t,omitempty"`
	RunID        string `json:"r,omitempty"`
	FirstRunID   string `json:"f,omitempty"`
	TaskQueue    string `json:"q,omitempty"`
	Name         string `json:"name,omitempty"`
	ScheduleID   string `json:"sched,omitempty"`
	ActivityID   string `json:"act,omitempty"`

	ParentNamespace  string `json:"pn,omitempty"`
	ParentWorkflowID string `json:"pw,omitempty"`
	ParentRunID      string `json:"pr,omitempty"`
}

// marshalPayload writes the one canonical form of a statement: fields in order, no spaces, no HTML escapes. It fails for what could not be
// read back as it was.
func marshalPayload(s Statement) ([]byte, error) {
	idp := issuerOf(s.Originator.Principal)
	w := wire{
		Version: s.Version, ID: s.ID, Issuer: s.Issuer, Audience: s.Audience, Edge: s.Edge, IdP: idp,
		Cause: s.Cause, Reason: s.Reason, Grant: s.Grant, Policies: s.Policies, ACR: s.ACR, Binding: wireBinding(s.Binding), IssuedAt: s.IssuedAt.Unix(),
	}
	var err error
	if w.By, err = packParty(s.Originator, idp); err != nil {
		return nil, err
	}
	if s.Actor != s.Originator {
		if w.Via, err = packParty(s.Actor, idp); err != nil {
			return nil, err
		}
	}
	for _, link := range s.Chain {
		p, err := packParty(link, idp)
		if err != nil {
			return nil, err
		}
		w.Chain = append(w.Chain, p)
	}
	if w.GroupsDigest, err = packDigest(s.GroupsDigest); err != nil {
		return nil, fmt.Errorf("groups_digest: %w", err)
	}
	if w.RequestDigest, err = packDigest(s.RequestDigest); err != nil {
		return nil, fmt.Errorf("request_digest: %w", err)
	}
	if !s.AuthTime.IsZero() {
		w.AuthTime = s.AuthTime.Unix()
	}
	if !s.AuthorityUntil.IsZero() {
		w.Until = s.AuthorityUntil.Unix()
	}
	var b bytes.Buffer
	b.Grow(1 << 10)
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
	var w wire
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil || w.Version != Version {
		return Statement{}, unreadable(b)
	}
	s := Statement{
		Version: w.Version, ID: w.ID, Issuer: w.Issuer, Audience: w.Audience, Edge: w.Edge,
		Originator: unpackParty(w.By, w.IdP), Cause: w.Cause, Reason: w.Reason, Grant: w.Grant,
		Policies: w.Policies, GroupsDigest: unpackDigest(w.GroupsDigest), ACR: w.ACR,
		Binding: Binding(w.Binding), RequestDigest: unpackDigest(w.RequestDigest), IssuedAt: time.Unix(w.IssuedAt, 0).UTC(),
	}
	s.Actor = s.Originator
	if w.Via != nil {
		s.Actor = unpackParty(w.Via, w.IdP)
	}
	for _, link := range w.Chain {
		s.Chain = append(s.Chain, unpackParty(link, w.IdP))
	}
	if w.AuthTime != 0 {
		s.AuthTime = time.Unix(w.AuthTime, 0).UTC()
	}
	if w.Until != 0 {
		s.AuthorityUntil = time.Unix(w.Until, 0).UTC()
	}
	if again, err := marshalPayload(s); err != nil || !bytes.Equal(again, b) {
		return Statement{}, refuse(CodeMalformed, "the payload is not in canonical form")
	}
	if err := complete(s); err != nil {
		return Statement{}, refuse(CodeMalformed, err.Error())
	}
	return s, nil
}

// unreadable says why a payload is not one of this version.
func unreadable(b []byte) *Error {
	var probe struct {
		Version *int `json:"v"`
	}
	switch err := json.Unmarshal(b, &probe); {
	case err != nil || probe.Version == nil:
		return refuse(CodeMalformed, "the payload is not a JSON object with an integer version \"v\"")
	case *probe.Version != Version:
		return refuse(CodeVersion, fmt.Sprintf("version %d is not supported (this code knows %d); upgrade the verifier or re-issue", *probe.Version, Version))
	}
	return refuse(CodeMalformed, "the payload does not have the fields of version 1")
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
	case s.IssuedAt.Unix() <= 0:
		return errors.New("the statement has no time of issue (iat)")
	case !s.AuthTime.IsZero() && s.AuthTime.Unix() <= 0:
		return errors.New("the statement's auth_time is before 1970")
	case !s.AuthorityUntil.IsZero() && s.AuthorityUntil.Unix() <= 0:
		return errors.New("the statement's authority ends before 1970")
	case !s.Edge.Known():
		return fmt.Errorf("the edge %q is unknown", s.Edge)
	}
	return s.Binding.complete(s.Edge)
}

func (b Binding) complete(e Edge) error {
	if b.Namespace == "" || (b.WorkflowID == "") != (e == EdgeActivity) {
		return errors.New("the statement is bound to no namespace or no workflow id, or to a workflow where it can't be")
	}
	switch {
	case e == EdgeStart && b.WorkflowType == "":
		return errors.New("a start is bound to no workflow type")
	case e == EdgeSchedule && (b.WorkflowType == "" || b.ScheduleID == ""):
		return errors.New("a schedule is bound to no workflow type or no schedule id")
	case (e == EdgeSignal || e == EdgeUpdate || e == EdgeQuery) && b.Name == "":
		return fmt.Errorf("a %s is bound to no name", e)
	case e == EdgeAdopt && (b.Name != AdoptSignal || b.RunID == ""):
		return errors.New("an adoption is bound to no run, or not to its signal")
	case e == EdgeActivity && (b.ActivityID == "" || b.Name == ""):
		return errors.New("an activity is bound to no id or no type")
	case b.ParentWorkflowID == "" && (b.ParentNamespace != "" || b.ParentRunID != ""):
		return errors.New("the statement is bound to a parent without a workflow id")
	}
	return nil
}

// validText reports whether every string of the statement is valid UTF-8. JSON would replace bad bytes silently, and what was signed
// would not be what was said. Digests need no look: packDigest takes hex alone.
func validText(s Statement) bool {
	b := s.Binding
	for _, t := range [...]string{
		s.ID, s.Issuer, s.Audience, s.Cause, s.Reason, s.Grant, s.ACR,
		b.Namespace, b.WorkflowID, b.WorkflowType, b.RunID, b.FirstRunID, b.TaskQueue, b.Name, b.ScheduleID, b.ActivityID,
		b.ParentNamespace, b.ParentWorkflowID, b.ParentRunID,
	} {
		if !utf8.ValidString(t) {
			return false
		}
	}
	for _, p := range s.Policies {
		if !utf8.ValidString(p) {
			return false
		}
	}
	valid := s.Originator.validText() && s.Actor.validText()
	for _, p := range s.Chain {
		valid = valid && p.validText()
	}
	return valid
}

func (p Party) validText() bool {
	return utf8.ValidString(p.Principal) && utf8.ValidString(p.Login) && utf8.ValidString(p.ClientID) && utf8.ValidString(p.Profile) && utf8.ValidString(p.SessionID)
}
