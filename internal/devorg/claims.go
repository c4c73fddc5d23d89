package devorg

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// maxGroups is how many groups a groups claim may match before the token request fails, as at Okta.
const maxGroups = 100

// accessClaims is an access token of a custom authorization server.
type accessClaims struct {
	Ver        int             `json:"ver"`
	JTI        string          `json:"jti"`
	Iss        string          `json:"iss"`
	Aud        string          `json:"aud"`
	Iat        int64           `json:"iat"`
	Exp        int64           `json:"exp"`
	CID        string          `json:"cid"`
	UID        string          `json:"uid,omitempty"`       // absent when there is no user
	SCP        []string        `json:"scp,omitempty"`       // absent in an agent's token, which has Scope
	Scope      string          `json:"scope,omitempty"`     // space-separated; agents only
	AuthTime   int64           `json:"auth_time,omitempty"` // seconds; absent when there is no user
	Sub        string          `json:"sub"`
	SubProfile string          `json:"sub_profile,omitempty"`
	Act        json.RawMessage `json:"act,omitempty"`
	groups     groupsClaims
}

// actor is one link of an `act` chain (RFC 8693 section 4.1).
type actor struct {
	Sub        string          `json:"sub"`
	SubProfile string          `json:"sub_profile"`
	Act        json.RawMessage `json:"act,omitempty"`
}

// idClaims is an ID token.
type idClaims struct {
	Sub      string   `json:"sub"`
	Name     string   `json:"name,omitempty"`
	Email    string   `json:"email,omitempty"`
	Ver      int      `json:"ver"`
	Iss      string   `json:"iss"`
	Aud      string   `json:"aud"`
	Iat      int64    `json:"iat"`
	Exp      int64    `json:"exp"`
	JTI      string   `json:"jti"`
	AMR      []string `json:"amr"`
	IDP      string   `json:"idp"`
	Nonce    string   `json:"nonce,omitempty"`
	Username string   `json:"preferred_username,omitempty"`
	AuthTime int64    `json:"auth_time"`
	AtHash   string   `json:"at_hash"`
	groups   groupsClaims
}

// issue is one act of issuing tokens.
type issue struct {
	as     server
	app    store.App
	kind   string        // the grant type
	user   *store.User   // nil: client credentials
	family *store.Family // nil: client credentials
	scopes []string
	act    json.RawMessage // an agent's token when set: `scope`, `sub` = user id, `act`
}

