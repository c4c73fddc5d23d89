package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// listingVersion is the integer version of a listing's form. History: 1 (2026-11) first.
const listingVersion = 1

// listingTime bounds how long one listing may take its reader: it keeps a moment of the copy until then.
const listingTime = 10 * time.Minute

// listingAsk is the body of POST /v1/directory/people.
type listingAsk struct {
	Active     bool     `json:"active,omitempty"`     // only who may sign in
	Groups     string   `json:"groups,omitempty"`     // regular expression of groups' names (RE2): only these, and people in one of them
	Attributes []string `json:"attributes,omitempty"` // of the profile, by name
	Record     bool     `json:"record,omitempty"`     // put the listing's digest on record
}

// listingHead is the first line of a listing; a line for each person follows (directory.Listed).
type listingHead struct {
	Version int       `json:"v"`
	Issuer  string    `json:"issuer"` // of whose tokens the ids are
	AsOf    time.Time `json:"as_of"`  // up to when it is true
	Active  bool      `json:"active,omitempty"`
	Groups  string    `json:"groups,omitempty"`
}

// listingEnd is the last line; a listing without it is not whole.
type listingEnd struct {
	End    bool   `json:"end"`
	People int    `json:"people"`
	SHA256 string `json:"sha256"`          // over all lines before, in hex
	Entry  string `json:"entry,omitempty"` // of the audit log, that says so
}

func (q listingAsk) listing() (l directory.Listing, err error) {
	l = directory.Listing{Active: q.Active, Attributes: q.Attributes}
	switch {
	case len(q.Groups) > 1000:
		return l, errors.New("groups is longer than 1000 bytes")
	case len(q.Attributes) > 100:
		return l, errors.New("more than 100 attributes")
	case q.Groups != "":
		if l.Groups, err = regexp.Compile(q.Groups); err != nil {
			return l, fmt.Errorf("groups: %w", err)
		}
	}
	return l, nil
}

// servePeople mounts POST /v1/directory/people, for who may read the log's entries: people of the copy, one JSON object a line. Which digest was
// handed out is put on record if asked for, so that evidence made of it can be held against that.
func (c *controlPlane) servePeople(d *directory.Directory, issuer string, logger *slog.Logger) {
	c.plane.Handle("POST "+directoryPath+"/people", c.plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		if !c.plane.Permit(w, r, who, policy.Request{Action: policy.AuditRead}, "you may not see the directory") {
			return
		}
		var q listingAsk
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
		in.DisallowUnknownFields()
		err := in.Decode(&q)
		var l directory.Listing
		if err == nil {
			l, err = q.listing()
		}
		if err != nil {
			control.Problem(w, http.StatusBadRequest, "bad_request", "the body is not what is asked for: "+err.Error(), "")
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(listingTime)) // where it can't be set, the server's own holds
		sum, people, began := sha256.New(), 0, false
		lines := json.NewEncoder(io.MultiWriter(w, sum))
		var asOf time.Time
		err = d.People(r.Context(), l, func(at time.Time) error {
			w.Header().Set("Content-Type", "application/x-ndjson")
			asOf, began = at, true
			return lines.Encode(listingHead{listingVersion, issuer, at, q.Active, q.Groups})
		}, func(p directory.Listed) error { people++; return lines.Encode(p) })
		end := listingEnd{End: true, People: people, SHA256: hex.EncodeToString(sum.Sum(nil))}
		if err == nil && q.Record {
			end.Entry, err = c.recordAdmin(r, who, "", map[string]string{"event": "directory_listed", "sha256": end.SHA256, "as_of": asOf.Format(time.RFC3339Nano),
				"people": strconv.Itoa(people), "groups": q.Groups})
		}
		switch {
		case err == nil:
			_ = json.NewEncoder(w).Encode(end) // whoever went away has no end
		case errors.Is(err, directory.ErrNotWhole):
			control.Problem(w, http.StatusServiceUnavailable, "directory_incomplete", "the directory's copy is not whole yet: the first full sync has not ended", "bailiwick directory sync waits for it")
		case !began:
			logger.ErrorContext(r.Context(), "the directory's copy can't be listed", "error", err)
			control.Problem(w, http.StatusServiceUnavailable, "directory_unavailable", "the directory's copy can't be read now", "try again")
		default:
			logger.ErrorContext(r.Context(), "a listing of the directory's copy was broken off", "error", err)
			panic(http.ErrAbortHandler) // what was sent must not look whole
		}
	}))
}
