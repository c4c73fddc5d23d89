package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// Rules say what counts as a conflict and as late. They are part of the settings: whoever reads the pack sees by which rules it was made.
type Rules struct {
	Version int `json:"v"` // 1
	// GroupPattern reads a namespace (first parenthesis) and a role (second) out of a group's name.
	GroupPattern string `json:"group_pattern"`
	// LeaverMinutes is how long after the identity provider's removal access may last.
	LeaverMinutes int `json:"leaver_minutes"`
	// ReviewDays is how soon a use of break-glass must have been reviewed.
	ReviewDays int `json:"review_days"`
	// Approvals are the names of signals and updates by which a person approves a run.
	Approvals []string `json:"approvals"`
	// Duties that one person must not have both of.
	Duties []Duty `json:"duties"`
}

// Duty is one pair of duties to be kept apart. Kind says how it is looked for:
//
//   - "requested_approved": who asked for access also approved it
//   - "started_approved": who started a run also approved it, by a signal or update named in Approvals
//   - "approved_used": who approved a grant made calls under it
//   - "roles": one person was allowed to operate or administer in namespaces of First and in namespaces of Second
type Duty struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`
	Title  string   `json:"title"`
	First  []string `json:"first,omitempty"`  // patterns of namespaces, with * and ?
	Second []string `json:"second,omitempty"` // for "roles"
}

// DefaultRules are what a pack is made by unless it is told otherwise.
func DefaultRules() Rules {
	return Rules{
		Version: 1, GroupPattern: `^temporal:([^:]+):([^:]+)$`, LeaverMinutes: 60, ReviewDays: 7,
		Approvals: []string{"approve", "Approve", "approved", "approval"},
		Duties: []Duty{
			{ID: "requested-approved", Kind: "requested_approved", Title: "Asked for access and approved it"},
			{ID: "approved-used", Kind: "approved_used", Title: "Approved a grant and used it"},
			{ID: "started-approved", Kind: "started_approved", Title: "Started a run and approved it"},
			{ID: "dev-prod", Kind: "roles", Title: "Operates in development and in production",
				First: []string{"dev", "dev-*", "*-dev", "*-dev.*", "staging", "*-staging"}, Second: []string{"prod", "prod-*", "*-prod", "*-prod.*", "production", "*-production"}},
		},
	}
}

// ParseRules reads a rules file: JSON, in which what is left out has its default. Unknown fields are refused.
func ParseRules(raw []byte) (Rules, error) {
	r := DefaultRules()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("%w: reading the rules: %w", ErrSettings, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return r, fmt.Errorf("%w: reading the rules: something follows them", ErrSettings)
	}
	return r, r.check()
}

func (r Rules) check() error {
	switch re, err := regexp.Compile(r.GroupPattern); {
	case r.Version != 1:
		return fmt.Errorf("%w: rules of version %d; this build reads version 1", ErrSettings, r.Version)
	case err != nil:
		return fmt.Errorf("%w: group_pattern: %w", ErrSettings, err)
	case re.NumSubexp() != 2:
		return fmt.Errorf("%w: group_pattern needs two parentheses, the namespace and the role", ErrSettings)
	case r.LeaverMinutes < 0 || r.ReviewDays < 0:
		return fmt.Errorf("%w: leaver_minutes and review_days can't be negative", ErrSettings)
	}
	for _, d := range r.Duties {
		switch d.Kind {
		case "requested_approved", "started_approved", "approved_used":
		case "roles":
			for _, p := range append(append([]string{}, d.First...), d.Second...) {
				if _, err := path.Match(p, ""); err != nil {
					return fmt.Errorf("%w: duty %q: the pattern %q: %w", ErrSettings, d.ID, p, err)
				}
			}
		default:
			return fmt.Errorf("%w: duty %q has the kind %q; requested_approved, started_approved, approved_used and roles are known", ErrSettings, d.ID, d.Kind)
		}
		if d.ID == "" || d.Title == "" {
			return fmt.Errorf("%w: a duty needs an id and a title", ErrSettings)
		}
	}
	return nil
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, strings.ReplaceAll(name, "/", "|")); ok && err == nil {
			return true
		}
	}
	return false
}
