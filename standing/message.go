package standing

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// MessageType is the typ of the JWS (RFC 7515, compact) that a feed answers with.
const MessageType = "bailiwick-standing+jwt"

// MessageVersion is the integer version of the format. History: 1 (2026-11) first.
const MessageVersion = 1

// MaxMessage bounds a message, in bytes of the compact JWS.
const MaxMessage = 8 << 20

// Message is one answer of a feed: what happened after a position. Applying it takes a gate from After to Seq.
//
// A feed keeps of each grant, bar and person only the newest event, so that positions have gaps, and reading from 0 gives what a new gate
// must know and no more.
type Message struct {
	Version int       `json:"v"`
	Feed    string    `json:"feed"`  // random id of the feed's database; another one is another history
	At      time.Time `json:"at"`    // the control plane's clock, UTC
	Nonce   string    `json:"nonce"` // the asker's: an old answer can't be played again
	After   uint64    `json:"after"` // the position that was asked for; 0: from the beginning

	// Links are digests of the history up to a position: SHA-256 over the link before and the event. A feed that was restored from an old
	// copy and went on has other links than those that gates have seen.
	AfterLink string `json:"after_link,omitempty"` // of After; empty for 0
	Link      string `json:"link,omitempty"`       // of Seq; empty where the feed has forgotten it, which is never at the end

	// Reset voids what was known before. With After 0 the events that follow take its place; with another After the feed has forgotten too
	// much since: ask from 0.
	Reset  bool    `json:"reset,omitempty"`
	More   bool    `json:"more,omitempty"` // there is more already: ask again at once
	Seq    uint64  `json:"seq"`            // where these events end
	Head   uint64  `json:"head"`           // where the feed ends
	Events []Event `json:"events,omitempty"`
}

type messageHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// Codes of a MessageError. They are stable.
const (
	MessageMalformed   = "standing_malformed"
	MessageWrongType   = "standing_type"
	MessageWrongFormat = "standing_version"
	MessageKeyUnknown  = "standing_key_unknown"
	MessageSignature   = "standing_signature"
	MessageReplayed    = "standing_replayed"    // it answers another question
	MessageOtherFeed   = "standing_other_feed"  // its feed is not the one that was followed so far
	MessageRolledBack  = "standing_rolled_back" // its feed has less, or another history, than was seen before
)

// MessageError says why a message is refused.
type MessageError struct {
	Code   string
	Detail string
}

func (e *MessageError) Error() string { return e.Code + ": " + e.Detail }

func refuse(code, format string, args ...any) error {
	return &MessageError{code, fmt.Sprintf(format, args...)}
}

var b64 = base64.RawURLEncoding.Strict()

// SignMessage makes the compact JWS of a message (EdDSA, RFC 8037). The same arguments give the same bytes.
func SignMessage(key ed25519.PrivateKey, m Message) (string, error) {
	m.Version = MessageVersion
	return seal(key, MessageType, m)
}

// seal makes a compact JWS of a value as json.Marshal writes it.
func seal(key ed25519.PrivateKey, typ string, v any) (string, error) {
	if len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("signing a standing message: the key is no Ed25519 private key")
	}
	payload, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("signing a standing message: %w", err)
	}
	header, err := json.Marshal(messageHeader{"EdDSA", attest.Thumbprint(key.Public().(ed25519.PublicKey)), typ})
	if err != nil {
		return "", fmt.Errorf("signing a standing message: %w", err)
	}
	out := make([]byte, 0, b64.EncodedLen(len(header))+b64.EncodedLen(len(payload))+b64.EncodedLen(ed25519.SignatureSize)+2)
	out = b64.AppendEncode(out, header)
	out = append(out, '.')
	out = b64.AppendEncode(out, payload)
	signature := ed25519.Sign(key, out)
	out = append(out, '.')
	out = b64.AppendEncode(out, signature)
	if len(out) > MaxMessage {
		return "", fmt.Errorf("signing a standing message: it has %d bytes, the limit is %d", len(out), MaxMessage)
	}
	return string(out), nil
}

