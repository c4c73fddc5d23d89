package login

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// change is a wish for one profile's tables: nil tables stay as they are, and so does every key not named.
type change struct {
	keys  map[string]any // keys of [profile.NAME] to set
	tls   map[string]any // keys of [profile.NAME.tls] to set
	oauth map[string]any // the whole of [profile.NAME.oauth]; empty and not nil removes the table
}

// edit applies a change to a TOML file's content and leaves everything else, comments and order included, as it was. It edits the
// text where the profile is written as plain tables; the result is parsed and compared with the wish, and if the text edit did not
// do exactly that (inline tables, dotted keys, brackets inside multi-line strings) the file is written anew from its values, which
// keeps every value and loses comments.
func edit(content []byte, name string, c change) ([]byte, error) {
	want, err := decode(content)
	if err != nil {
		return nil, err
	}
	if err := c.apply(want, name); err != nil {
		return nil, err
	}
	text := string(content)
	base := "profile." + name
	for _, k := range slices.Sorted(maps.Keys(c.keys)) {
		text = setKey(text, base, k, c.keys[k])
	}
	for _, k := range slices.Sorted(maps.Keys(c.tls)) {
		text = setKey(text, base+".tls", k, c.tls[k])
	}
	if c.oauth != nil {
		text = replaceTable(text, base+".oauth", c.oauth)
	}
	if got, err := decode([]byte(text)); err == nil && reflect.DeepEqual(got, want) {
		return []byte(text), nil
	}
	var buf bytes.Buffer
	if err := toml.NewEncoder(&buf).Encode(want); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return buf.Bytes(), nil
}

// decode parses the file into plain maps. The error names line and column.
func decode(content []byte) (map[string]any, error) {
	m := map[string]any{}
	if err := toml.Unmarshal(content, &m); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("line %d, column %d: %s", pe.Position.Line, pe.Position.Col, pe.Message)
		}
		return nil, err
	}
	return m, nil
}

func (c change) apply(m map[string]any, name string) error {
	profiles, err := table(m, "profile")
	if err != nil {
		return err
	}
	profile, err := table(profiles, name)
	if err != nil {
		return err
	}
	maps.Copy(profile, c.keys)
	if len(c.tls) > 0 {
		tls, err := table(profile, "tls")
		if err != nil {
			return err
		}
		maps.Copy(tls, c.tls)
	}
	switch {
	case c.oauth == nil:
	case len(c.oauth) == 0:
		delete(profile, "oauth")
	default:
		profile["oauth"] = c.oauth
	}
	return nil
}

func table(m map[string]any, key string) (map[string]any, error) {
	switch t := m[key].(type) {
	case nil:
		made := map[string]any{}
		m[key] = made
		return made, nil
	case map[string]any:
		return t, nil
	default:
		return nil, fmt.Errorf("%q is not a table", key)
	}
}

// span finds a table's lines: head is its header's index and end the index after its last key, so that comments and blank lines which
// lead to the next header stay with that. ok is false when the text has no such header.
func span(lines []string, name string) (head, end int, ok bool) {
	head = slices.IndexFunc(lines, func(l string) bool { return header(l) == name })
	if head < 0 {
		return 0, 0, false
	}
	end = head + 1
	for i := head + 1; i < len(lines) && header(lines[i]) == ""; i++ {
		if l := strings.TrimSpace(lines[i]); l != "" && !strings.HasPrefix(l, "#") {
			end = i + 1
		}
	}
	return head, end, true
}

// header returns the name in a line such as "[profile.x.oauth]  # comment", or "".
func header(line string) string {
	l := strings.TrimSpace(line)
	if !strings.HasPrefix(l, "[") {
		return ""
	}
	name, rest, ok := strings.Cut(strings.TrimLeft(l, "["), "]")
	rest = strings.TrimSpace(strings.TrimLeft(rest, "]"))
	if !ok || rest != "" && !strings.HasPrefix(rest, "#") {
		return ""
	}
	return strings.TrimSpace(name)
}

func setKey(text, tableName, key string, value any) string {
	lines := split(text)
	line := encodeLine(key, value)
	head, end, ok := span(lines, tableName)
	if !ok {
		return replaceTable(text, tableName, map[string]any{key: value})
	}
	for i := head + 1; i < end; i++ {
		if k, _, found := strings.Cut(lines[i], "="); found && strings.TrimSpace(k) == key {
			lines[i] = line
			return join(lines)
		}
	}
	return join(slices.Insert(lines, head+1, line))
}

func replaceTable(text, name string, values map[string]any) string {
	lines := split(text)
	head, end, ok := span(lines, name)
	var fresh []string
	if len(values) > 0 {
		fresh = append(fresh, "["+name+"]")
		for _, k := range slices.Sorted(maps.Keys(values)) {
			fresh = append(fresh, encodeLine(k, values[k]))
		}
	}
	switch {
	case ok:
		lines = slices.Replace(lines, head, end, fresh...)
	case len(fresh) > 0:
		if len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) != "" {
			lines = append(lines, "")
		}
		lines = append(lines, fresh...)
	}
	return join(lines)
}

func encodeLine(key string, value any) string {
	var buf bytes.Buffer
	if err := toml.NewEncoder(&buf).Encode(map[string]any{key: value}); err != nil {
		return "" // the comparison in edit notices, and the fallback reports it
	}
	return strings.TrimRight(buf.String(), "\n")
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func join(lines []string) string { return strings.Join(lines, "\n") + "\n" }
