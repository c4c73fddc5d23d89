package identity

// Code is a stable reason for refusing a token: callers and tests branch on it, operators search for it.
type Code string

const (
	CodeTokenMissing    Code = "token_missing"
	CodeTokenMalformed  Code = "token_malformed"
	CodeTokenOpaque     Code = "token_opaque" // an Okta org-server token, or anything that is not a JWT
	CodeTokenType       Code = "token_type"   // an ID token, logout token, attestation … used as an access token
	CodeAlgorithm       Code = "token_algorithm"
	CodeKeyUnknown      Code = "token_key_unknown"
	CodeSignature       Code = "token_signature"
	CodeIssuer          Code = "token_issuer"
	CodeAudience        Code = "token_audience"
	CodeExpired         Code = "token_expired"
	CodeNotYetValid     Code = "token_not_yet_valid"
	CodeLifetime        Code = "token_lifetime"
	CodeSubject         Code = "token_subject"    // uid, cid or sub missing, reserved or contradictory
	CodeClient          Code = "token_client"     // client id not allowed by the issuer's settings
	CodeBinding         Code = "token_binding"    // cnf present without a proof of possession
	CodeRevoked         Code = "token_revoked"    // Config.Revoked said so
	CodeIDToken         Code = "id_token_invalid" // an ID token sent beside the access token is not a good one, or not of the same login
	CodeKeysUnavailable Code = "keys_unavailable"
)

// Error is a refusal to turn a token into an identity. Detail is safe to show to the caller; Cause is for operators only.
type Error struct {
	Code   Code
	Detail string
	Cause  error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return string(e.Code) + ": " + e.Detail + ": " + e.Cause.Error()
	}
	return string(e.Code) + ": " + e.Detail
}

func (e *Error) Unwrap() error { return e.Cause }

func reject(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }
