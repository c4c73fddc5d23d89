package revocation

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"
)

// HookPath is where the identity provider's event hooks are taken.
const HookPath = "/v1/okta/events"

// maxHook bounds a delivery, in bytes.
const maxHook = 1 << 20

func digest(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// hookBody is a delivery of Okta's event hooks.
type hookBody struct {
	Data struct {
		Events []logEvent `json:"events"`
	} `json:"data"`
}

// logEvent is the part of Okta's LogEvent that counts here.
type logEvent struct {
	UUID      string     `json:"uuid"`
	Published time.Time  `json:"published"`
	EventType string     `json:"eventType"`
	Actor     logParty   `json:"actor"`
	Target    []logParty `json:"target"`
	Outcome   struct {
		Result string `json:"result"`
	} `json:"outcome"`
	Auth struct {
		Session string `json:"externalSessionId"`
	} `json:"authenticationContext"`
}

type logParty struct {
	ID          string `json:"id"`
	Type        string `json:"type"`
	AlternateID string `json:"alternateId"`
	DisplayName string `json:"displayName"`
}

func (e *logEvent) happening() Happening {
	h := Happening{ID: e.UUID, Type: e.EventType, At: e.Published, Outcome: e.Outcome.Result, Actor: Party(e.Actor), Session: e.Auth.Session}
	for _, t := range e.Target {
		h.Targets = append(h.Targets, Party(t))
	}
	return h
}

// parseHook reads a delivery.
func parseHook(raw []byte, now time.Time) ([]Signal, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("it is not UTF-8")
	}
	var body hookBody
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, errors.New("it is not a delivery of an event hook")
	}
	var out []Signal
	for i := range body.Data.Events {
		h := body.Data.Events[i].happening()
		out = append(out, h.Signals(SourceHook, now)...)
	}
	return out, nil
}

// Hook takes event hooks at HookPath: GET is Okta's one-time verification, POST a delivery. A delivery is answered when its signals are durable,
// well within Okta's 3 s; what follows from them comes after. There is no signature: who knows the secret can make us look at people again,
// sign them out and, while the directory does not answer, bar them. Nothing can be opened by it.
func (r *Revoker) Hook() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch req.Method {
		case http.MethodGet:
			r.verification(w, req)
		case http.MethodPost:
			r.delivery(w, req)
		default:
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "event hooks are verified by GET and delivered by POST", http.StatusMethodNotAllowed)
		}
	})
}

func (r *Revoker) verification(w http.ResponseWriter, req *http.Request) {
	challenge := req.Header.Get("X-Okta-Verification-Challenge")
	if challenge == "" || len(challenge) > 1024 || !plain(challenge) {
		http.Error(w, "the header X-Okta-Verification-Challenge is missing", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"verification": challenge})
}

func (r *Revoker) delivery(w http.ResponseWriter, req *http.Request) {
	got := digest(req.Header.Get("Authorization"))
	if r.cfg.Secret == "" || len(req.Header.Values("Authorization")) != 1 || subtle.ConstantTimeCompare(got[:], r.secret[:]) != 1 {
		r.cfg.Logger.WarnContext(req.Context(), "an event hook without the right secret was refused")
		http.Error(w, "the Authorization header does not hold this hook's secret", http.StatusUnauthorized)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxHook))
	if err != nil {
		http.Error(w, "the delivery is too large, or was cut", http.StatusBadRequest)
		return
	}
	signals, err := parseHook(raw, r.cfg.Clock())
	if err != nil {
		http.Error(w, "the delivery can't be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := r.Accept(req.Context(), signals...); err != nil {
		r.cfg.Logger.ErrorContext(req.Context(), "an event hook's delivery could not be kept", "error", err)
		http.Error(w, "the delivery could not be kept: send it again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
