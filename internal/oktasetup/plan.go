package oktasetup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// Action is what a plan does with one thing.
type Action string

// The actions.
const (
	Create   Action = "create"
	Alter    Action = "change"
	Keep     Action = "keep"
	Narrowed Action = "narrowed" // an admin left less than is wanted: stays, unless Options.Widen
	Conflict Action = "conflict" // somebody else's thing has the name
)

// Item is one line of a plan.
type Item struct {
	Action  Action   `json:"action"`
	Kind    string   `json:"kind"`
	Key     string   `json:"key"`
	Name    string   `json:"name"`
	ID      string   `json:"id,omitempty"` // of what is there
	Why     string   `json:"why"`
	Changes []Change `json:"changes,omitempty"`
	Note    string   `json:"note,omitempty"`
	Adopted bool     `json:"adopted,omitempty"` // somebody else's, taken over as told

	res *resource
	now okta.Document
}

// Change is one setting that differs.
type Change struct {
	Setting string `json:"setting"`
	From    string `json:"from"`
	To      string `json:"to"`
	Widens  bool   `json:"widens,omitempty"` // somebody gets more by it
	Left    bool   `json:"left,omitempty"`   // stays as it is: it widens what an admin narrowed

	field field
}

// Plan is how an org differs from what is wanted.
type Plan struct {
	Org   string `json:"org"`
	Name  string `json:"name"`
	Items []Item `json:"items"`

	spec  Spec
	known ids
}

// Count is how many items have an action.
func (p *Plan) Count(a Action) (n int) {
	for _, item := range p.Items {
		if item.Action == a {
			n++
		}
	}
	return n
}

// Nothing reports whether applying would do nothing.
func (p *Plan) Nothing() bool { return p.Count(Create)+p.Count(Alter)+p.Count(Conflict) == 0 }

// Spec is what is wanted, complete.
func (p *Plan) Spec() Spec { return p.spec }

// Options are how a plan is made.
type Options struct {
	Widen bool     // give back what an admin narrowed
	Adopt []string // keys of things of others that are to be taken over
	// Secret is the event hook's, needed where it is made or its address changes.
	Secret string
	// Key is the public half of a local key, made if create says so; ok is false if it is not here.
	Key func(name string, create bool) (jwk map[string]string, ok bool, err error)
	// Keep stores a secret that Okta tells once.
	Keep func(name, secret string) error
	// Progress is told what was done; may be nil.
	Progress func(Item)
}

// Make reads the org and says what is to be done.
func Make(ctx context.Context, org *okta.Client, spec Spec, o Options) (*Plan, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	p := &Plan{Org: org.URL(), Name: spec.Name, spec: spec, known: ids{}}
	lists := map[string][]okta.Document{}
	names := map[string]string{} // id → name, to show
	for _, res := range spec.wanted(org.URL()) {
		item := Item{Kind: res.kind, Key: res.key, Name: res.name, Why: res.why, Action: Create, res: &res}
		path, known := p.known.path(res.list)
		if known {
			all, err := listed(ctx, org, lists, path, res.query)
			if err != nil {
				return nil, fmt.Errorf("reading the org's %ss: %w", res.kind, err)
			}
			if err := res.compare(&item, all, p.known, spec, o); err != nil {
				return nil, err
			}
		}
		if item.Action == Create && res.lookup {
			return nil, fmt.Errorf("%w: no %s is named %q, whose members should be those that %s: make it, or name another", ErrMissing, res.kind, res.name, res.why)
		}
		if item.ID != "" && item.Action != Conflict {
			p.known[res.key], names[item.ID] = item.ID, res.name
		}
		names["{"+res.key+"}"] = res.name
		for i := range item.Changes {
			item.Changes[i].From, item.Changes[i].To = replaced(item.Changes[i].From, names), replaced(item.Changes[i].To, names)
		}
		p.Items = append(p.Items, item)
	}
	for _, key := range o.Adopt {
		if !slices.ContainsFunc(p.Items, func(i Item) bool { return i.Key == key }) {
			return nil, fmt.Errorf("there is nothing with the key %q to adopt; a plan shows the keys of what is in the way", key)
		}
	}
	return p, nil
}

// listed reads a collection once.
func listed(ctx context.Context, org *okta.Client, lists map[string][]okta.Document, path string, q url.Values) ([]okta.Document, error) {
	key := path + "?" + q.Encode()
	if all, read := lists[key]; read {
		return all, nil
	}
	all, err := org.Documents(ctx, path, q)
	if err != nil {
		return nil, err
	}
	lists[key] = all
	return all, nil
}

