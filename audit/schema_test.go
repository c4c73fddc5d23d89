package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// checker checks values against the part of JSON Schema (draft 2020-12) that the published schema uses. What it does not know is an error.
type checker struct{ root map[string]any }

func (c checker) check(s map[string]any, v any, at string) error {
	for _, word := range slices.Sorted(maps.Keys(s)) {
		arg, bad := s[word], ""
		text, isText := v.(string)
		list, isList := v.([]any)
		object, isObject := v.(map[string]any)
		switch word {
		case "$schema", "$id", "$defs", "title", "description", "properties", "then":
		case "type":
			_, isBool := v.(bool)
			if !(arg == "string" && isText || arg == "object" && isObject || arg == "array" && isList || arg == "boolean" && isBool) {
				bad = fmt.Sprintf("is no %v", arg)
			}
		case "const":
			if !reflect.DeepEqual(arg, v) {
				bad = fmt.Sprintf("is not %v", arg)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				bad = fmt.Sprintf("%v is none of %v", v, arg)
			}
		case "pattern":
			if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
				bad = fmt.Sprintf("%q does not match %v", text, arg)
			}
		case "minLength":
			if isText && float64(len(text)) < arg.(float64) {
				bad = "is too short"
			}
		case "minItems":
			if isList && float64(len(list)) < arg.(float64) {
				bad = "has too few items"
			}
		case "minProperties":
			if isObject && float64(len(object)) < arg.(float64) {
				bad = "has too few fields"
			}
		case "required":
			for _, name := range arg.([]any) {
				if _, ok := object[name.(string)]; isObject && !ok {
					bad = fmt.Sprintf("has no %v", name)
				}
			}
		case "items":
			for i, item := range list {
				if err := c.check(arg.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		case "additionalProperties":
			known, _ := s["properties"].(map[string]any)
			for name, item := range object {
				inner, ok := known[name].(map[string]any)
				if !ok {
					if inner, ok = arg.(map[string]any); !ok {
						bad = "has the unknown field " + name
						break
					}
				}
				if err := c.check(inner, item, at+"."+name); err != nil {
					return err
				}
			}
		case "$ref":
			name, ok := strings.CutPrefix(arg.(string), "#/$defs/")
			def, ok2 := c.root["$defs"].(map[string]any)[name].(map[string]any)
			if !ok || !ok2 {
				return fmt.Errorf("%s: reference to %v", at, arg)
			}
			if err := c.check(def, v, at); err != nil {
				return err
			}
		case "allOf":
			for _, one := range arg.([]any) {
				if err := c.check(one.(map[string]any), v, at); err != nil {
					return err
				}
			}
		case "if":
			matches := true
			for name, inner := range arg.(map[string]any)["properties"].(map[string]any) {
				if item, ok := object[name]; ok && c.check(inner.(map[string]any), item, at) != nil {
					matches = false
				}
			}
			if matches {
				if err := c.check(s["then"].(map[string]any), v, at); err != nil {
					return err
				}
			}
		default:
			bad = "the schema uses " + word + ", which this test does not know"
		}
		if bad != "" {
			return fmt.Errorf("%s: %s", at, bad)
		}
	}
	return nil
}

func schemaChecker(t *testing.T) checker {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal([]byte(EntrySchema()), &root); err != nil {
		t.Fatal(err)
	}
	return checker{root}
}

func (c checker) entry(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	return c.check(c.root, v, "entry")
}

// everyField sets every field of a struct, so that no field is without its place in the schema.
func everyField(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		everyField(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)))
			return
		}
		for i := range v.NumField() {
			everyField(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			everyField(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"event": "tested"}))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(1)
	}
}

// The published schema takes entries of every kind as they are written, from the barest to one with every field.
func TestSchemaTakesEntries(t *testing.T) {
	c := schemaChecker(t)
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var full Entry
	everyField(reflect.ValueOf(&full).Elem())
	full.Version, full.Kind, full.Access, full.Decision.PolicyDigest = EntryVersion, KindDecision, "operate", strings.Repeat("0a", 32)
	list := []Entry{full, {Kind: KindDecision, Action: "StartWorkflowExecution", Decision: &policy.Decision{Code: "token_missing"}}}
	for _, k := range []Kind{KindPolicy, KindGate, KindLost, KindAccess, KindRevocation, KindDirectory, KindKey, KindReport, KindAdmin} {
		list = append(list, Entry{Kind: k, Detail: map[string]string{"event": "tested"}}, Entry{Kind: k})
	}
	for _, access := range []policy.Access{policy.Read, policy.Operate, policy.Work, policy.Administer, policy.Delegate} {
		list = append(list, Entry{Kind: KindDecision, Action: "x", Access: string(access), Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed}})
	}
	for i, e := range list {
		if i > 0 {
			e.Version, e.ID, e.Time, e.Gate = EntryVersion, fmt.Sprint("e", i), at.Add(time.Duration(i)*time.Millisecond), "g"
		}
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseEntry(raw); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if err := c.entry(raw); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, bad := range []string{`{}`, `[]`,
		`{"v":2,"id":"a","time":"2026-11-23T12:00:00Z","kind":"gate","gate":"g","actor":{},"resource":{}}`,
		`{"v":1,"id":"","time":"2026-11-23T12:00:00Z","kind":"gate","gate":"g","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-11-23T12:00:00+01:00","kind":"gate","gate":"g","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-11-23T12:00:00Z","kind":"other","gate":"g","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-11-23T12:00:00Z","kind":"decision","gate":"g","actor":{},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-11-23T12:00:00Z","kind":"gate","gate":"g","actor":{"name":"x"},"resource":{}}`,
		`{"v":1,"id":"a","time":"2026-11-23T12:00:00Z","kind":"gate","gate":"g","actor":{},"resource":{},"detail":{"n":1}}`,
		`{"v":1,"id":"a","time":"2026-11-23T12:00:00Z","kind":"gate","gate":"g","actor":{},"resource":{},"granted":false}`} {
		if c.entry([]byte(bad)) == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}

// Each field that an entry can have is described, and is required when it is always written.
func TestSchemaIsThatOfTheTypes(t *testing.T) {
	c := schemaChecker(t)
	defs := c.root["$defs"].(map[string]any)
	for _, x := range []struct {
		schema any
		of     reflect.Type
	}{{c.root, reflect.TypeFor[Entry]()}, {defs["party"], reflect.TypeFor[Party]()}, {defs["act"], reflect.TypeFor[Act]()}, {defs["resource"], reflect.TypeFor[policy.Resource]()}, {defs["decision"], reflect.TypeFor[policy.Decision]()}} {
		s := x.schema.(map[string]any)
		names, required := map[string]bool{}, map[string]bool{}
		for i := range x.of.NumField() {
			name, options, _ := strings.Cut(x.of.Field(i).Tag.Get("json"), ",")
			names[name] = true
			if options == "" {
				required[name] = true
			}
		}
		stated := map[string]bool{}
		if list, ok := s["required"].([]any); ok {
			for _, n := range list {
				stated[n.(string)] = true
			}
		}
		described := map[string]bool{}
		for n := range s["properties"].(map[string]any) {
			described[n] = true
		}
		if !maps.Equal(names, described) || !maps.Equal(required, stated) {
			t.Errorf("%v: described %v of %v, required %v of %v", x.of, described, names, stated, required)
		}
	}
}
