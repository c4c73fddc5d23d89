package attest

// Code is a stable reason for refusing an attestation: callers and tests branch on it, operators search for it.
type Code string

const (
	CodeMissing    Code = "attestation_missing"     // there is none where one is required
	CodeMalformed  Code = "attestation_malformed"   // not this format, not in canonical form, or over the size limit
	CodeType       Code = "attestation_type"        // a JWT or some other JWS
	CodeKeyUnknown Code = "attestation_key_unknown" // no such key in the set: the only refusal that a newer key set can cure
	CodeKeyRetired Code = "attestation_key_retired" // the key is known, but the statement is from outside the key's validity
	CodeSignature  Code = "attestation_signature"   // the signature does not verify
	CodeVersion    Code = "attestation_version"     // a version this code does not know
	CodeAudience   Code = "attestation_audience"    // made for another environment
	CodeBinding    Code = "attestation_binding"     // genuine, but about something else
)

// Error is a refusal. Detail says what did not fit and is safe to show; it never holds the attestation.
type Error struct {
	Code   Code
	Detail string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

func refuse(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }
