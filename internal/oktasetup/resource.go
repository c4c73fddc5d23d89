package oktasetup

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// resource is one thing that is wanted in the org.
type resource struct {
	kind, key, name string // key is unique and stable within the environment
	why             string // for people, and for the description where the kind has one
	list            string // path of the collection; "{key}" stands for the id of another resource
	query           url.Values
	named           string         // path of what it is called, by which it is found when it has no mark
	marked          string         // path of the field that carries the mark; empty: the kind has none, or its parent is ours
	fixed           map[string]any // written when it is made, and left alone then
	fields          []field        // compared, and changed
	keyName         string         // name of the local RSA key whose public half it is made with; empty: none
	shared          bool           // one of that name that somebody else made will do
	lookup          bool           // must be there; is never made
	put             bool           // made by PUT at list + "/" + the id of another
	target          string         // the key of that other
	proof           string         // path of a setting by which one of that name is ours; empty: by its mark, or because its parent is
}

// field is a setting that is compared. A list's order does not count.
type field struct {
	path, label string
	want        any // string, int, bool or []string; "{key}" in texts stands for an id
	grows       growth
}

// growth says which direction of a setting gives somebody more.
type growth int

const (
	plain   growth = iota // neither
	bigger                // a larger number, or more members
	active                // ACTIVE; changed by the lifecycle, not by PUT
	endless               // a larger number; 0 is without an end
)

// ids are the ids of resources that exist, by key.
type ids map[string]string

// resolve puts ids in for "{key}"; known says whether all of them exist.
func (m ids) resolve(v any) (out any, known bool) {
	switch v := v.(type) {
	case string:
		key, isRef := reference(v)
		if !isRef {
			return v, true
		}
		id, ok := m[key]
		return id, ok
	case []string:
		all, known := make([]string, 0, len(v)), true
		for _, s := range v {
			r, ok := m.resolve(s)
			known = known && ok
			if ok {
				all = append(all, r.(string))
			} else {
				all = append(all, s)
			}
		}
		slices.Sort(all)
		return all, known
	}
	return v, true
}

func reference(s string) (string, bool) {
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		return s[1 : len(s)-1], true
	}
	return "", false
}

// path puts ids into a collection's path.
func (m ids) path(list string) (string, bool) {
	for {
		before, rest, found := strings.Cut(list, "{")
		if !found {
			return list, true
		}
		key, after, _ := strings.Cut(rest, "}")
		id, known := m[key]
		if !known {
			return "", false
		}
		list = before + url.PathEscape(id) + after
	}
}

// have is the value of a field in a document, in the form of what is wanted.
func (f field) have(d okta.Document) any {
	switch f.want.(type) {
	case []string:
		return d.Texts(f.path)
	case int:
		return d.Number(f.path)
	case bool:
		b, _ := d.At(f.path).(bool)
		return b
	}
	return d.Text(f.path)
}

func same(a, b any) bool {
	if x, ok := a.([]string); ok {
		y, ok := b.([]string)
		return ok && slices.Equal(sorted(x), sorted(y))
	}
	return a == b
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

// widens reports whether going from what is there to what is wanted gives somebody more than they have.
func (f field) widens(have, want any) bool {
	switch f.grows {
	case active:
		return have != want
	case endless:
		w, h := want.(int), have.(int)
		return h != 0 && (w == 0 || w > h)
	case bigger:
		switch w := want.(type) {
		case int:
			return w > have.(int)
		case []string:
			return slices.ContainsFunc(w, func(s string) bool { return !slices.Contains(have.([]string), s) })
		}
	}
	return false
}

// show is a value for people.
func show(v any) string {
	switch v := v.(type) {
	case []string:
		if len(v) == 0 {
			return "none"
		}
		return strings.Join(v, ", ")
	case string:
		if v == "" {
			return "none"
		}
		return v
	}
	return fmt.Sprint(v)
}

// body is the document that makes the resource.
func (r *resource) body(known ids) (okta.Document, error) {
	d := okta.Document{}
	set := func(path string, v any) error {
		resolved, ok := known.resolve(v)
		if !ok {
			return fmt.Errorf("%s %q needs %v, which does not exist", r.kind, r.name, v)
		}
		d.Set(path, resolved)
		return nil
	}
	for path, v := range r.fixed {
		if err := set(path, v); err != nil {
			return nil, err
		}
	}
	for _, f := range r.fields {
		if f.grows == active {
			continue // is when it is made
		}
		if err := set(f.path, f.want); err != nil {
			return nil, err
		}
	}
	return d, nil
}
