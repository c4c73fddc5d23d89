package rotation

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Refusal is what a caller is told (RFC 9457). Code is stable.
type Refusal struct {
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Code     string `json:"code"`
	Next     string `json:"next,omitempty"`
	Missing  string `json:"missing,omitempty"`
	Decision string `json:"decision,omitempty"` // audit entry
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

func problem(w http.ResponseWriter, r *Refusal) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(struct {
		Type  string `json:"type"`
		Title string `json:"title"`
		*Refusal
	}{"about:blank", http.StatusText(r.Status), r})
}

// Mounter is where the API is served; control.Plane is one.
type Mounter interface {
	Handle(pattern string, h http.Handler)
	Authenticated(f func(http.ResponseWriter, *http.Request, identity.Identity)) http.Handler
}

// Mount serves the API. Callers send an access token; policy decides what they may do.
//
//	GET    /v1/keys                            keys, verifiers, rotations that run    Keys.View
//	GET    /v1/keys/rotations                  rotations, newest first                Keys.View
//	GET    /v1/keys/rotations/{use}/{target}   the last one of a target               Keys.View
//	POST   /v1/keys/rotations                  begins one; dry_run only looks         Keys.Rotate; Keys.View
//	DELETE /v1/keys/verifiers/{name}           takes a verifier off the register      Keys.Rotate
func (s *Service) Mount(m Mounter) {
	handle := func(pattern, action string, f func(*http.Request, By) (status int, answer any, err error)) {
		m.Handle(pattern, m.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
			asked := action
			if dry(r) {
				asked = policy.KeysView
			}
			by, refused := s.decide(r, who, asked)
			if refused != nil {
				problem(w, refused)
				return
			}
			status, answer, err := f(r, by)
			if err != nil {
				s.refuse(w, r, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(answer)
		}))
	}
	handle("GET /v1/keys", policy.KeysView, func(r *http.Request, _ By) (int, any, error) {
		status, err := s.Status(r.Context())
		return http.StatusOK, status, err
	})
	handle("GET /v1/keys/rotations", policy.KeysView, func(r *http.Request, _ By) (int, any, error) {
		list, err := s.List(r.Context(), maxListed)
		return http.StatusOK, map[string]any{"rotations": list}, err
	})
	handle("GET /v1/keys/rotations/{use}/{target}", policy.KeysView, func(r *http.Request, _ By) (int, any, error) {
		use, target, err := s.known(r.PathValue("use"), r.PathValue("target"))
		if err != nil {
			return 0, nil, err
		}
		view, err := s.Get(r.Context(), use, target)
		return http.StatusOK, view, err
	})
	handle("POST /v1/keys/rotations", policy.KeysRotate, s.apiRotate)
	handle("DELETE /v1/keys/verifiers/{name}", policy.KeysRotate, func(r *http.Request, by By) (int, any, error) {
		name := r.PathValue("name")
		err := s.cfg.Verifiers.Forget(r.Context(), name)
		if err == nil {
			s.cfg.Logger.WarnContext(r.Context(), "a verifier was forgotten", "verifier", name, "by", by.Login)
		}
		return http.StatusOK, map[string]string{"forgotten": name}, err
	})
}

// dry reports whether a request only looks.
func dry(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Get("dry_run") == "true"
}

func (s *Service) decide(r *http.Request, who identity.Identity, action string) (By, *Refusal) {
	c := who.Claims()
	by := By{Principal: c.Principal(), Login: c.Login, ClientID: c.ClientID}
	ask := policy.Request{Action: action}
	ask.Context = policy.Context{SourceIP: netaddr.Source(r), Reason: r.Header.Get("Bailiwick-Reason")}
	d, id := s.cfg.Decider.Decide(r.Context(), who, ask)
	by.Decision = id
	if d.Allow {
		return by, nil
	}
	refused := &Refusal{Status: http.StatusForbidden, Code: string(d.Code), Detail: "you may not see keys", Next: d.Hint, Missing: d.Missing, Decision: id}
	if action == policy.KeysRotate {
		refused.Detail = "you may not rotate keys"
	}
	if len(d.Reasons) > 0 {
		refused.Detail += ": " + strings.Join(d.Reasons, "; ")
	}
	if refused.Next == "" && d.Missing != "" {
		refused.Next = "it takes admin of everything, or a policy that permits " + action
	}
	return by, refused
}

// known checks a use and a target.
func (s *Service) known(use, target string) (Use, string, error) {
	if !slices.Contains(Uses, Use(use)) {
		return "", "", &Refusal{Status: http.StatusNotFound, Code: "use_unknown", Detail: fmt.Sprintf("keys of use %.40q are not rotated", use), Next: "name issuer, client, attestation or checkpoint"}
	}
	ids := s.targets(Use(use))
	if target == "" && len(ids) == 1 {
		return Use(use), ids[0], nil
	}
	if !slices.Contains(ids, target) {
		f := unknownTarget(Use(use), target)
		if target == "" {
			f.Detail = fmt.Sprintf("there are %d of use %s: name one", len(ids), use)
		}
		return "", "", &Refusal{Status: http.StatusNotFound, Code: f.Code, Detail: f.Detail, Next: f.Next}
	}
	return Use(use), target, nil
}

// RotateBody is what POST /v1/keys/rotations takes.
type RotateBody struct {
	Use    string `json:"use"`
	Target string `json:"target,omitempty"` // may be left out where there is one
	Reason string `json:"reason,omitempty"`
}

func (s *Service) apiRotate(r *http.Request, by By) (int, any, error) {
	var body RotateBody
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		return 0, nil, &Refusal{Status: http.StatusBadRequest, Code: "body_malformed", Detail: "the body is not what this takes: " + err.Error(), Next: `send {"use":"issuer","target":"default"}`}
	}
	use, target, err := s.known(body.Use, body.Target)
	if err != nil {
		return 0, nil, err
	}
	if dry(r) {
		look, err := s.Look(r.Context(), use, target)
		return http.StatusOK, look, err
	}
	view, err := s.Start(r.Context(), Params{Version: Version, Use: use, Target: target, By: by, Reason: strings.TrimSpace(body.Reason), Times: s.cfg.Times})
	return http.StatusAccepted, view, err
}

// refuse tells an error. What is neither a refusal nor a fault is told without its text.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refused *Refusal
	var f *Fault
	switch {
	case errors.As(err, &refused):
	case errors.As(err, &f):
		s.cfg.Logger.WarnContext(r.Context(), "keys can't be told of", "path", r.URL.Path, "error", err)
		refused = &Refusal{Status: http.StatusConflict, Code: f.Code, Detail: f.Detail, Next: f.Next}
		if f.Passing {
			refused.Status = http.StatusServiceUnavailable
		}
	default:
		if r.Context().Err() == nil {
			s.cfg.Logger.ErrorContext(r.Context(), "a request about keys failed", "path", r.URL.Path, "error", err)
		}
		refused = &Refusal{Status: http.StatusInternalServerError, Code: "internal", Detail: "the control plane could not do it; try again, and tell your operator if it stays so"}
	}
	problem(w, refused)
}
