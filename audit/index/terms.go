package index

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Field is one thing that entries can be looked up by. The numbers are stored: never change one, only add.
type Field int

const (
	FieldOriginator   Field = 1  // who the call was for, and whose run a worker answered for: principal, and login
	FieldAgent        Field = 2  // a link of the delegation chain
	FieldClient       Field = 3  // client id
	FieldNamespace    Field = 4  // of the resource and of each act
	FieldWorkflow     Field = 5  // workflow id, of the resource and of each act
	FieldWorkflowType Field = 6  // the same of the type
	FieldRun          Field = 7  // run id
	FieldAction       Field = 8  // API method, of the call and of each act
	FieldAccess       Field = 9  // read, operate, work or administer
	FieldOutcome      Field = 10 // "allow" or "deny"
	FieldCode         Field = 11 // reason code
	FieldPolicy       Field = 12 // id of a policy that determined it
	FieldGrant        Field = 13
	FieldSource       Field = 14 // address
	FieldToken        Field = 15 // the token's jti
	FieldKind         Field = 16
	FieldGate         Field = 17
	FieldWord         Field = 18 // of the reason text
	FieldSchedule     Field = 19
	FieldTaskQueue    Field = 20
	FieldName         Field = 21 // signal, update or query
	FieldGroup        Field = 22 // a group the caller was in
	FieldKeyUse       Field = 23 // attestation key that a gate's entry names
	FieldPolicySet    Field = 24 // digest of the set that decided
	FieldRefused      Field = 25 // originator or agent of an entry that was refused: 1 or 2 together with "deny" of 10, which nearly never meet
)

// term is one value of one field.
type term struct {
	field Field
	value string
}

const (
	maxValue = 256 // bytes of a stored value; longer ones are cut and carry a digest
	maxWords = 64  // of one reason
)

// normal makes a value storable in any database: bounded, UTF-8 and without NUL. Different values stay different.
func normal(v string) string {
	if len(v) <= maxValue && utf8.ValidString(v) && !strings.Contains(v, "\x00") {
		return v
	}
	sum := sha256.Sum256([]byte(v))
	cut := v
	if len(cut) > maxValue-80 {
		cut = cut[:maxValue-80]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(cut, "\uFFFD"), "\x00", "\uFFFD") + "\u2026" + hex.EncodeToString(sum[:])
}

// words splits a reason into what it can be found by: runs of letters and digits, in lower case.
func words(reason string) []string {
	return strings.FieldsFunc(strings.ToLower(strings.ToValidUTF8(reason, " ")), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// terms lists what an entry is found by, without repetition.
func terms(e *audit.Entry) []term {
	list := make(termList, 0, 28)
	list.add(FieldKind, string(e.Kind))
	list.add(FieldGate, e.Gate)
	list.add(FieldOriginator, e.Actor.Principal)
	list.add(FieldOriginator, e.Actor.Login)
	if e.Kind == audit.KindDecision { // a worker's answer, or Temporal's own act, on behalf of somebody
		list.add(FieldOriginator, e.Detail[audit.DetailOriginator])
		list.add(FieldOriginator, e.Detail[audit.DetailOriginatorLogin])
	}
	list.add(FieldClient, e.Actor.ClientID)
	list.add(FieldToken, e.Actor.TokenID)
	for _, a := range e.Actor.Actors {
		list.add(FieldAgent, a)
	}
	for _, g := range e.Actor.Groups {
		list.add(FieldGroup, g)
	}
	list.add(FieldAction, e.Action)
	list.add(FieldAccess, e.Access)
	list.resource(&e.Resource)
	for i := range e.Acts {
		list.add(FieldAction, e.Acts[i].Action)
		list.resource(&e.Acts[i].Resource)
	}
	if d := e.Decision; d != nil {
		outcome := "deny"
		if d.Allow {
			outcome = "allow"
		}
		list.add(FieldOutcome, outcome)
		list.add(FieldCode, string(d.Code))
		list.add(FieldPolicySet, d.PolicyDigest)
		for _, p := range d.Policies {
			list.add(FieldPolicy, p)
		}
		if !d.Allow {
			for _, t := range list {
				if t.field == FieldOriginator || t.field == FieldAgent {
					list.add(FieldRefused, t.value)
				}
			}
		}
	} else {
		list.add(FieldPolicySet, e.Detail["policy_digest"])
	}
	for i, w := range words(e.Reason) {
		if i == maxWords {
			break
		}
		list.add(FieldWord, w)
	}
	list.add(FieldGrant, e.Grant)
	list.add(FieldSource, e.Source)
	if e.Kind == audit.KindGate || e.Kind == audit.KindKey {
		list.add(FieldKeyUse, e.Detail["attestation_key"])
	}
	return list
}

type termList []term

func (l *termList) add(f Field, value string) {
	if value == "" {
		return
	}
	t := term{f, normal(value)}
	for _, have := range *l {
		if have == t {
			return
		}
	}
	*l = append(*l, t)
}

func (l *termList) resource(r *policy.Resource) {
	l.add(FieldNamespace, r.Namespace)
	l.add(FieldWorkflow, r.WorkflowID)
	l.add(FieldWorkflowType, r.WorkflowType)
	l.add(FieldRun, r.RunID)
	l.add(FieldSchedule, r.ScheduleID)
	l.add(FieldTaskQueue, r.TaskQueue)
	l.add(FieldName, r.Signal)
	l.add(FieldName, r.Update)
	l.add(FieldName, r.Query)
}
