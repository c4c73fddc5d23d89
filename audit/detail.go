package audit

// IssuerKeyDetail is the detail of an entry of kind key by which a gate puts on record a signing key that a token issuer published, before any
// decision about a token that it signed. The JWK is as the issuer published it then (RFC 7517, public members only).
func IssuerKeyDetail(issuer, keyID, jwk string) map[string]string {
	return map[string]string{"event": "published", "use": UseIssuer, "issuer": issuer, "kid": keyID, "jwk": jwk}
}

// UseIssuer is the detail "use" of such an entry.
const UseIssuer = "issuer"

// Detail keys of decisions: on whose behalf a run is, where the actor of the entry is a worker or Temporal itself. They come from the run's
// attestation, or from its schedule's.
const (
	DetailOriginator      = "originator"       // principal
	DetailOriginatorLogin = "originator_login" // as the attestation says
	DetailAttestation     = "attestation"      // decision id of the attestation: the entry of the act that began it all
	DetailUnattested      = "unattested"       // code of what is wrong with the run's attestation; such runs go on
	DetailOtherQueues     = "other_queues"     // comma-joined: task queues, other than the run's own, to which a worker's answer sends work
	DetailOnBehalf        = "for"              // decision id of the act that Temporal carries out here, such as a batch
)
