package access

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
)

// WorkflowName is the workflow type of a request.
const WorkflowName = "bailiwick.access"

// The workflow's query and updates.
const (
	queryState     = "state"
	updateApprove  = "approve"
	updateDeny     = "deny"
	updateWithdraw = "withdraw"
	updateReturn   = "return"
	updateExtend   = "extend"
	updateRevoke   = "revoke"
	updateReview   = "review"
)

// Case is what a request's workflow starts with. The API makes it from a verified identity and a recorded decision; only the control plane's own
// client may start workflows in the namespace.
type Case struct {
	Version   int             `json:"v"`
	Asked     Asked           `json:"asked"`
	Digest    string          `json:"digest"`
	Requester identity.Claims `json:"requester"`
	At        time.Time       `json:"at"` // when it was asked, on the API's clock
	Rules     Rules           `json:"rules"`
	Decision  string          `json:"decision,omitempty"` // audit entry that let them ask
	Policies  []string        `json:"policies,omitempty"`
	Backend   string          `json:"backend"`
	Group     string          `json:"group,omitempty"`    // of the Okta back end
	Channels  []string        `json:"channels,omitempty"` // names of where notices go
}

// CaseVersion is the integer version of Case. History: 1 (2026-11) first.
const CaseVersion = 1

// Act is what somebody does to a request: the argument of every update.
type Act struct {
	By       identity.Claims `json:"by"`
	At       time.Time       `json:"at"`               // on the API's clock
	Digest   string          `json:"digest,omitempty"` // of what they saw; approvals and denials are bound to it
	Comment  string          `json:"comment,omitempty"`
	Decision string          `json:"decision,omitempty"` // audit entry that let them

	Seconds   int64 `json:"seconds,omitempty"`   // extend: how much longer
	Rules     Rules `json:"rules,omitzero"`      // extend: what policy lays on it
	Justified bool  `json:"justified,omitempty"` // review
}

// Notice is news of a request for people.
type Notice struct {
	ID      string    `json:"id"`    // the audit entry's: one notice, however often it is delivered
	Event   string    `json:"event"` // as in the audit entry
	At      time.Time `json:"at"`
	Text    string    `json:"text"` // one line
	Loud    bool      `json:"loud"` // break-glass, escalations: somebody must look now
	Request Request   `json:"request"`
}

// entryID makes an entry's UUIDv7 (RFC 9562 section 5.7) of a request's n-th event: an activity that is tried again writes the same entry.
func entryID(request string, n int, at time.Time) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(request+"\x00"), uint64(n)))
	b := sum[:16]
	ms := uint64(at.UnixMilli())
	b[0], b[1], b[2], b[3], b[4], b[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// recorded is an entry on its way into the record.
type recorded struct {
	entry  audit.Entry
	notice *Notice
}
