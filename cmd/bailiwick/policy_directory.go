package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// directoryPeople are the people of the directory's copy who may do something, and how old it is.
type directoryPeople struct {
	AsOf   time.Time      `json:"as_of"`
	Issuer string         `json:"issuer"`
	Of     int            `json:"of"` // people who may sign in
	People []memberPerson `json:"people"`
}

// memberPerson is one of them.
type memberPerson struct {
	Login      string   `json:"login"`
	Principal  string   `json:"principal"`
	Groups     []string `json:"groups"`
	Policies   []string `json:"policies"`
	Conditions []string `json:"conditions,omitempty"`
}

// directoryWhoCan asks the policies about everybody in the directory's copy who may sign in.
func (a *app) directoryWhoCan(ctx context.Context, s *policy.Set, q whoCan) (*directoryPeople, error) {
	where, err := a.where()
	if err != nil {
		return nil, err
	}
	out := &directoryPeople{People: []memberPerson{}}
	now := time.Now()
	head, err := a.listPeople(ctx, where, listingAsk{Active: true, Attributes: s.ProfileAttributes()}, nil, func(head listingHead, p directory.Listed) {
		out.Of++
		claims := &identity.Claims{Issuer: head.Issuer, Kind: identity.User, ID: p.ID, Login: p.Login, Groups: p.Groups, Profile: identity.ProfileOf(p.Profile)}
		if policies, conditions, can := couldDo(s, claims, q, now); can {
			out.People = append(out.People, memberPerson{cmp.Or(p.Login, p.ID), claims.Principal(), p.Groups, policies, conditions})
		}
	})
	out.AsOf, out.Issuer = head.AsOf, head.Issuer
	slices.SortStableFunc(out.People, func(x, y memberPerson) int { return cmp.Compare(x.Login, y.Login) })
	return out, err
}

// maxListed bounds one line of a listing, in bytes.
const maxListed = 4 << 20

// listPeople reads a listing of the directory's copy from the control plane. Its lines but the last go to raw, where that is not nil. What each was
// called with counts only if there is no error: a listing may break off.
func (a *app) listPeople(ctx context.Context, c login.Context, q listingAsk, raw *listingCopy, each func(listingHead, directory.Listed)) (head listingHead, err error) {
	body, err := a.controlSend(ctx, c, http.MethodPost, directoryPath+"/people", q, listingTime)
	var refused *coded
	if errors.As(err, &refused) && refused.Code == "not_found" {
		return head, &coded{Code: "directory_absent", Text: fmt.Sprintf("the control plane at %s keeps no copy of a directory", c.ControlURL), Fix: "choose another with --context, or ask about the groups alone, or the people of the log with --people"}
	}
	if err != nil {
		return head, err
	}
	defer body.Close()
	if raw == nil {
		raw = &listingCopy{to: io.Discard}
	}
	sum := sha256.New()
	copied := io.MultiWriter(sum, raw.to)
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), maxListed)
	broken := func(cause error) (listingHead, error) {
		return head, fmt.Errorf("reading the control plane's listing of people: %w", cause)
	}
	people := 0
	for n := 0; lines.Scan(); n++ {
		line := lines.Bytes()
		var end listingEnd
		if n > 0 && bytes.HasPrefix(line, []byte(`{"end":`)) {
			switch err := json.Unmarshal(line, &end); {
			case err != nil:
				return broken(err)
			case end.People != people || end.SHA256 != hex.EncodeToString(sum.Sum(nil)):
				return broken(errors.New("it does not arrive as it was sent"))
			}
			raw.end = end
			return head, nil
		}
		if _, err := fmt.Fprintf(copied, "%s\n", line); err != nil {
			return head, fmt.Errorf("keeping a listing of people: %w", err)
		}
		if n == 0 {
			if err := json.Unmarshal(line, &head); err != nil {
				return broken(err)
			}
			if head.Version != listingVersion {
				return broken(fmt.Errorf("it is of version %d, this program reads version %d", head.Version, listingVersion))
			}
			continue
		}
		var p directory.Listed
		if err := json.Unmarshal(line, &p); err != nil {
			return broken(err)
		}
		people++
		each(head, p)
	}
	return broken(cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// listingCopy takes a listing as it arrives.
type listingCopy struct {
	to  io.Writer
	end listingEnd // of a whole one
}

func (a *app) showDirectoryWhoCan(d directoryPeople) {
	w := a.out
	fmt.Fprintf(w, "\nOf %d people in the directory, as it was %s (%s):\n", d.Of, safe(d.AsOf.Local().Format("2006-01-02 15:04:05")), safe(span(time.Now(), d.AsOf)))
	if len(d.People) == 0 {
		fmt.Fprintln(w, w.yellow("  nobody"))
		return
	}
	rows := make([][]string, 0, len(d.People))
	for _, p := range d.People {
		rows = append(rows, []string{"  " + w.bold(safe(p.Login)), list(p.Policies), conditions(w, p.Conditions)})
	}
	w.rows([]string{"  PERSON", "BY POLICY", "IF IT"}, rows)
}
