package serverplugin

import (
	"go.temporal.io/server/common/authorization"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// authType marks claims that ClaimMapper made. The server reserves "temporal" for its own calls.
const authType = "bailiwick"

// ClaimMapper hands the credentials of a call on to the Authorizer. It verifies nothing and never fails: the server would turn an error
// into a bare "Request unauthorized." and the caller would never learn why.
type ClaimMapper struct{}

var (
	_ authorization.ClaimMapper                     = ClaimMapper{}
	_ authorization.ClaimMapperWithAuthInfoRequired = ClaimMapper{}
)

// GetClaims returns claims without any role. What they are worth is decided by Authorize.
func (ClaimMapper) GetClaims(info *authorization.AuthInfo) (*authorization.Claims, error) {
	c := &call{authorization: newCredential("")}
	if info != nil {
		c.authorization = newCredential(info.AuthToken)
	}
	return &authorization.Claims{AuthType: authType, Extensions: c}, nil
}

// AuthInfoRequired makes the server call GetClaims for callers without any credential, too.
func (ClaimMapper) AuthInfoRequired() bool { return false }

// call is what one API call carries from the ClaimMapper over the Authorizer to the Interceptor. The three run one after another on the
// call's own goroutine, so it needs no lock.
type call struct {
	authorization credential      // the authorization header that the mapper saw; "" if none, never nil
	method        string          // full method that was admitted
	admission     *gate.Admission // nil until the Authorizer has admitted the call
}

// credential is the value of an authorization header, behind a function so that neither a formatter nor a debugger's dump shows it: the
// server may log claims, and formatting looks into unexported fields without asking their methods.
type credential func() string

func newCredential(header string) credential { return func() string { return header } }
