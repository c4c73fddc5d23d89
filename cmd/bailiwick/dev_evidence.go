package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/evidence"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// evidenceIssued says that an evidence pack was made. The manifest lists every file of it with its digest.
type evidenceIssued struct {
	Manifest  string `json:"manifest"` // SHA-256 of manifest.json, in hex
	From      string `json:"from"`     // first day of the period
	To        string `json:"to"`
	Framework string `json:"framework"`
	Size      uint64 `json:"size"` // of the log under the pack's checkpoint
	Root      string `json:"root"`
}

type evidenceRecorded struct {
	Entry string `json:"entry"` // id
}

// serveEvidence mounts POST /v1/audit/evidence, for who may read the log's entries: whoever makes a pack puts on record which one was issued.
func (c *controlPlane) serveEvidence(logger *slog.Logger) {
	c.plane.Handle("POST /v1/audit/evidence", c.plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		if !c.plane.Permit(w, r, who, policy.Request{Action: policy.AuditRead}, "packs are put on record by who may read the audit log") {
			return
		}
		var q evidenceIssued
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
		in.DisallowUnknownFields()
		err := in.Decode(&q)
		if sum, wrong := hex.DecodeString(q.Manifest); err == nil && (wrong != nil || len(sum) != sha256.Size) {
			err = fmt.Errorf("manifest is not a SHA-256 in hex")
		}
		for _, day := range []string{q.From, q.To} {
			if _, wrong := time.Parse(time.DateOnly, day); err == nil && wrong != nil {
				err = fmt.Errorf("%.40q is not a day", day)
			}
		}
		if err == nil && (len(q.Framework) > 40 || len(q.Root) > 64) {
			err = fmt.Errorf("framework or root is too long")
		}
		if err != nil {
			control.Problem(w, http.StatusBadRequest, "bad_request", "the body is not what is asked for: "+err.Error(), "")
			return
		}
		entry, err := c.recordAdmin(r, who, "", map[string]string{"event": "evidence_issued", "manifest": strings.ToLower(q.Manifest), "from": q.From, "to": q.To,
			"framework": q.Framework, "size": strconv.FormatUint(q.Size, 10), "root": q.Root})
		if err != nil {
			logger.ErrorContext(r.Context(), "an evidence pack could not be put on record", "error", err)
			control.Problem(w, http.StatusServiceUnavailable, "audit_unavailable", "the pack could not be put on record", "try again")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(evidenceRecorded{entry})
	}))
}

// recordEvidence puts on record that the pack in dir was issued, and returns the entry's id.
func (a *app) recordEvidence(ctx context.Context, dir string, s evidence.Settings, sum evidence.Summary) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return "", fmt.Errorf("reading the pack's manifest: %w", err)
	}
	var done evidenceRecorded
	err = a.post(ctx, "/v1/audit/evidence", evidenceIssued{fmt.Sprintf("%x", sha256.Sum256(raw)), s.From, s.To, s.Framework, sum.Size, sum.Root}, &done)
	return done.Entry, err
}
