package identity

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Statement is a JWT in which an issuer tells something to one receiver: a security event token (RFC 8417), or a request to end somebody's
// tokens. It opens nothing, and none of them is ever taken for an access token, nor the other way round: its type says which it is.
type Statement struct {
	Issuer, Audience, Subject string
	ID                        string // jti
	KeyID                     string // kid
	IssuedAt                  time.Time
	Expires                   time.Time // zero when it does not say
	Payload                   []byte    // the claims as signed, known to be one well-formed JSON object without duplicate names
}

// StatementProfile is what a statement must be to be accepted.
type StatementProfile struct {
	Audiences   []string      // that aud may be; default the issuer's
	Type        string        // header typ, such as "secevent+jwt"; "application/" before it is the same (RFC 7515 section 4.1.9)
	MaxAge      time.Duration // longest time since iat; 0: any
	MaxLifetime time.Duration // longest exp - iat, and then exp is required; 0: exp is not asked for, and counts if it is there
}

// VerifyStatement verifies a statement of one of the verifier's issuers, for one of the audiences. Nothing is remembered: that it comes
// once is the receiver's to see to, by ID. The error is always a *Error.
func (v *Verifier) VerifyStatement(ctx context.Context, t Unverified, want StatementProfile) (Statement, error) {
	s, err := v.examineStatement(ctx, t.text(), want)
	if err != nil {
		return Statement{}, err
	}
	return s, nil
}

func (v *Verifier) examineStatement(ctx context.Context, raw string, want StatementProfile) (s Statement, err *Error) {
	parts, err := split(raw)
	if err != nil {
		return s, err
	}
	h, err := parseHeader(parts.header)
	if err != nil {
		return s, err
	}
	text, ok := decode(parts.payload)
	if !ok {
		return s, malformed("the token's payload is not strict base64url")
	}
	members, bad := parseObject(string(text), nil)
	if bad != nil {
		return s, malformed("the token's payload is malformed: " + bad.Error())
	}
	s.Payload = text
	if err = s.read(members); err != nil {
		return s, err
	}
	from := v.issuers[s.Issuer]
	switch {
	case strings.TrimPrefix(folded(h.typ), "application/") != want.Type:
		return s, reject(CodeTokenType, "a token of type "+quoted(h.typ)+" is not a "+want.Type)
	case from == nil:
		return s, reject(CodeIssuer, "issuer "+quoted(s.Issuer)+" is not trusted")
	case !slices.Contains(from.Algorithms, h.alg):
		return s, reject(CodeAlgorithm, "algorithm "+quoted(h.alg)+" is not accepted from this issuer")
	case h.kid == "":
		return s, reject(CodeKeyUnknown, "the token names no key (kid)")
	case !slices.Contains(audiences(from, want), s.Audience):
		return s, reject(CodeAudience, "the token is for "+quoted(s.Audience)+", not for this receiver")
	}
	if err = s.times(v.cfg.Clock(), v.cfg.Skew, want); err != nil {
		return s, err
	}
	k, err := from.keys.find(ctx, h.kid)
	if err != nil {
		return s, err
	}
	s.KeyID = k.id
	return s, verifySignature(k, h.alg, parts)
}

func audiences(from *trusted, want StatementProfile) []string {
	if len(want.Audiences) > 0 {
		return want.Audiences
	}
	return from.Audiences
}

func (s *Statement) read(members []member) (err *Error) {
	for _, m := range members {
		switch m.name {
		case "iss":
			s.Issuer, err = name(m)
		case "aud":
			s.Audience, err = audience(m)
		case "sub":
			s.Subject, err = name(m)
		case "jti":
			s.ID, err = name(m)
		case "iat":
			s.IssuedAt, err = numericDate(m)
		case "exp":
			s.Expires, err = numericDate(m)
		default:
			if f := folded(m.name); f != m.name && (knownClaim(f) || f == "events") {
				err = malformed("claim " + quoted(m.name) + " is a case variant of a known one")
			}
		}
		if err != nil {
			return err
		}
	}
	if s.Issuer == "" || s.Audience == "" || s.ID == "" || s.IssuedAt.IsZero() {
		return malformed("claim iss, aud, jti or iat is missing")
	}
	return nil
}

func (s *Statement) times(now time.Time, skew time.Duration, want StatementProfile) *Error {
	switch {
	case s.IssuedAt.Sub(now) > skew:
		return reject(CodeNotYetValid, "the token was issued in the future: check the clocks")
	case want.MaxAge > 0 && now.Sub(s.IssuedAt) > want.MaxAge:
		return reject(CodeLifetime, "the token was issued more than "+want.MaxAge.String()+" ago")
	case want.MaxLifetime > 0 && s.Expires.IsZero():
		return malformed("claim exp is missing")
	case !s.Expires.IsZero() && !now.Before(s.Expires):
		return expired(s.Expires, now)
	case want.MaxLifetime > 0 && s.Expires.Sub(s.IssuedAt) > want.MaxLifetime:
		return reject(CodeLifetime, "the token lives for "+s.Expires.Sub(s.IssuedAt).String()+"; at most "+want.MaxLifetime.String()+" is accepted")
	}
	return nil
}
