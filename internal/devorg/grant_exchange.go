package devorg

import (
	"encoding/json"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// maxActors bounds how many agents may stand behind one another.
const maxActors = 8

// grantExchange serves token exchange (RFC 8693). A service that acts on behalf of a person gets the person's `sub` and
// `uid` under its own `cid`, without `act`; an AI agent that presents its own token as actor gets the `act` shape.
func (o *Org) grantExchange(tx *store.Tx, g *grant) (tokenReply, error) {
	f := g.form
	if g.app.Settings.AuthMethod == authNone {
		return tokenReply{}, badRequest("unauthorized_client", "A public client cannot exchange tokens.")
	}
	if f.Get("subject_token_type") != accessTokenType {
		return tokenReply{}, badRequest("invalid_request", "The 'subject_token_type' must be %s.", accessTokenType)
	}
	if t := f.Get("requested_token_type"); t != "" && t != accessTokenType {
		return tokenReply{}, badRequest("invalid_request", "The 'requested_token_type' must be %s.", accessTokenType)
	}
	if f.Get("audience") != g.as.Audience {
		return tokenReply{}, badRequest("invalid_target", "The 'audience' must be the authorization server's audience, %s.", g.as.Audience)
	}
	scopes, err := g.as.clientScopes(f.Get("scope"))
	if err != nil {
		return tokenReply{}, err
	}
	subject, row, err := o.liveAccess(tx, g.call, g.as, f.Get("subject_token"))
	if err != nil || row.UserID == "" {
		return tokenReply{}, badRequest("invalid_grant", "The 'subject_token' is invalid, expired, revoked or not a user's access token of this authorization server.")
	}
	user, err := o.liveUser(tx, row.UserID)
	if err != nil {
		return tokenReply{}, badRequest("invalid_grant", "The user is not active.")
	}
	family, err := tx.Family(row.FamilyID)
	if err != nil {
		return tokenReply{}, err
	}
	if family.Revoked {
		return tokenReply{}, badRequest("invalid_grant", "The 'subject_token' was revoked.")
	}
	in := issue{as: g.as, app: g.app, kind: grantExchange, user: user, family: &family, scopes: scopes}
	if in.act, err = o.actorChain(tx, g, subject); err != nil {
		return tokenReply{}, err
	}
	reply, err := o.issueTokens(tx, g.call, in)
	reply.IssuedTokenType = accessTokenType
	return reply, err
}

// actorChain is the `act` claim for an agent's exchange: the agent outermost, the subject token's own chain inside. Nil
// for a plain on-behalf-of exchange.
func (o *Org) actorChain(tx *store.Tx, g *grant, subject *jws) (json.RawMessage, error) {
	inner := subject.claims["act"]
	if !g.form.Has("actor_token") && !g.form.Has("actor_token_type") {
		if inner != nil {
			// Dropping the chain would hide who acted.
			return nil, badRequest("invalid_request", "The 'subject_token' names an actor, so an 'actor_token' must be presented too.")
		}
		return nil, nil
	}
	if g.form.Get("actor_token_type") != accessTokenType {
		return nil, badRequest("invalid_request", "The 'actor_token_type' must be %s.", accessTokenType)
	}
	if !g.app.Settings.Agent {
		return nil, badRequest("invalid_request", "This client is not registered as an AI agent, so it cannot present an 'actor_token'.")
	}
	_, row, err := o.liveAccess(tx, g.call, g.as, g.form.Get("actor_token"))
	if err != nil || row.UserID != "" || row.ClientID != g.app.ID {
		return nil, badRequest("invalid_grant", "The 'actor_token' is not a live client-credentials access token of this client.")
	}
	if !canGrow(inner) {
		return nil, badRequest("invalid_request", "The chain of actors in the 'subject_token' is too long.")
	}
	return json.Marshal(actor{Sub: g.app.ID, SubProfile: "ai_agent", Act: inner})
}

// canGrow says whether one more actor fits around a chain.
func canGrow(chain json.RawMessage) bool {
	for depth := 1; chain != nil; depth++ {
		var a actor
		if depth >= maxActors || json.Unmarshal(chain, &a) != nil {
			return false
		}
		chain = a.Act
	}
	return true
}
