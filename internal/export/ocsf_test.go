package export

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// ocsfClass is what OCSF 1.6.0 demands of a class: attributes that must be there beside those of every event, activities that it knows, and
// every attribute that it has (the base event's and the security_control profile's included). Written down from the public schema.
type ocsfClass struct {
	category   int
	required   []string
	activities []int
	attributes []string
}

var (
	ocsfBase = []string{"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
	ocsfMore = []string{"activity_name", "category_name", "class_name", "message", "severity", "status", "status_code", "status_detail", "status_id", "timezone_offset",
		"type_name", "unmapped", "observables", "raw_data", "action", "action_id", "disposition", "disposition_id", "policy", "authorizations"}
	ocsfIAMMore = []string{"actor", "http_request", "http_response", "src_endpoint"}
	ocsfClasses = map[int]ocsfClass{
		classAccountChange:    {3, []string{"user"}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, append([]string{"policies", "user_result"}, ocsfIAMMore...)},
		classAuthentication:   {3, []string{"user"}, []int{1, 2, 3, 4, 5, 6, 7}, append([]string{"service", "dst_endpoint", "session", "is_mfa", "is_remote", "auth_protocol_id"}, ocsfIAMMore...)},
		classEntityManagement: {3, []string{"entity"}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, append([]string{"comment", "entity_result", "access_list", "access_mask"}, ocsfIAMMore...)},
		classUserAccess:       {3, []string{"user", "privileges"}, []int{1, 2}, append([]string{"resource", "resources"}, ocsfIAMMore...)},
		classGroupManagement:  {3, []string{"group"}, []int{1, 2, 3, 4, 5, 6, 7, 8}, append([]string{"user", "privileges", "resource", "subgroup"}, ocsfIAMMore...)},
		classAPIActivity:      {6, []string{"actor", "api", "src_endpoint"}, []int{1, 2, 3, 4}, []string{"dst_endpoint", "http_request", "http_response", "resources"}},
	}
	// ocsfObjects: what each object type demands, and what it knows.
	ocsfObjects = map[string]struct{ required, oneOf, attributes []string }{
		"metadata":     {required: []string{"product", "version"}, attributes: strings.Fields("product version uid sequence original_time event_code log_provider log_name correlation_uid profiles labels")},
		"product":      {oneOf: []string{"name", "uid"}, attributes: strings.Fields("name uid vendor_name version feature")},
		"actor":        {oneOf: strings.Fields("process user invoked_by session app_name app_uid"), attributes: strings.Fields("process user invoked_by session app_name app_uid idp authorizations")},
		"user":         {oneOf: []string{"account", "name", "uid"}, attributes: strings.Fields("name uid type type_id email_addr credential_uid groups domain full_name has_mfa org uid_alt")},
		"api":          {required: []string{"operation"}, attributes: strings.Fields("operation service request response version group")},
		"request":      {required: []string{"uid"}, attributes: strings.Fields("uid data flags")},
		"response":     {attributes: strings.Fields("code error error_message message data flags")},
		"service":      {oneOf: []string{"name", "uid"}, attributes: strings.Fields("name uid version labels tags")},
		"entity":       {oneOf: strings.Fields("name uid device group org policy user"), attributes: strings.Fields("name uid type type_id version data device group org policy user email location")},
		"group":        {oneOf: []string{"name", "uid"}, attributes: strings.Fields("name uid type desc domain privileges")},
		"policy":       {oneOf: []string{"name", "type", "uid"}, attributes: strings.Fields("name type uid is_applied desc group version data")},
		"session":      {attributes: strings.Fields("uid created_time issuer expiration_time is_remote is_mfa credential_uid")},
		"src_endpoint": {oneOf: strings.Fields("ip uid name hostname svc_name instance_uid interface_uid interface_name domain"), attributes: strings.Fields("ip uid name hostname port svc_name type type_id domain")},
		"resource":     {oneOf: []string{"name", "uid"}, attributes: strings.Fields("name uid namespace type group owner hostname ip role role_id labels data version criticality")},
	}
)

// checkOCSF holds an event against the tables above.
func checkOCSF(raw []byte) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var e map[string]any
	if err := json.Unmarshal(raw, &e); err != nil {
		return []string{err.Error()}
	}
	num := func(k string) int { f, _ := e[k].(float64); return int(f) }
	class, known := ocsfClasses[num("class_uid")]
	if !known {
		return []string{fmt.Sprint("class ", e["class_uid"])}
	}
	for _, k := range append(slices.Clone(ocsfBase), class.required...) {
		if e[k] == nil {
			bad("%s is missing", k)
		}
	}
	allowed := slices.Concat(ocsfBase, ocsfMore, class.required, class.attributes)
	for k := range e {
		if !slices.Contains(allowed, k) {
			bad("the class has no attribute %s", k)
		}
	}
	if num("category_uid") != class.category {
		bad("category %d", num("category_uid"))
	}
	if a := num("activity_id"); a != 0 && a != 99 && !slices.Contains(class.activities, a) {
		bad("activity %d", a)
	}
	if e["activity_name"] == "" || e["activity_name"] == nil {
		bad("activity_name is missing, which 99 demands")
	}
	if num("type_uid") != num("class_uid")*100+num("activity_id") {
		bad("type_uid %d", num("type_uid"))
	}
	if s := num("severity_id"); s < 0 || s > 6 && s != 99 {
		bad("severity_id %d", s)
	}
	if num("time") < 1e12 {
		bad("time %v is not in milliseconds", e["time"])
	}
	if _, has := e["action_id"]; has {
		m, _ := e["metadata"].(map[string]any)
		if fmt.Sprint(m["profiles"]) != "[security_control]" {
			bad("action_id without its profile")
		}
	}
	if num("class_uid") == classAuthentication && e["service"] == nil && e["dst_endpoint"] == nil {
		bad("neither service nor dst_endpoint")
	}
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(strings.TrimSuffix(where, "s"), x)
			}
		case map[string]any:
			if where == "unmapped" {
				return
			}
			rule, known := ocsfObjects[where]
			if !known {
				bad("object %s is unknown", where)
				return
			}
			for _, k := range rule.required {
				if v[k] == nil {
					bad("%s.%s is missing", where, k)
				}
			}
			if len(rule.oneOf) > 0 && !slices.ContainsFunc(rule.oneOf, func(k string) bool { return v[k] != nil }) {
				bad("%s has none of %v", where, rule.oneOf)
			}
			for k, x := range v {
				if !slices.Contains(rule.attributes, k) {
					bad("%s has no attribute %s", where, k)
				}
				if x == "" || x == nil {
					bad("%s.%s is empty", where, k)
				}
				walk(k, x)
			}
		}
	}
	for k, v := range e {
		walk(k, v)
	}
	slices.Sort(problems)
	return problems
}

