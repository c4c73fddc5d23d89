// Package oktasetup says what Bailiwick needs in an Okta org, how that differs from what is there, and makes it so.
//
// It owns the wanted state, the plan, its application, the check of a live org and the Terraform form of the wanted state. It refuses to know how requests
// are authorized, where files are kept and how a plan is shown. It never deletes, never takes over what it did not make, and gives nobody more than an admin
// has left them without being told to.
package oktasetup

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Spec is what is wanted. Name is required; the rest has defaults.
type Spec struct {
	Name       string   `json:"name"`                  // of the environment, such as "prod": part of every name, and of the mark by which things are found again
	Audience   string   `json:"audience"`              // of access tokens; default "api://temporal"
	Namespaces []string `json:"namespaces,omitempty"`  // Temporal's; each gets a group for each role
	Roles      []string `json:"roles"`                 // default DefaultRoles
	Pattern    string   `json:"group_pattern"`         // of groups' names; default "temporal:{namespace}:{role}", as in the starter set's roles.yaml
	MoreGroups []string `json:"more_groups,omitempty"` // other groups that tokens carry, by name, such as "security"
	People     string   `json:"people"`                // the group whose members may sign in; default "Everyone": without a role nobody may do anything
	Console    []string `json:"console,omitempty"`     // addresses of Temporal's web UI, such as "https://temporal.acme.com"; none: no app for it
	Workers    []string `json:"workers,omitempty"`     // names of worker services
	Rotation   bool     `json:"rotation"`              // the control plane rotates signing and client keys
	Membership bool     `json:"membership"`            // the control plane puts people into groups when a request for access is approved
	HookURI    string   `json:"hook_uri,omitempty"`    // where the control plane takes events; empty: no event hook
	HookTypes  []string `json:"hook_types,omitempty"`  // events that the hook brings
}

// DefaultRoles are those of the starter set.
func DefaultRoles() []string { return []string{"read", "write", "worker", "admin", "approver"} }

// Scopes of the authorization server that Bailiwick's programs ask for.
const (
	ScopePeople = "temporal"
	ScopeWorker = "temporal.worker"
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	spaceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`) // what roles.yaml's {namespace} matches
)

// Check says what is wrong with what is wanted, before anybody is asked.
func (s Spec) Check() error {
	_, err := s.complete()
	return err
}

// complete fills in defaults and checks the rest.
func (s Spec) complete() (Spec, error) {
	s.Audience = cmp.Or(s.Audience, "api://temporal")
	s.Pattern = cmp.Or(s.Pattern, "temporal:{namespace}:{role}")
	s.People = cmp.Or(s.People, "Everyone")
	if len(s.Roles) == 0 {
		s.Roles = DefaultRoles()
	}
	s.Namespaces, s.Workers, s.MoreGroups = distinct(s.Namespaces), distinct(s.Workers), distinct(s.MoreGroups)
	switch {
	case !nameForm.MatchString(s.Name):
		return s, fmt.Errorf("the environment's name is %q: use up to 32 lower-case letters, digits and dashes, such as prod", s.Name)
	case strings.ContainsAny(s.Audience, " \"\\"):
		return s, fmt.Errorf("the audience %q is not one word, such as api://temporal", s.Audience)
	case !strings.Contains(s.Pattern, "{namespace}") || !strings.Contains(s.Pattern, "{role}") || strings.HasPrefix(s.Pattern, "{"):
		return s, fmt.Errorf("the groups' pattern %q needs {namespace} and {role}, and something before them that the token's filter goes by", s.Pattern)
	}
	for _, n := range s.Namespaces {
		if !spaceForm.MatchString(n) {
			return s, fmt.Errorf("the namespace %q can't be part of a group's name: roles.yaml takes letters, digits, dot, underscore and dash", n)
		}
	}
	for _, r := range s.Roles {
		if !slices.Contains(DefaultRoles(), r) {
			return s, fmt.Errorf("there is no role %q; there are %s", r, strings.Join(DefaultRoles(), ", "))
		}
	}
	for _, w := range s.Workers {
		if !nameForm.MatchString(w) {
			return s, fmt.Errorf("the worker's name %q: use up to 32 lower-case letters, digits and dashes", w)
		}
	}
	for _, at := range s.Console {
		if err := checkAddress(at); err != nil {
			return s, fmt.Errorf("the web UI's address: %w", err)
		}
	}
	if s.HookURI != "" {
		if err := checkAddress(s.HookURI); err != nil {
			return s, fmt.Errorf("the event hook's address: %w", err)
		}
		if len(s.HookTypes) == 0 {
			return s, errors.New("the event hook has no types of events")
		}
	}
	return s, nil
}

func checkAddress(at string) error {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is no address such as https://temporal.acme.com", at)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1") {
		return fmt.Errorf("%q must be https; http is for this machine only", at)
	}
	return nil
}

func distinct(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// GroupName is the name of the group that has a role in a namespace.
func (s Spec) GroupName(namespace, role string) string {
	return strings.NewReplacer("{namespace}", namespace, "{role}", role).Replace(cmp.Or(s.Pattern, "temporal:{namespace}:{role}"))
}

// GroupFilter is the regular expression of the groups that tokens carry. It is as narrow as the names allow: a token with more than 100 groups is none.
func (s Spec) GroupFilter() string {
	pattern := cmp.Or(s.Pattern, "temporal:{namespace}:{role}")
	start, _, _ := strings.Cut(pattern, "{")
	filter := regexp.QuoteMeta(start) + ".*"
	if len(s.MoreGroups) == 0 {
		return "^" + filter
	}
	all := []string{filter}
	for _, g := range s.MoreGroups {
		all = append(all, regexp.QuoteMeta(g))
	}
	return "^(" + strings.Join(all, "|") + ")$"
}

// label is the name of a thing of this environment.
func (s Spec) label(what string) string { return "Bailiwick " + what + " (" + s.Name + ")" }

// mark is how a thing is found again, whatever it is called by then.
func (s Spec) mark(key string) string { return "[bailiwick:" + s.Name + "/" + key + "]" }
