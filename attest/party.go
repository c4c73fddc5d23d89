package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A party is signed as a list: id, login, client id, profile, session; empty ones at the end are left out.
//
//   - The id is the principal. Where its issuer is the payload's idp, the issuer is left out: "user:|00u1".
//   - The profile is empty when it is the principal's kind, and "-" when there is none.
const partyFields = 5

// unstated is the profile of a party whose kind the issuer did not state.
const unstated = "-"

// issuerOf returns the issuer in a principal such as "user:ISSUER|UID", or "".
func issuerOf(principal string) string {
	_, rest, ok := strings.Cut(principal, ":")
	if issuer, _, named := strings.Cut(rest, "|"); ok && named {
		return issuer
	}
	return ""
}

// kindOf returns the principal's kind if it is one that is also a profile.
func kindOf(principal string) string {
	if kind, _, _ := strings.Cut(principal, ":"); kind == "user" || kind == "client" {
		return kind
	}
	return ""
}

// packParty fails for a party that would be read back as another.
func packParty(p Party, idp string) ([]string, error) {
	id := p.Principal
	kind, rest, _ := strings.Cut(id, ":")
	if strings.HasPrefix(rest, "|") {
		return nil, fmt.Errorf("the principal %q names no issuer", id)
	}
	if idp != "" && strings.HasPrefix(rest, idp+"|") {
		id = kind + ":" + rest[len(idp):]
	}
	profile := p.Profile
	switch {
	case profile == kindOf(p.Principal):
		profile = ""
	case profile == "":
		profile = unstated
	}
	list := []string{id, p.Login, p.ClientID, profile, p.SessionID}
	for len(list) > 1 && list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	if unpackParty(list, idp) != p {
		return nil, fmt.Errorf("the party %q with the profile %q can't be told from another", p.Principal, p.Profile)
	}
	return list, nil
}

// unpackParty reads a party. What packParty would not have written comes out as something that it would write otherwise, so that the
// comparison of bytes refuses it.
func unpackParty(list []string, idp string) Party {
	if len(list) == 0 || len(list) > partyFields {
		return Party{}
	}
	var f [partyFields]string
	copy(f[:], list)
	if kind, rest, ok := strings.Cut(f[0], ":"); ok && idp != "" && strings.HasPrefix(rest, "|") {
		f[0] = kind + ":" + idp + rest
	}
	switch f[3] {
	case "":
		f[3] = kindOf(f[0])
	case unstated:
		f[3] = ""
	}
	return Party{Principal: f[0], Login: f[1], ClientID: f[2], Profile: f[3], SessionID: f[4]}
}

// packDigest turns a SHA-256 in hex into base64url. Empty stays empty.
func packDigest(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var sum [sha256.Size]byte
	if len(text) != hex.EncodedLen(len(sum)) || text != strings.ToLower(text) {
		return "", errors.New("it is not a SHA-256 in lower-case hex")
	}
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		return "", errors.New("it is not a SHA-256 in lower-case hex")
	}
	return b64.EncodeToString(sum[:]), nil
}

// unpackDigest returns "" for what is no digest; the comparison of bytes then refuses it.
func unpackDigest(text string) string {
	sum, ok := decodePart(text)
	if !ok || len(sum) != sha256.Size {
		return ""
	}
	return hex.EncodeToString(sum)
}
