package export

import (
	"strings"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that events are written in (https://schema.ocsf.io/1.6.0).
const OCSFVersion = "1.6.0"

// Classes and categories of OCSF that entries become.
const (
	ocsfIAM         = 3
	ocsfApplication = 6

	classAccountChange    = 3001
	classAuthentication   = 3002
	classEntityManagement = 3004
	classUserAccess       = 3005
	classGroupManagement  = 3006
	classAPIActivity      = 6003
)

var classNames = map[int]string{
	classAccountChange: "Account Change", classAuthentication: "Authentication", classEntityManagement: "Entity Management",
	classUserAccess: "User Access Management", classGroupManagement: "Group Management", classAPIActivity: "API Activity",
}

var activityNames = map[int]map[int]string{
	classAccountChange:    {1: "Create", 2: "Enable", 5: "Disable", 6: "Delete", 9: "Lock", 12: "Unlock", 99: "Other"},
	classAuthentication:   {1: "Logon", 2: "Logoff", 99: "Other"},
	classEntityManagement: {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 8: "Enable", 9: "Disable", 10: "Activate", 11: "Deactivate", 12: "Suspend", 13: "Resume", 99: "Other"},
	classUserAccess:       {1: "Assign Privileges", 2: "Revoke Privileges", 99: "Other"},
	classGroupManagement:  {3: "Add User", 4: "Remove User", 99: "Other"},
	classAPIActivity:      {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
}

// object is a JSON object that is written with its keys sorted.
type object map[string]any

// put sets a key unless the value is empty.
func (o object) put(key string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case object:
		if len(v) == 0 {
			return
		}
	case []object:
		if len(v) == 0 {
			return
		}
	case int64:
		if v == 0 {
			return
		}
	}
	o[key] = value
}

// ocsf maps an entry to an OCSF event. What has no place in its class goes into unmapped, under the entry's own names; nothing is left out.
func ocsf(e *Event) object {
	class, activity, fields := classify(&e.Entry)
	category := ocsfIAM
	if class == classAPIActivity {
		category = ocsfApplication
	}
	o := object{
		"category_uid": category, "category_name": map[int]string{ocsfIAM: "Identity & Access Management", ocsfApplication: "Application Activity"}[category],
		"class_uid": class, "class_name": classNames[class],
		"activity_id": activity, "activity_name": activityNames[class][activity],
		"type_uid": class*100 + activity, "type_name": classNames[class] + ": " + activityNames[class][activity],
		"time": e.Entry.Time.UnixMilli(), "timezone_offset": 0,
		"metadata": ocsfMetadata(e),
		"unmapped": unmapped(e),
	}
	for k, v := range fields {
		o.put(k, v)
	}
	severity, name := ocsfSeverity(severityOf(&e.Entry))
	o["severity_id"], o["severity"] = severity, name
	o["status_id"], o["status"] = 1, "Success"
	o.put("message", summary(&e.Entry))
	if d := e.Entry.Decision; d != nil {
		o["action_id"], o["action"] = 1, "Allowed"
		o["disposition_id"], o["disposition"] = 1, "Allowed"
		if !d.Allow {
			o["status_id"], o["status"] = 2, "Failure"
			o["action_id"], o["action"] = 2, "Denied"
			o["disposition_id"], o["disposition"] = 2, "Blocked"
		}
		o.put("status_code", string(d.Code))
		o.put("status_detail", strings.Join(d.Reasons, "; "))
		o.put("policy", policyObject(d))
	} else if e.Entry.Kind == audit.KindLost || e.Entry.Detail["event"] == "refused" || e.Entry.Detail["event"] == "denied" {
		o["status_id"], o["status"] = 2, "Failure"
	}
	return o
}

func ocsfSeverity(s Severity) (int, string) {
	switch s {
	case SeverityAlert:
		return 4, "High"
	case SeverityWarning:
		return 3, "Medium"
	case SeverityNotice:
		return 2, "Low"
	}
	return 1, "Informational"
}

func ocsfMetadata(e *Event) object {
	m := object{
		"version": OCSFVersion,
		"product": object{"name": "Bailiwick", "vendor_name": "Bailiwick", "uid": "bailiwick"},
		"uid":     e.Entry.ID, "sequence": e.Index, "original_time": e.Entry.Time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"),
		"event_code": string(e.Entry.Kind), "log_provider": e.Entry.Gate,
	}
	m.put("log_name", e.Log)
	m.put("correlation_uid", firstOf(e.Entry.Detail["request"], e.Entry.Grant))
	if e.Entry.Decision != nil {
		m["profiles"] = []string{"security_control"}
	}
	if e.Test {
		m["labels"] = []string{"test"}
	}
	return m
}

// classify says what an entry is in OCSF, with the attributes that its class asks for.
func classify(e *audit.Entry) (class, activity int, fields object) {
	fields = object{"actor": actorObject(&e.Actor)}
	fields.put("src_endpoint", endpointObject(e))
	switch e.Kind {
	case audit.KindDecision:
		fields["api"] = apiObject(e)
		fields.put("resources", resourceObjects(e))
		return classAPIActivity, crud(e.Action, e.Access), fields
	case audit.KindDirectory:
		return directory(e, fields)
	case audit.KindRevocation:
		return revocation(e, fields)
	case audit.KindAccess:
		return accessRequest(e, fields)
	}
	fields["entity"], activity = entity(e)
	fields.put("comment", e.Reason)
	return classEntityManagement, activity, fields
}

// crud is the activity of an API call. What takes or answers tasks is neither of the four.
func crud(action, access string) int {
	name := strings.TrimPrefix(strings.TrimPrefix(action, "Operator."), "Command.")
	switch {
	case access == string(policy.Read):
		return 2
	case access == string(policy.Work):
		return 99
	case has(name, "Start", "Create", "Register", "Schedule", "SignalWithStart", "ExecuteMultiOperation", "Add"):
		return 1
	case has(name, "Delete", "Terminate", "Remove", "RequestCancel", "Stop", "Deprecate"):
		return 4
	case name == "":
		return 99
	}
	return 3
}

func has(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func directory(e *audit.Entry, fields object) (int, int, object) {
	user := subjectObject(e)
	event := e.Detail["event"]
	switch event {
	case "group_added", "group_removed":
		fields["user"] = user
		fields["group"] = object{"name": firstOf(e.Detail["group"], "unknown")}
		return classGroupManagement, map[string]int{"group_added": 3, "group_removed": 4}[event], fields
	case "login", "authenticated":
		fields["user"] = user
		fields["service"] = object{"name": firstOf(e.Gate, "identity provider")}
		fields.put("session", nonEmpty(object{}, "uid", e.Detail["session"]))
		if event == "authenticated" { // a step of a login, which is told by itself
			return classAuthentication, 99, fields
		}
		return classAuthentication, 1, fields
	}
	fields["user"] = user
	activity := map[string]int{"joined": 1, "left": 5, "suspended": 9, "restored": 12}[event]
	if activity == 0 {
		activity = 99
	}
	return classAccountChange, activity, fields
}

func revocation(e *audit.Entry, fields object) (int, int, object) {
	fields["user"] = subjectObject(e)
	event := e.Detail["event"]
	switch event {
	case "user_deactivated":
		return classAccountChange, 5, fields
	case "user_suspended":
		return classAccountChange, 9, fields
	case "session_revoked":
		fields["service"] = object{"name": firstOf(e.Gate, "identity provider")}
		return classAuthentication, 2, fields
	case "group_removed":
		fields["group"] = object{"name": firstOf(e.Detail["group"], "unknown")}
		return classGroupManagement, 4, fields
	case "lifted":
		fields["privileges"] = []string{firstOf(e.Detail["effect"], "all")}
		return classUserAccess, 1, fields
	}
	fields["privileges"] = []string{firstOf(e.Detail["effect"], "all")}
	return classUserAccess, 2, fields
}

// accessRequest maps the steps of a request for access: those that change what somebody may do, and the others.
func accessRequest(e *audit.Entry, fields object) (int, int, object) {
	event := e.Detail["event"]
	activity := map[string]int{"activated": 1, "extended": 1, "returned": 2, "revoked": 2, "ended": 2, "expired": 2}[event]
	fields.put("resources", resourceObjects(e))
	if activity == 0 {
		fields["entity"], activity = entity(e)
		fields.put("comment", e.Reason)
		delete(fields, "resources") // Entity Management has none
		return classEntityManagement, activity, fields
	}
	user := nonEmpty(object{}, "uid", e.Detail["requester"])
	user.put("name", e.Detail["requester_login"])
	if len(user) == 0 {
		user = userObject(&e.Actor)
	}
	fields["user"] = user
	var privileges []string
	for p := range strings.SplitSeq(e.Detail["actions"], ",") {
		if p = strings.TrimSpace(p); p != "" {
			privileges = append(privileges, p)
		}
	}
	if len(privileges) == 0 {
		privileges = []string{firstOf(e.Detail["role"], "access")}
	}
	fields["privileges"] = privileges
	return classUserAccess, activity, fields
}
