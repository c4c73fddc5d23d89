package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/policy"
)

func sample() Entry {
	return Entry{
		Version: EntryVersion, ID: "019a0000-0000-7000-8000-000000000001", Time: time.Date(2026, 11, 23, 15, 4, 5, 600, time.UTC),
		Kind: KindDecision, Gate: "dev",
		Actor: Party{Principal: "user:https://acme.example|00u1", Login: "alice@acme.example", ClientID: "0oacli",
			Groups: []string{"Everyone", "temporal:deploy:write"}, TokenID: "AT.1", Actors: []string{"0oaagent"}, ActorProfile: "ai_agent",
			Scopes: []string{"temporal"}, AuthTime: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC), ACR: "urn:okta:loa:2fa:any"},
		Action: "StartWorkflowExecution", Access: "operate",
		Resource: policy.Resource{Namespace: "deploy", WorkflowType: "Deploy", WorkflowID: "deploy-1", Cron: "0 3 * * *",
			SearchAttributes: []string{"env", "env=prod"}, Versioning: "auto_upgrade", Unresolved: true},
		Acts:     []Act{{Action: "TerminateWorkflowExecution", Resource: policy.Resource{Namespace: "deploy", WorkflowID: "deploy-1"}}},
		Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"roles.write"}, PolicyDigest: "ab12"},
		Reason:   `ship "v2" <now> & here`, RequestDigest: "cd34", Source: "127.0.0.1", Detail: map[string]string{"b": "2", "a": "1"},
	}
}

// The format is sealed for good: these bytes must never change for version 1.
const sampleGolden = `{"v":1,"id":"019a0000-0000-7000-8000-000000000001","time":"2026-11-23T15:04:05.0000006Z","kind":"decision","gate":"dev",` +
	`"actor":{"principal":"user:https://acme.example|00u1","login":"alice@acme.example","client_id":"0oacli","groups":["Everyone","temporal:deploy:write"],"token_id":"AT.1",` +
	`"actors":["0oaagent"],"actor_profile":"ai_agent","scopes":["temporal"],"auth_time":"2026-11-23T15:00:00Z","acr":"urn:okta:loa:2fa:any"},` +
	`"action":"StartWorkflowExecution","access":"operate","resource":{"namespace":"deploy","workflow_type":"Deploy","workflow_id":"deploy-1","cron":"0 3 * * *",` +
	`"search_attributes":["env","env=prod"],"versioning":"auto_upgrade","unresolved":true},` +
	`"acts":[{"action":"TerminateWorkflowExecution","resource":{"namespace":"deploy","workflow_id":"deploy-1"}}],` +
	`"decision":{"allow":true,"code":"allowed","policies":["roles.write"],"policy_digest":"ab12"},` +
	`"reason":"ship \"v2\" <now> & here","request_digest":"cd34","source":"127.0.0.1","detail":{"a":"1","b":"2"}}`

func TestMarshalGolden(t *testing.T) {
	raw, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != sampleGolden {
		t.Errorf("got\n%s\nwant\n%s", raw, sampleGolden)
	}
	back, err := ParseEntry(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, sample()) {
		t.Errorf("read back %+v", back)
	}
	small, err := Entry{ID: "1", Time: time.Unix(0, 0), Kind: KindGate}.Marshal()
	if want := `{"v":1,"id":"1","time":"1970-01-01T00:00:00Z","kind":"gate","gate":"","actor":{},"resource":{}}`; err != nil || string(small) != want {
		t.Errorf("got %s %v, want %s", small, err, want)
	}
}

// fill gives every field a value that needs escaping, so that a field the encoder forgets shows.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, k := range []string{"z" + text, "a" + text} {
			v.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(text))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	default:
		panic("field of kind " + v.Kind().String() + " needs a line here and in the encoder")
	}
}

func TestMarshalCoversEveryField(t *testing.T) {
	var all strings.Builder
	for c := range 0x80 {
		all.WriteByte(byte(c))
	}
	for _, text := range []string{"x", all.String(), "é\u2028\u2029\U0001F600\uFFFD<>&"} {
		var e Entry
		fill(reflect.ValueOf(&e).Elem(), text)
		e.Version = EntryVersion
		got, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if want := reference(t, e); string(got) != want {
			at := max(firstDifference(got, []byte(want))-20, 0)
			t.Errorf("got %.60q, encoding/json writes %.60q", got[at:], want[at:])
		}
		if _, err := ParseEntry(got); err != nil {
			t.Error(err)
		}
	}
}