// OpenMessage verifies a message's form and signature. Header and payload must be byte for byte as SignMessage writes them, so that there is
// one reading of each. Whether it answers the question that was asked, and fits what was seen before, is the follower's to judge. Errors are
// *MessageError.
func OpenMessage(raw []byte, keys []ed25519.PublicKey) (Message, error) {
	var m Message
	if err := unseal(raw, keys, MessageType, MessageVersion, &m); err != nil {
		return Message{}, err
	}
	if err := m.check(); err != nil {
		return Message{}, refuse(MessageMalformed, "%v", err)
	}
	return m, nil
}

// unseal reads what seal makes. Errors are *MessageError.
func unseal(raw []byte, keys []ed25519.PublicKey, typ string, version int, into any) error {
	if len(raw) > MaxMessage {
		return refuse(MessageMalformed, "it has more than %d bytes", MaxMessage)
	}
	parts := bytes.Split(raw, []byte("."))
	if len(parts) != 3 {
		return refuse(MessageMalformed, "it is no compact JWS")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = b64.AppendDecode(nil, part); err != nil || bytes.ContainsAny(part, "\r\n") {
			return refuse(MessageMalformed, "it is no base64url without padding")
		}
	}
	var h messageHeader
	if !canonical(decoded[0], &h) {
		return refuse(MessageMalformed, "its header is not as this format has it")
	}
	if h.Algorithm != "EdDSA" || h.Type != typ {
		return refuse(MessageWrongType, "its header says alg %.20q and typ %.40q, not EdDSA and %s", h.Algorithm, h.Type, typ)
	}
	at := slices.IndexFunc(keys, func(k ed25519.PublicKey) bool {
		return len(k) == ed25519.PublicKeySize && attest.Thumbprint(k) == h.KeyID
	})
	if at < 0 {
		return refuse(MessageKeyUnknown, "it is signed by the key %.60q, which is not trusted here", h.KeyID)
	}
	if !ed25519.Verify(keys[at], raw[:len(parts[0])+1+len(parts[1])], decoded[2]) {
		return refuse(MessageSignature, "its signature does not match")
	}
	var format struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(decoded[1], &format) == nil && format.Version != version {
		return refuse(MessageWrongFormat, "it is of version %d, this build reads %d", format.Version, version)
	}
	if !canonical(decoded[1], into) {
		return refuse(MessageMalformed, "its payload is not as this format has it")
	}
	return nil
}

// check says what is wrong with a message by itself.
func (m *Message) check() error {
	switch {
	case m.Feed == "" || len(m.Feed) > maxID || strings.ContainsAny(m.Feed, "\r\n"):
		return fmt.Errorf("it names no feed")
	case m.Seq > m.Head:
		return fmt.Errorf("it ends at %d, after the feed's end %d", m.Seq, m.Head)
	case m.Reset && m.After != 0:
		if len(m.Events) != 0 || !m.More {
			return fmt.Errorf("it voids what was known and doesn't send back to the beginning")
		}
		return nil
	case m.After == 0 && !m.Reset:
		return fmt.Errorf("it begins at the beginning and voids nothing")
	case m.More != (m.Seq < m.Head):
		return fmt.Errorf("it ends at %d of %d and says the opposite", m.Seq, m.Head)
	case m.More && len(m.Events) == 0:
		return fmt.Errorf("it promises more and brings nothing")
	}
	last := m.After
	for i := range m.Events {
		e := &m.Events[i]
		if e.Seq <= last || e.Seq > m.Seq {
			return fmt.Errorf("event %d is out of order", e.Seq)
		}
		last = e.Seq
		if err := e.check(); err != nil {
			return fmt.Errorf("event %d: %v", e.Seq, err)
		}
	}
	return nil
}

// canonical decodes JSON that is written as json.Marshal writes it.
func canonical(data []byte, into any) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if dec.Decode(into) != nil {
		return false
	}
	again, err := json.Marshal(into)
	return err == nil && bytes.Equal(again, data)
}