// lifecycle is an entry of each kind and event that docs/audit-log.md lists.
func lifecycle() []audit.Entry {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	alice := audit.Party{Principal: "user:https://acme.example|00u1", Login: "alice@acme.example", ClientID: "cli", Groups: []string{"dev"}}
	var all []audit.Entry
	add := func(kind audit.Kind, events []string, detail map[string]string, actor audit.Party) {
		for _, event := range events {
			d := map[string]string{}
			for k, v := range detail {
				d[k] = v
			}
			if event != "" {
				d["event"] = event
			}
			all = append(all, audit.Entry{ID: fmt.Sprintf("id-%d", len(all)), Time: at, Kind: kind, Gate: "dev-control", Actor: actor, Detail: d, Reason: "because",
				Resource: policy.Resource{Namespace: "payments", WorkflowID: "pay-1"}, Grant: map[bool]string{true: "g1"}[kind == audit.KindAccess]})
		}
	}
	add(audit.KindAccess, strings.Fields("requested approved denied withdrawn expired activated extended returned revoked ended escalated reminded reviewed refused"),
		map[string]string{"request": "r1", "requester": "user:https://acme.example|00u2", "requester_login": "bob@acme.example", "role": "write", "actions": "StartWorkflowExecution,SignalWorkflowExecution", "break_glass": "true"}, alice)
	add(audit.KindAccess, []string{"activated"}, nil, audit.Party{})
	add(audit.KindRevocation, strings.Fields("user_deactivated user_suspended group_removed session_revoked credential_changed lifted"),
		map[string]string{"subject": "user:https://acme.example|00u2", "login": "bob@acme.example", "group": "dev", "source": "event_hook", "bar": "b1", "effect": "all"}, audit.Party{})
	add(audit.KindRevocation, strings.Fields("user_deactivated group_removed credential_changed"), nil, audit.Party{})
	add(audit.KindDirectory, strings.Fields("joined left suspended restored group_added group_removed login authenticated"),
		map[string]string{"subject": "user:https://acme.example|00u2", "login": "bob@acme.example", "group": "dev", "session": "s1"}, audit.Party{})
	add(audit.KindKey, strings.Fields("created published rotated retired archived aborted"), map[string]string{"use": "attestation", "kid": "k1"}, alice)
	add(audit.KindReport, []string{"reconciled"}, map[string]string{"bypasses": "0"}, audit.Party{})
	add(audit.KindAdmin, []string{"erased", ""}, nil, alice)
	add(audit.KindPolicy, []string{"active", "failed"}, map[string]string{"policy_digest": "abc"}, audit.Party{})
	add(audit.KindGate, []string{"started", "stopped"}, map[string]string{"attestation_key": "k1"}, audit.Party{})
	add(audit.KindLost, []string{""}, nil, audit.Party{})
	for i, access := range []string{"read", "operate", "work", "administer", "delegate"} {
		for _, allow := range []bool{true, false} {
			e := decision(i, allow)
			e.Access = access
			all = append(all, e)
		}
	}
	for _, action := range strings.Fields("TerminateWorkflowExecution SignalWorkflowExecution Operator.DeleteNamespace DescribeWorkflowExecution UpdateSchedule") {
		e := decision(1, true)
		e.Action, e.ID = action, action
		e.Acts = []audit.Act{{Action: action, Resource: policy.Resource{Namespace: "payments", ScheduleID: "nightly"}}, {Action: action, Resource: policy.Resource{TaskQueue: "q"}}}
		all = append(all, e)
	}
	nobody := audit.Entry{ID: "nobody", Time: at, Kind: audit.KindDecision, Gate: "g", Decision: &policy.Decision{Code: "token_missing", PolicyDigest: ""}}
	return append(all, nobody)
}

