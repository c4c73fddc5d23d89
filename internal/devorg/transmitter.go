package devorg

import (
	"context"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// setOf says which security event a System Log event is transmitted as; "" for most. Okta names the person alone when a session ends, which
// receivers take for all of the person's; this org names the session too, so that signing out of a browser ends no other program's tokens.
func setOf(kind string) string {
	switch kind {
	case "user.session.end", "user.session.clear", "user.authentication.universal_logout":
		return caepPrefix + "session-revoked"
	case "user.account.reset_password", "user.account.update_password":
		return caepPrefix + "credential-change"
	case "user.lifecycle.suspend", "user.lifecycle.deactivate":
		return riscPrefix + "account-disabled"
	case "user.lifecycle.unsuspend", "user.lifecycle.activate", "user.lifecycle.reactivate":
		return riscPrefix + "account-enabled"
	case "user.lifecycle.delete.initiated":
		return riscPrefix + "account-purged"
	}
	return ""
}

// tellStreams brings every stream up to date.
func (t *teller) tellStreams(ctx context.Context) error {
	for {
		var all []stream
		if err := t.o.view(ctx, func(tx *store.Tx) (err error) { all, err = streams(tx); return err }); err != nil {
			return err
		}
		moved := false
		for _, s := range all {
			on, err := t.tellStream(ctx, s)
			if err != nil {
				return err
			}
			moved = moved || on
		}
		if !moved {
			return nil
		}
	}
}

// tellStream tells one page, and reports whether there was anything.
func (t *teller) tellStream(ctx context.Context, s stream) (moved bool, err error) {
	if s.Method == pollMethod { // it asks
		return false, nil
	}
	f := t.o.faults.way("ssf", t.o.now())
	events, end, err := told(ctx, t.o, s.Sent, func(e logEvent) bool { return slices.Contains(s.Requested, setOf(e.Type)) })
	if err != nil {
		return false, err
	}
	for _, state := range s.Verify {
		if err := t.push(ctx, s, t.verification(s, newUUID(), state), false); err != nil {
			return false, err
		}
	}
	if err := t.deliver(ctx, f, events, func(ctx context.Context, e logEvent, cut bool) error { return t.push(ctx, s, t.setFor(s, e), cut) }); err != nil {
		return false, err
	}
	if end == s.Sent && len(s.Verify) == 0 {
		return false, nil
	}
	err = t.o.store.Update(ctx, func(tx *store.Tx) error {
		all, err := streams(tx)
		if err != nil {
			return err
		}
		for i := range all {
			if all[i].ID == s.ID {
				all[i].Sent, all[i].Verify = end, all[i].Verify[len(s.Verify):]
			}
		}
		return setMetaJSON(tx, metaStreams, all)
	})
	return true, err
}

// setFor is the token of an event. Its jti is the same however often it is sent.
func (t *teller) setFor(s stream, e logEvent) map[string]any {
	at, err := time.Parse(time.RFC3339, e.Published)
	if err != nil {
		at = t.o.now()
	}
	who, _ := e.user()
	user := map[string]any{"format": "iss_sub", "iss": t.o.base.String(), "sub": who.ID}
	body := map[string]any{"subject": user, "event_timestamp": at.UnixMilli(), "initiating_entity": "admin"}
	name := setOf(e.Type)
	switch session, _ := e.Auth["externalSessionId"].(string); {
	case e.Type == "user.session.end" && session != "":
		body["subject"] = map[string]any{"format": "complex", "user": user, "session": map[string]any{"format": "opaque", "id": session}}
		body["initiating_entity"] = "user"
	case name == caepPrefix+"credential-change":
		body["credential_type"], body["change_type"] = "password", "update"
	}
	return t.setClaims(s, name, s.tokenID(e), at, body)
}

// verification is the token by which a receiver sees that its stream works.
func (t *teller) verification(s stream, jti, state string) map[string]any {
	claims := t.setClaims(s, setVerify, jti, t.o.now(), map[string]any{"state": state})
	claims["sub_id"] = map[string]any{"format": "opaque", "id": s.ID}
	return claims
}

func (t *teller) setClaims(s stream, name, jti string, at time.Time, body map[string]any) map[string]any {
	return map[string]any{"iss": t.o.base.String(), "aud": s.Endpoint, "jti": jti, "iat": t.o.now().Unix(), "toe": at.Unix(), "events": map[string]any{name: body}}
}

func (t *teller) push(ctx context.Context, s stream, claims map[string]any, cut bool) error {
	raw, err := t.signed(ctx, claims)
	if err != nil {
		return err
	}
	if cut {
		raw = raw[:len(raw)-20]
	}
	return t.post(ctx, s.Endpoint, "application/secevent+jwt", s.Secret, raw)
}
