package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/directory/orgsource"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// directoryPath is where the control plane serves its directory.
const directoryPath = "/v1/directory"

// directoryShare is the part of each of the org's rate limits that the copy may use; everything else of the control plane may use twice that.
const directoryShare = 0.25

// directoryEvery is how often the org's log is asked for changes of the copy.
const directoryEvery = 10 * time.Second

// lateDirectory is a directory for a gate that exists before the org's client does.
type lateDirectory struct {
	is atomic.Pointer[directory.Persons] // nil: not there yet
}

func (l *lateDirectory) Person(ctx context.Context, principal string) (standing.Person, error) {
	p := l.is.Load()
	if p == nil {
		return standing.Person{}, errors.New("the directory is not open yet")
	}
	return p.Person(ctx, principal)
}

// under makes a gate look up in the directory what tokens leave out.
func (l *lateDirectory) under(configure func(*gate.Config)) func(*gate.Config) {
	return func(g *gate.Config) {
		configure(g)
		g.Directory = l
	}
}

// groupsFrom is where people's groups are, as the issuer's settings have it.
func (d *devEnv) groupsFrom() string {
	if d.flags.groups == "" {
		return identity.GroupsFromToken
	}
	return d.flags.groups
}

// startDirectory keeps a copy of the org, and answers gates and people from it and from the org. It ends with ctx.
func (d *devEnv) startDirectory(ctx context.Context, c *controlPlane, org *oktaDirectory, logger *slog.Logger) error {
	if err := os.MkdirAll(d.state.path("directory"), 0o700); err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	key, err := feed.LoadOrCreateKey(d.state.path("keys", "standing.pem"))
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	copied, err := directory.Open(ctx, directory.Config{
		File: d.state.path("directory", "directory.db"), Source: orgsource.Source{Client: org.client.Within(directoryShare), Shared: org.log, Age: directoryEvery},
		Live:  orgsource.Source{Client: org.client},
		Every: directoryEvery, Logger: logger,
	})
	if err != nil {
		return err
	}
	people := &directory.Persons{Directory: copied, Issuer: org.issuer}
	c.people.is.Store(people)
	c.plane.Handle("POST "+feed.Path+standing.PersonPath, c.standing.Guard(standing.Persons(key, people.Person)))
	serveDirectory(c.plane, copied, org)
	c.servePeople(copied, org.issuer, logger)
	ended := make(chan struct{})
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(ended)
		copied.Run(ctx)
	}()
	c.closeDirectory = func() error {
		stop()
		<-ended
		return copied.Close()
	}
	return nil
}

// serveDirectory tells how the copy stands, and of one person; what it tells of people is for who may read the record of what they did.
func serveDirectory(plane *control.Plane, d *directory.Directory, org *oktaDirectory) {
	status := func(w http.ResponseWriter, r *http.Request) {
		s, err := d.Status(r.Context())
		if err != nil {
			control.Problem(w, http.StatusServiceUnavailable, "directory_unavailable", "the directory's copy can't be read now", "try again")
			return
		}
		s.Limits = org.client.Usage()
		writeJSON(w, s)
	}
	plane.Handle("GET "+directoryPath+"/status", mayDirectory(plane, "GetClusterInfo", func(w http.ResponseWriter, r *http.Request) { status(w, r) }))
	plane.Handle("POST "+directoryPath+"/sync", mayDirectory(plane, policy.AuditRead, func(w http.ResponseWriter, r *http.Request) {
		org.log.Renew() // now is now
		if err := d.Wake(r.Context(), r.URL.Query().Get("full") == "true"); err != nil {
			control.Problem(w, http.StatusServiceUnavailable, "directory_unavailable", "the directory's copy can't be written now", "try again")
			return
		}
		status(w, r)
	}))
	plane.Handle("GET "+directoryPath+"/people/{who}", mayDirectory(plane, policy.AuditRead, func(w http.ResponseWriter, r *http.Request) {
		who := r.PathValue("who")
		f, has, err := d.Copy(r.Context(), who)
		if err == nil && r.URL.Query().Get("now") == "true" {
			id := who
			if has {
				id = f.User.ID
			}
			f, err = d.Look(r.Context(), id)
			if has = err == nil; errors.Is(err, directory.ErrGone) {
				err = nil
			}
		}
		switch {
		case err != nil:
			control.Problem(w, http.StatusServiceUnavailable, "directory_unavailable", "the directory can't tell now", "try again, or leave --now away for the copy")
		case !has:
			control.Problem(w, http.StatusNotFound, "person_unknown", "the directory has nobody of that id or login", "bailiwick directory status says how old the copy is; --now asks the org, by id")
		default:
			writeJSON(w, f)
		}
	}))
}

func mayDirectory(plane *control.Plane, action string, serve http.HandlerFunc) http.Handler {
	return plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		if plane.Permit(w, r, who, policy.Request{Action: action}, "you may not see the directory") {
			serve(w, r)
		}
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
