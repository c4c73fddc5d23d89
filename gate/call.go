package gate

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MetadataReason is the gRPC metadata key by which a caller says what a call is for. A reason with characters outside printable ASCII
	// travels under MetadataReason+"-bin" (gRPC carries "-bin" values as bytes).
	MetadataReason = "bailiwick-reason"
	// MetadataGrant is the gRPC metadata key by which a caller names the grant it acts under.
	MetadataGrant = "bailiwick-grant"

	maxReason = 1024 // bytes
	maxGrant  = 128  // bytes

	workflowService = "/temporal.api.workflowservice.v1.WorkflowService/"
	operatorService = "/temporal.api.operatorservice.v1.OperatorService/"
	adminService    = "/temporal.server.api.adminservice.v1.AdminService/"

	systemNamespace = "temporal-system"
)

// Call is one API call as it arrived.
type Call struct {
	Method        string     // full gRPC method: "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution"
	Namespace     string     // overrides the request's own namespace (a command that targets another one); normally empty
	Request       any        // the request message; nil for a stream
	Authorization []string   // every value of the authorization metadata
	IDToken       []string   // every value of MetadataIDToken
	Reason        []string   // every value of MetadataReason and MetadataReason+"-bin"
	Grant         []string   // every value of MetadataGrant
	Source        netip.Addr // zero when unknown
	Operation     *Operation // the Nexus operation that the call hands to its handler; nil for every other call
	Task          *Task      // what the request's task token says, if it has one
}

// actionName is the policy action of the call's method: the short name for WorkflowService, "Operator.X" for OperatorService, "Admin" for
// every method of AdminService. An unknown service keeps its full method, which no policy knows.
func (c *Call) actionName() string {
	if m, ok := strings.CutPrefix(c.Method, workflowService); ok {
		return m
	}
	if m, ok := strings.CutPrefix(c.Method, operatorService); ok {
		return "Operator." + m
	}
	if strings.HasPrefix(c.Method, adminService) {
		return "Admin"
	}
	return c.Method
}

func (c *Call) namespace() string {
	if c.Namespace != "" {
		return c.Namespace
	}
	if r, ok := c.Request.(interface{ GetNamespace() string }); ok {
		return r.GetNamespace()
	}
	return ""
}

func (c *Call) source() string {
	if !c.Source.IsValid() {
		return ""
	}
	return c.Source.Unmap().String()
}

// statedReason returns what the caller said the call is for and the grant it named. Two different values, control characters, invalid UTF-8
// and over-long text are refused: they end up in logs and on screens.
func (c *Call) statedReason() (reason, grant string, err error) {
	if reason, err = single("reason", c.Reason, maxReason); err != nil {
		return "", "", err
	}
	if grant, err = single("grant", c.Grant, maxGrant); err != nil {
		return "", "", err
	}
	return reason, grant, nil
}

func single(what string, values []string, limit int) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	v := values[0]
	switch {
	case len(values) > 1:
		return "", fmt.Errorf("more than one %s was sent; send one", what)
	case len(v) > limit:
		return "", fmt.Errorf("the %s is %d bytes long; the limit is %d", what, len(v), limit)
	case !utf8.ValidString(v):
		return "", fmt.Errorf("the %s is not valid UTF-8", what)
	case strings.ContainsFunc(v, func(r rune) bool {
		return unicode.IsControl(r) || r > unicode.MaxASCII && unicode.Is(unicode.Bidi_Control, r)
	}):
		return "", fmt.Errorf("the %s contains control characters", what)
	}
	return strings.TrimSpace(v), nil
}