// Every kind of entry becomes a valid event of OCSF, and nothing that the entry says is left out.
func TestOCSFIsValid(t *testing.T) {
	seen := map[int]bool{}
	for i, e := range lifecycle() {
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		body, err := FormatOCSF.Encode(&Event{Log: "bailiwick.test/log", Index: uint64(i), Raw: raw, Entry: e})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range checkOCSF(body) {
			t.Errorf("%s %s: %s\n%s", e.Kind, e.Detail["event"], p, body)
		}
		var v struct {
			Class int `json:"class_uid"`
		}
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		seen[v.Class] = true
		for _, word := range words(e) {
			if quoted := strings.Trim(quote(word), `"`); !strings.Contains(string(body), quoted) {
				t.Errorf("%s %s: %q is left out\n%s", e.Kind, e.Detail["event"], word, body)
			}
		}
		if strings.ContainsAny(string(body), "\n\r") {
			t.Error("more than one line")
		}
	}
	if len(seen) != len(ocsfClasses) {
		t.Errorf("classes seen: %v", seen)
	}
}

// words are the strings that an entry says.
func words(e audit.Entry) []string {
	w := []string{e.ID, e.Actor.Login, e.Actor.Principal, e.Actor.ClientID, e.Action, e.Resource.Namespace, e.Resource.WorkflowID, e.Grant, e.Source, e.RequestDigest, string(e.Kind), e.Gate}
	w = append(w, e.Reason, e.Resource.RunID, e.Resource.WorkflowType)
	w = append(w, e.Actor.Groups...)
	w = append(w, e.Actor.Actors...)
	for _, v := range e.Detail {
		w = append(w, v)
	}
	if e.Decision != nil {
		w = append(w, string(e.Decision.Code), e.Decision.Missing, e.Decision.PolicyDigest)
		w = append(w, e.Decision.Policies...)
		w = append(w, e.Decision.Reasons...)
	}
	return w
}

// The checker itself finds what is wrong.
func TestOCSFCheckerCanFail(t *testing.T) {
	e := decision(1, true)
	raw, _ := e.Marshal()
	for name, spoil := range map[string]func(object){
		"no user":          func(o object) { o["actor"] = object{} },
		"seconds":          func(o object) { o["time"] = 1790000000 },
		"type":             func(o object) { o["type_uid"] = 1 },
		"unknown":          func(o object) { o["color"] = "red" },
		"no product":       func(o object) { delete(o["metadata"].(object), "product") },
		"activity":         func(o object) { o["activity_id"], o["type_uid"] = 5, 600305 },
		"no endpoint":      func(o object) { delete(o, "src_endpoint") },
		"no profile":       func(o object) { delete(o["metadata"].(object), "profiles") },
		"empty":            func(o object) { o["api"].(object)["operation"] = "" },
		"unnamed activity": func(o object) { delete(o, "activity_name") },
	} {
		o := ocsf(&Event{Log: "l", Raw: raw, Entry: e})
		spoil(o)
		body, err := marshalJSON(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(checkOCSF(body)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// The bytes of both formats are what receivers were told: a change here is a change of a published format.
func TestGoldenFormats(t *testing.T) {
	e := decision(3, false)
	raw, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{FormatNative, FormatOCSF} {
		body, err := f.Encode(&Event{Log: "bailiwick.test/log", Index: 142, Raw: raw, Entry: e})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", string(f)+".json")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, append(body, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(body)+"\n" != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", f, body, want)
		}
	}
}
