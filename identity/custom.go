package identity

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Where an issuer's people's groups are.
const (
	GroupsFromToken = "token"
	GroupsLookup    = "lookup"
)

// Bounds of the claims that are kept without a meaning. They are kept for as long as the token is remembered.
const (
	maxCustom      = 4 << 10 // bytes of names and values together
	maxCustomNames = 32
)

// keep keeps a claim that the profile gives no meaning, for who gives it one.
func (c *Claims) keep(m member) {
	if m.name == "ver" || m.name == "_claim_sources" { // in every token of Okta's; where claims are that a token leaves out
		return
	}
	size := len(m.name) + len(m.value)
	for name, value := range c.Custom {
		size += len(name) + len(value)
	}
	if size > maxCustom || len(c.Custom) == maxCustomNames {
		c.CustomLost = true
		return
	}
	if c.Custom == nil {
		c.Custom = make(map[string]string, 4)
	}
	c.Custom[strings.Clone(m.name)] = strings.Clone(m.value) // the token's text need not live as long
}

// readElsewhere reads _claim_names (OpenID Connect Core section 5.6.2): it names claims that the token leaves out because they are elsewhere.
func (is *Issuer) readElsewhere(m member, c *Claims) *Error {
	if m.value[0] != '{' {
		return malformed("claim _claim_names is not an object")
	}
	names, err := parseObject(m.value, nil)
	if err != nil {
		return malformed("claim _claim_names is malformed")
	}
	for _, n := range names {
		for _, g := range is.GroupsClaims {
			c.GroupsElsewhere = c.GroupsElsewhere || n.name == g
		}
	}
	return nil
}

// CustomClaim finds a custom claim by its path, as JSON. A claim whose whole name is the path comes first ("https://acme.example/team", or
// "acme.team.lead" as one name); else the path's dots lead through objects. null is no value. ok is false where there is none.
func (c *Claims) CustomClaim(path string) (value string, ok bool) {
	value, ok = lookIn(c.Custom, path)
	return value, ok
}

// ProfileAttribute finds an attribute of the directory likewise.
func (c *Claims) ProfileAttribute(path string) (value string, ok bool) {
	return lookIn(c.Profile, path)
}

func lookIn(from map[string]string, path string) (string, bool) {
	if value, has := from[path]; has {
		return value, value != "null"
	}
	for cut := strings.LastIndexByte(path, '.'); cut > 0; cut = strings.LastIndexByte(path[:cut], '.') {
		if value, has := from[path[:cut]]; has {
			return within(value, path[cut+1:])
		}
	}
	return "", false
}

// within is lookIn for the members of an object.
func within(object, path string) (string, bool) {
	if object == "" || object[0] != '{' {
		return "", false
	}
	members, err := parseObject(object, nil)
	if err != nil {
		return "", false
	}
	inner := make(map[string]string, len(members))
	for _, m := range members {
		inner[m.name] = m.value
	}
	return lookIn(inner, path)
}

// ProfileOf makes a directory's attributes fit for Claims.Profile: each value in the one form that this package reads. What is no JSON is left out.
func ProfileOf(attributes map[string]json.RawMessage) map[string]string {
	out := make(map[string]string, len(attributes))
	for name, raw := range attributes {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			continue
		}
		if text, err := json.Marshal(v); err == nil {
			out[name] = string(text)
		}
	}
	return out
}

// Text reads a JSON string of a custom claim; false for anything else, and for what is empty, long or can't be seen.
func Text(value string) (string, bool) {
	if value == "" || value[0] != '"' {
		return "", false
	}
	s, ok := stringValue(value)
	return s, ok && printable(s)
}

// Texts reads an array of such strings, at most limit.
func Texts(value string, limit int) ([]string, bool) {
	out, err := names(member{"", value}, limit)
	return out, err == nil && value != "null"
}

// Whole reads a whole number; false for anything else, exponents and fractions included.
func Whole(value string) (int64, bool) {
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil
}
