package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// privacyDir is where the keys of personal data are; empty when it is not encrypted. Once there, it is used: a gate that wrote in the clear
// again would undo what people were promised.
func (d *devEnv) privacyDir() string {
	dir := d.state.path("privacy")
	if _, err := os.Stat(dir); err != nil && !d.flags.encrypt {
		return ""
	}
	return dir
}

// openPrivacy returns what stands between the control plane's gate and its journal; nil when personal data is not encrypted.
func (d *devEnv) openPrivacy() (func(gate.Recorder) gate.Recorder, *privacy.Store, error) {
	dir := d.privacyDir()
	if dir == "" {
		return nil, nil, nil
	}
	keys, err := privacy.OpenStore(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("starting the control plane: %w", err)
	}
	return func(journal gate.Recorder) gate.Recorder { return privacy.NewRecorder(journal, keys) }, keys, nil
}

// eraseRequest asks to destroy one person's key. The answer to one that names several people lists them.
type eraseRequest struct {
	Subject string `json:"subject"` // login, principal or pseudonym
	Reason  string `json:"reason"`
}

type eraseAnswer struct {
	Pseudonym string    `json:"pseudonym"` // what still stands in the log
	Since     time.Time `json:"since"`     // when the key was made
	Entry     string    `json:"entry"`     // id of the entry that records it
}

// servePrivacy mounts what changes the record's readability:
//
//	POST /v1/audit/erase   destroys a person's key; for who may administer the cluster
func (d *devEnv) servePrivacy(c *controlPlane, keys *privacy.Store, logger *slog.Logger) {
	c.plane.Handle("POST /v1/audit/erase", c.plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		var q eraseRequest
		if !c.administers(w, r, who, &q) {
			return
		}
		q.Subject, q.Reason = strings.TrimSpace(q.Subject), strings.TrimSpace(q.Reason)
		if q.Subject == "" || q.Reason == "" {
			control.Problem(w, http.StatusBadRequest, "bad_request", "subject and reason are needed", "")
			return
		}
		if keys == nil {
			control.Problem(w, http.StatusConflict, "not_encrypted", "personal data is not encrypted in this log, so nothing of it can be erased", "start with: bailiwick dev --encrypt-personal-data; what was written before stays as it is")
			return
		}
		found, err := keys.Find(q.Subject)
		if err != nil {
			logger.ErrorContext(r.Context(), "could not look for a key", "error", err)
			control.Problem(w, http.StatusInternalServerError, "keys_unreadable", "the key store could not be read", "look at the control plane's log")
			return
		}
		if len(found) != 1 {
			refuseErase(w, found)
			return
		}
		// Recorded before it is done: a crash in between leaves a record of what has to be done again, and never an erasure nobody ordered.
		entry, err := c.recordAdmin(r, who, q.Reason, map[string]string{"event": "erase", "pseudonym": found[0].Pseudonym})
		if err == nil {
			err = keys.Erase(found[0].Subject)
		}
		if err != nil && !errors.Is(err, privacy.ErrNoKey) {
			logger.ErrorContext(r.Context(), "could not erase", "pseudonym", found[0].Pseudonym, "error", err)
			control.Problem(w, http.StatusInternalServerError, "erase_failed", "the key could not be destroyed; nothing is promised until it is", "try again")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(eraseAnswer{found[0].Pseudonym, found[0].Since, entry})
	}))
}

func refuseErase(w http.ResponseWriter, found []privacy.Person) {
	if len(found) == 0 {
		control.Problem(w, http.StatusNotFound, "subject_unknown", "there is no key of that person: nothing was encrypted for them, or it was erased already", "")
		return
	}
	var of []string
	for _, p := range found {
		of = append(of, p.Subject)
	}
	control.Problem(w, http.StatusConflict, "subject_ambiguous", "several people have been known by that name: "+strings.Join(of, ", "), "name one of them by principal")
}

// administers reads a request of somebody who may administer the cluster, or refuses it.
func (c *controlPlane) administers(w http.ResponseWriter, r *http.Request, who identity.Identity, to any) bool {
	if !c.plane.Permit(w, r, who, policy.Request{Action: policy.AdminAction}, "this is for who may administer the cluster") {
		return false
	}
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	in.DisallowUnknownFields()
	if err := in.Decode(to); err != nil {
		control.Problem(w, http.StatusBadRequest, "bad_request", "the body is not what is asked for: "+err.Error(), "")
		return false
	}
	return true
}

// recordAdmin records an act on the record itself, with who did it.
func (c *controlPlane) recordAdmin(r *http.Request, who identity.Identity, reason string, detail map[string]string) (string, error) {
	claims := who.Claims()
	return c.plane.Record(r.Context(), audit.Entry{Kind: audit.KindAdmin, Reason: reason, Detail: detail,
		Actor: audit.Party{Principal: claims.Principal(), Login: claims.Login, ClientID: claims.ClientID, Groups: claims.Groups, TokenID: claims.TokenID}})
}
