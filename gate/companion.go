package gate

import (
	"context"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// MetadataIDToken is the gRPC metadata key under which a client may send its ID token beside the access token. The Temporal UI does.
const MetadataIDToken = "authorization-extras"

// companion verifies the ID token that came beside the access token, if one did. One that is there and no good refuses the call: whoever sent
// it meant it to count.
func (g *Gate) companion(ctx context.Context, who identity.Identity, values []string) (identity.Companion, error) {
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return identity.Companion{}, nil
	case len(values) > 1:
		return identity.Companion{}, &identity.Error{Code: identity.CodeIDToken, Detail: "more than one ID token was sent beside the access token"}
	}
	return g.cfg.Verifier.VerifyCompanion(ctx, who, identity.ParseUnverified(values[0]))
}