func reference(t *testing.T, e Entry) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestMarshalRefuses(t *testing.T) {
	for name, change := range map[string]func(*Entry){
		"version":   func(e *Entry) { e.Version = 2 },
		"no id":     func(e *Entry) { e.ID = "" },
		"no kind":   func(e *Entry) { e.Kind = "" },
		"no time":   func(e *Entry) { e.Time = time.Time{} },
		"far time":  func(e *Entry) { e.Time = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"far auth":  func(e *Entry) { e.Actor.AuthTime = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"bad key":   func(e *Entry) { e.Detail = map[string]string{"\xff": ""} },
		"too large": func(e *Entry) { e.Reason = strings.Repeat("x", MaxEntry) },
	} {
		e := sample()
		change(&e)
		if raw, err := e.Marshal(); err == nil {
			t.Errorf("%s: written as %.100s", name, raw)
		} else if name == "too large" && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v is not ErrTooLarge", name, err)
		}
	}
	e := sample()
	e.Time = e.Time.In(time.FixedZone("", 3600))
	e.Reason = "bad \xff\xfe utf-8"
	raw, err := e.Marshal()
	if err != nil || !strings.Contains(string(raw), `"time":"2026-11-23T15:04:05.0000006Z"`) || !strings.Contains(string(raw), "bad \uFFFD\uFFFD utf-8") {
		t.Errorf("not made canonical: %s %v", raw, err)
	}
	if _, err := ParseEntry(raw); err != nil {
		t.Error(err)
	}
}

func TestParseEntryRefuses(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(sampleGolden, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(sampleGolden, old, new, 1)
	}
	for name, raw := range map[string]string{
		"empty":           "",
		"not JSON":        "entry",
		"null":            "null",
		"truncated":       sampleGolden[:len(sampleGolden)-1],
		"trailing data":   sampleGolden + "{}",
		"newline":         sampleGolden + "\n",
		"leading space":   " " + sampleGolden,
		"space inside":    replace(`"v":1,`, `"v":1, `),
		"version 2":       replace(`"v":1`, `"v":2`),
		"version 01":      replace(`"v":1`, `"v":01`),
		"version +1":      replace(`"v":1`, `"v":+1`),
		"no version":      replace(`"v":1,`, ``),
		"duplicate":       replace(`"gate":"dev"`, `"gate":"dev","gate":"dev"`),
		"duplicate other": replace(`"gate":"dev"`, `"gate":"prod","gate":"dev"`),
		"case":            replace(`"gate"`, `"Gate"`),
		"unknown":         replace(`"gate":"dev"`, `"gate":"dev","extra":1`),
		"order":           replace(`"kind":"decision","gate":"dev"`, `"gate":"dev","kind":"decision"`),
		"detail order":    replace(`"a":"1","b":"2"`, `"b":"2","a":"1"`),
		"detail twice":    replace(`"a":"1","b":"2"`, `"a":"1","a":"1","b":"2"`),
		"empty optional":  replace(`"action":"StartWorkflowExecution"`, `"action":""`),
		"empty list":      replace(`["roles.write"]`, `[]`),
		"escaped":         replace(`"dev"`, `"\u0064ev"`),
		"HTML escaped":    replace(`<now>`, `\u003cnow>`),
		"zone":            replace(`06Z`, `06+00:00`),
		"time zeros":      replace(`06Z`, `060Z`),
		"invalid UTF-8":   replace(`ship`, "sh\xffip"),
		"surrogate":       replace(`ship`, `\ud800`),
		"NUL":             replace(`ship`, "sh\x00ip"),
		"float version":   replace(`"v":1`, `"v":1.0`),
		"null decision":   replace(`"reason":"ship`, `"decision":null,"reason":"ship`),
		"array":           "[" + sampleGolden + "]",
		"deep":            `{"v":1,"id":` + strings.Repeat("[", 20000),
		"long":            `{"v":1,"id":"` + strings.Repeat("a", MaxEntry) + `"}`,
	} {
		if e, err := ParseEntry([]byte(raw)); err == nil {
			t.Errorf("%s: read as %+v", name, e)
		} else if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v is not ErrMalformed", name, err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(sampleGolden))
	f.Add([]byte(`{"v":1,"id":"1","time":"1970-01-01T00:00:00Z","kind":"gate","gate":"","actor":{},"resource":{}}`))
	f.Add([]byte(`{"v":2,"id":"\ud800"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEntry(raw)
		if err != nil {
			return
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, raw) {
			t.Errorf("read %q, wrote %q (%v)", raw, again, err)
		}
	})
}

func FuzzMarshal(f *testing.F) {
	f.Add("plain", "k", "v", int64(0))
	f.Add("\xff\u2028\"\\\x00", "é", "\xc0\xaf", int64(-62135596800))
	f.Fuzz(func(t *testing.T, text, key, value string, sec int64) {
		e := Entry{ID: text, Kind: Kind(text), Time: time.Unix(sec, 1), Gate: value, Actor: Party{Groups: []string{text, value}}, Reason: text,
			Detail: map[string]string{key: value}}
		raw, err := e.Marshal()
		if err != nil {
			return
		}
		if _, err := ParseEntry(raw); err != nil {
			t.Errorf("wrote what can't be read: %q: %v", raw, err)
		}
	})
}