// replaced shows names where a text lists ids.
func replaced(text string, names map[string]string) string {
	parts := strings.Split(text, ", ")
	for i, part := range parts {
		if name, known := names[part]; known {
			parts[i] = name
		}
	}
	return strings.Join(parts, ", ")
}

// compare finds the resource among what is there, and says how it differs.
func (r *resource) compare(item *Item, all []okta.Document, known ids, spec Spec, o Options) error {
	now, ours, err := r.find(all, known, spec)
	if err != nil || now == nil {
		return err
	}
	item.now, item.ID, item.Action = now, now.Text("id"), Keep
	if !ours {
		switch {
		case r.shared:
			item.Note = "made by somebody else; used as it is: its members have the role"
			return nil
		case slices.Contains(o.Adopt, r.key):
			item.Adopted = true
		default:
			item.Action, item.Note = Conflict, "made by somebody else: adopt it with its key, or choose another name for the environment"
			return nil
		}
	}
	for _, f := range r.fields {
		have := f.have(now)
		want, _ := known.resolve(f.want)
		if same(have, want) {
			continue
		}
		c := Change{Setting: f.label, From: show(have), To: show(want), Widens: f.widens(have, want), field: f}
		c.Left = c.Widens && !o.Widen && !item.Adopted
		item.Changes = append(item.Changes, c)
	}
	switch {
	case item.Adopted, slices.ContainsFunc(item.Changes, func(c Change) bool { return !c.Left }):
		item.Action = Alter
	case len(item.Changes) > 0:
		item.Action = Narrowed
	}
	if item.Action == Keep && r.keyName != "" && o.Key != nil {
		return r.noteKey(item, o)
	}
	return nil
}

// find looks for the mark first, then for the name. Without a mark of its own a thing is ours if what it belongs to is.
func (r *resource) find(all []okta.Document, known ids, spec Spec) (now okta.Document, ours bool, err error) {
	if r.marked != "" {
		mark := spec.mark(r.key)
		for _, d := range all {
			if strings.Contains(d.Text(r.marked), mark) {
				if now != nil {
					return nil, false, fmt.Errorf("two %ss are marked %s: %s and %s. Take the mark out of the one that is not it", r.kind, mark, now.Text("id"), d.Text("id"))
				}
				now = d
			}
		}
		if now != nil {
			return now, true, nil
		}
	}
	name := r.identity()
	for _, d := range all {
		parts := []string{}
		for path := range strings.FieldsSeq(r.named) {
			parts = append(parts, d.Text(path))
		}
		if strings.Join(parts, "\x00") != name && (r.target == "" || d.Text("id") != known[r.target]) {
			continue
		}
		if r.proof != "" {
			for _, f := range r.fields {
				if f.path == r.proof && f.have(d) != f.want {
					return d, false, nil
				}
			}
		}
		return d, r.marked == "", nil
	}
	return nil, false, nil
}

// identity is what a document of this name has at the paths of named.
func (r *resource) identity() string {
	parts := []string{}
	for path := range strings.FieldsSeq(r.named) {
		text, _ := r.fixed[path].(string)
		parts = append(parts, text)
	}
	if r.lookup {
		return r.name
	}
	return strings.Join(parts, "\x00")
}

// noteKey says that a service's private key is not here: it may be elsewhere, where the service runs.
func (r *resource) noteKey(item *Item, o Options) error {
	_, here, err := o.Key(r.keyName, false)
	if err != nil {
		return fmt.Errorf("reading the key of %s: %w", r.name, err)
	}
	if !here {
		item.Note = "its private key is not in this directory"
	}
	return nil
}

// Conflicts is an error if somebody else's things are in the way, and says whose.
func (p *Plan) Conflicts() error {
	var in []string
	for _, item := range p.Items {
		if item.Action == Conflict {
			in = append(in, fmt.Sprintf("%s %q (%s): --adopt %s", item.Kind, item.Name, item.ID, item.Key))
		}
	}
	if in == nil {
		return nil
	}
	return fmt.Errorf("%w:\n  %s", ErrConflict, strings.Join(in, "\n  "))
}

// ErrMissing says that something is not in the org that set-up does not make.
var ErrMissing = errors.New("something is missing in the org")

// ErrConflict says that things of others have the names that set-up would use. Nothing is applied then.
var ErrConflict = errors.New("things that set-up did not make have the names that it would use")
