package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// UnverifiedClaims is what a token says about itself. Nobody checked it: show it to the token's holder, decide nothing by it.
type UnverifiedClaims struct {
	Issuer   string
	Subject  string // a person's login in Okta's access tokens
	UserID   string // Okta's uid; empty for a client
	ClientID string // cid
	Groups   []string
	Scopes   []string
	Nonce    string
	Expires  time.Time
	AuthTime time.Time
}

// DecodeUnverified reads the claims of a compact JWS without checking its signature. An opaque token is an error.
func DecodeUnverified(raw string) (UnverifiedClaims, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > 64<<10 {
		return UnverifiedClaims{}, errors.New("decoding the token: it is not a JWT (an opaque token of an org authorization server?)")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return UnverifiedClaims{}, fmt.Errorf("decoding the token: %w", err)
	}
	var c struct {
		Iss      string      `json:"iss"`
		Sub      string      `json:"sub"`
		UID      string      `json:"uid"`
		CID      string      `json:"cid"`
		Nonce    string      `json:"nonce"`
		Groups   []string    `json:"groups"`
		Groups2  []string    `json:"temporal_groups"`
		Scp      []string    `json:"scp"`
		Scope    string      `json:"scope"`
		Exp      json.Number `json:"exp"`
		AuthTime json.Number `json:"auth_time"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return UnverifiedClaims{}, fmt.Errorf("decoding the token: %w", err)
	}
	if c.Groups == nil {
		c.Groups = c.Groups2
	}
	if c.Scp == nil {
		c.Scp = strings.Fields(c.Scope)
	}
	return UnverifiedClaims{Issuer: c.Iss, Subject: c.Sub, UserID: c.UID, ClientID: c.CID, Groups: c.Groups, Scopes: c.Scp,
		Nonce: c.Nonce, Expires: seconds(c.Exp), AuthTime: seconds(c.AuthTime)}, nil
}

func seconds(n json.Number) time.Time {
	f, err := n.Float64()
	if err != nil || f <= 0 || f > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}
