package serverplugin

import (
	"fmt"
	"log/slog"

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
	c := &call{}
	if info != nil {
		c.authorization = credential(info.AuthToken)
	}
	return &authorization.Claims{AuthType: authType, Extensions: c}, nil
}

// AuthInfoRequired makes the server call GetClaims for callers without any credential, too.
func (ClaimMapper) AuthInfoRequired() bool { return false }

// call is what one API call carries from the ClaimMapper over the Authorizer to the Interceptor. The three run one after another on the
// call's own goroutine, so it needs no lock.
type call struct {
	authorization credential      // value of the authorization header that the mapper saw; empty if none
	method        string          // full method that was admitted
	admission     *gate.Admission // nil until the Authorizer has admitted the call
}

// credential is the value of an authorization header. It hides itself from every formatter and logger, because the server may log claims.
type credential string

func (credential) String() string               { return "[token]" }
func (credential) GoString() string             { return "[token]" }
func (credential) LogValue() slog.Value         { return slog.StringValue("[token]") }
func (credential) MarshalText() ([]byte, error) { return []byte("[token]"), nil }

// Format covers the verbs that look past String, such as %x.
func (c credential) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[token]")) }