// tokenReply is a token endpoint's answer.
type tokenReply struct {
	TokenType       string `json:"token_type"`
	ExpiresIn       int    `json:"expires_in"` // seconds
	AccessToken     string `json:"access_token"`
	Scope           string `json:"scope"`
	RefreshToken    string `json:"refresh_token,omitempty"`
	IDToken         string `json:"id_token,omitempty"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
}

// issueTokens signs an access token and, where a person and the openid scope are involved, an ID token.
func (o *Org) issueTokens(tx *store.Tx, c *call, in issue) (tokenReply, error) {
	if err := o.checkAssigned(tx, in.app, in.user); err != nil {
		return tokenReply{}, err
	}
	rule, err := o.ruleFor(tx, in.as, in.app, in.user, in.kind, in.scopes)
	if err != nil {
		return tokenReply{}, err
	}
	lifetime := rule.accessLife()
	claims := accessClaims{
		Ver: 1, JTI: "AT." + newSecret(), Iss: in.as.issuer, Aud: in.as.Audience, Iat: c.now.Unix(), Exp: c.now.Add(lifetime).Unix(),
		CID: in.app.ID, SCP: in.scopes, Sub: in.app.ID,
	}
	row := store.AccessToken{JTI: claims.JTI, AuthServer: in.as.ID, ClientID: in.app.ID, Issued: c.now, Expires: c.now.Add(lifetime)}
	if in.user != nil {
		if claims.groups, err = o.groupsClaims(tx, in, "RESOURCE"); err != nil {
			return tokenReply{}, err
		}
		claims.Sub, claims.UID, claims.AuthTime = in.user.Login, in.user.ID, in.family.AuthTime.Unix()
		row.UserID, row.FamilyID = in.user.ID, in.family.ID
	}
	if in.act != nil {
		claims.Sub, claims.SubProfile, claims.Act = in.user.ID, "user", in.act
		claims.SCP, claims.Scope = nil, joinScopes(in.scopes)
	}
	key, err := o.activeKey(tx, c, in.as.ID)
	if err != nil {
		return tokenReply{}, err
	}
	access, err := key.sign(claims)
	if err != nil {
		return tokenReply{}, err
	}
	if err := tx.AddAccessToken(row); err != nil {
		return tokenReply{}, err
	}
	if err := o.recordGrant(tx, c, in, "access_token", claims.JTI); err != nil {
		return tokenReply{}, err
	}
	reply := tokenReply{TokenType: "Bearer", ExpiresIn: int(lifetime / time.Second), AccessToken: access, Scope: joinScopes(in.scopes)}
	if in.user != nil && in.act == nil && slices.Contains(in.scopes, "openid") {
		groups, err := o.groupsClaims(tx, in, "IDENTITY")
		if err != nil {
			return tokenReply{}, err
		}
		id := in.idToken(c.now, access, groups)
		if reply.IDToken, err = key.sign(id); err != nil {
			return tokenReply{}, err
		}
		if err := o.recordGrant(tx, c, in, "id_token", id.JTI); err != nil {
			return tokenReply{}, err
		}
	}
	return reply, nil
}

// idToken describes the login to the client itself.
func (in issue) idToken(now time.Time, access string, groups groupsClaims) idClaims {
	half := sha256.Sum256([]byte(access))
	id := idClaims{
		Sub: in.user.ID, Ver: 1, Iss: in.as.issuer, Aud: in.app.ID, Iat: now.Unix(), Exp: now.Add(time.Hour).Unix(), JTI: "ID." + newSecret(),
		groups: groups, AMR: []string{"pwd"}, IDP: "00o" + "devorg0000000000" + "1", Nonce: in.family.Nonce, AuthTime: in.family.AuthTime.Unix(), AtHash: b64.EncodeToString(half[:16]),
	}
	if slices.Contains(in.scopes, "profile") {
		id.Name, id.Username = in.user.DisplayName(), in.user.Login
	}
	if slices.Contains(in.scopes, "email") {
		id.Email = in.user.Attribute("email")
	}
	return id
}

// groupsClaims are claims that list groups, by their names.
type groupsClaims map[string][]string

// MarshalJSON adds the groups claims, whose names are the server's settings.
func (a accessClaims) MarshalJSON() ([]byte, error) {
	type plain accessClaims
	return a.groups.addTo(plain(a))
}

// MarshalJSON adds the groups claims.
func (i idClaims) MarshalJSON() ([]byte, error) {
	type plain idClaims
	return i.groups.addTo(plain(i))
}

func (g groupsClaims) addTo(claims any) ([]byte, error) {
	raw, err := json.Marshal(claims)
	if err != nil || len(g) == 0 {
		return raw, err
	}
	more, err := json.Marshal(g)
	if err != nil {
		return nil, err
	}
	return append(append(raw[:len(raw)-1], ','), more[1:]...), nil
}

// groupsClaims lists, for each groups claim of a kind of token, the names of the person's groups that its filter matches, in name order.
func (o *Org) groupsClaims(tx *store.Tx, in issue, kind string) (groupsClaims, error) {
	groups, err := tx.GroupsOf(in.user.ID)
	if err != nil {
		return nil, err
	}
	out := groupsClaims{}
	for _, claim := range in.as.claims {
		if claim.ClaimType != kind || claim.ValueType != "GROUPS" || !claim.included(in.scopes) {
			continue
		}
		var names []string
		for _, g := range groups {
			if claim.matches(g.Name) {
				names = append(names, g.Name)
			}
		}
		if len(names) > maxGroups {
			return nil, badRequest("invalid_request", "The groups claim matches %d groups; at most %d fit in a token.", len(names), maxGroups)
		}
		if names != nil {
			out[claim.Name] = names
		}
	}
	return out, nil
}

// liveUser finds a person who may receive tokens: there, and ACTIVE.
func (o *Org) liveUser(tx *store.Tx, id string) (*store.User, error) {
	u, err := tx.User(id)
	if err != nil {
		return nil, err
	}
	if u.Status != store.Active {
		return nil, store.ErrNotFound
	}
	return &u, nil
}

// liveAccess checks an access token of the server completely: signature, expiry, revocation, and that its person is still active.
// Any error says that the token is not live; the cause is for logs only.
func (o *Org) liveAccess(tx *store.Tx, c *call, as server, raw string) (*jws, store.AccessToken, error) {
	t, err := o.openToken(tx, as.ID, raw)
	if err != nil {
		return nil, store.AccessToken{}, err
	}
	row, err := tx.AccessToken(t.claim("jti"))
	if err != nil {
		return nil, row, err
	}
	if row.Revoked || row.AuthServer != as.ID || !c.now.Before(row.Expires) {
		return nil, row, store.ErrNotFound
	}
	if row.UserID != "" {
		if _, err := o.liveUser(tx, row.UserID); err != nil {
			return nil, row, err
		}
	}
	return t, row, nil
}
