package ssf

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

func TestEvents(t *testing.T) {
	o := newOrg(t)
	at := o.clock().Add(-3 * time.Second)
	ms, s := at.UnixMilli(), at.Unix()
	for _, c := range []struct {
		name, what string
		body       object
		kind       revocation.Kind // "": acknowledged, and nothing follows
		session    string
	}{
		{caep + "session-revoked", "as Okta sends it", object{"subject": o.alice(), "event_timestamp": ms}, revocation.Cleared, ""},
		{caep + "session-revoked", "in seconds, as CAEP says", object{"subject": o.alice(), "event_timestamp": s}, revocation.Cleared, ""},
		{caep + "session-revoked", "of a person of the authorization server", object{"subject": object{"format": "iss_sub", "iss": o.server.URL + "/oauth2/default", "sub": "00ualice"}, "event_timestamp": ms}, revocation.Cleared, ""},
		{caep + "session-revoked", "by email", object{"subject": object{"format": "email", "email": "alice@acme.example"}, "event_timestamp": ms}, revocation.Cleared, ""},
		{caep + "session-revoked", "of a draft", object{"subject": object{"subject_type": "iss-sub", "iss": o.server.URL, "sub": "00ualice"}, "event_timestamp": ms}, revocation.Cleared, ""},
		{caep + "session-revoked", "of one session", object{"subject": object{"format": "complex", "user": o.alice(), "session": object{"format": "opaque", "id": "102abc"}}, "event_timestamp": ms}, revocation.SignedOut, "102abc"},
		{caep + "session-revoked", "complex, of a person", object{"subject": object{"user": o.alice(), "tenant": object{"format": "opaque", "id": "acme"}}, "event_timestamp": ms}, revocation.Cleared, ""},
		{caep + "credential-change", "a password", object{"subject": o.alice(), "event_timestamp": ms, "credential_type": "password", "change_type": "update"}, revocation.Credentials, ""},
		{caep + "credential-change", "a further factor", object{"subject": o.alice(), "event_timestamp": ms, "credential_type": "fido2-roaming", "change_type": "create"}, "", ""},
		{risc + "account-disabled", "", object{"subject": o.alice(), "event_timestamp": ms}, revocation.Left, ""},
		{risc + "account-purged", "", object{"subject": o.alice(), "event_timestamp": ms}, revocation.Left, ""},
		{risc + "account-enabled", "", object{"subject": o.alice(), "event_timestamp": ms}, revocation.Restored, ""},
		{risc + "identifier-changed", "", object{"subject": o.alice(), "event_timestamp": ms}, revocation.Changed, ""},
		{caep + "device-compliance-change", "not ours", object{"subject": object{"format": "did", "url": "x"}}, "", ""},
		{caep + "session-revoked", "of somebody of another issuer", object{"subject": object{"format": "iss_sub", "iss": "https://else.example", "sub": "00ualice"}}, "", ""},
		{caep + "session-revoked", "of an email that nobody has", object{"subject": object{"format": "email", "email": "mallory@acme.example"}}, "", ""},
		{verification, "", object{"state": "hello"}, "", ""},
		{streamUpdated, "", object{"status": "paused"}, "", ""},
	} {
		if status, no := o.push(o.token(c.name, c.body)); status != http.StatusAccepted {
			t.Errorf("%s, %s: %d %+v", c.name, c.what, status, no)
			continue
		}
		if c.kind == "" {
			if len(o.signals) > 0 {
				t.Errorf("%s, %s: %+v follows", c.name, c.what, o.only())
			}
			continue
		}
		got := o.only()
		want := revocation.Signal{ID: got.ID, Kind: c.kind, At: at, UID: "00ualice", Login: got.Login, Session: c.session, Source: revocation.SourceSSF}
		if got.Login != "" && got.Login != "alice@acme.example" || !got.At.Equal(at) || got.Kind != want.Kind || got.UID != want.UID || got.Session != want.Session || got.Source != want.Source || got.ID == "" {
			t.Errorf("%s, %s: %+v, want %+v", c.name, c.what, got, want)
		}
	}
	if st := o.r.Status(); st.State != "hello" || st.Stream != "paused" || st.Taken == 0 || st.Refused != 0 || st.Verified.IsZero() {
		t.Errorf("%+v", st)
	}
	// sub_id of SSF 1.0, toe, and no time at all.
	for _, kv := range [][]any{{"sub_id", o.alice(), "toe", s}, {"sub_id", o.alice(), "iat", s}} {
		if status, no := o.push(o.token(caep+"session-revoked", object{}, kv...)); status != http.StatusAccepted || !o.only().At.Equal(at) {
			t.Errorf("%v: %d %+v", kv, status, no)
		}
	}
	// A clock that is ahead ends no token that is not issued yet.
	if status, _ := o.push(o.token(caep+"session-revoked", object{"subject": o.alice(), "event_timestamp": ms + 3_600_000})); status != http.StatusAccepted || o.only().At.After(o.clock()) {
		t.Error("an event of the future is believed")
	}
	// A token that comes twice is one signal; another token of the same event is another.
	for _, jti := range []string{"a", "a", "b"} {
		o.push(o.token(caep+"session-revoked", object{"subject": o.alice()}, "jti", jti))
	}
	if len(o.signals) != 2 {
		t.Errorf("%d signals of two tokens", len(o.signals))
	}
}

func TestEventsRefused(t *testing.T) {
	o := newOrg(t)
	good := object{"subject": o.alice()}
	revoked := caep + "session-revoked"
	for what, c := range map[string]struct {
		token string
		code  string
	}{
		"another issuer":           {o.token(revoked, good, "iss", "https://evil.example"), "invalid_issuer"},
		"another audience":         {o.token(revoked, good, "aud", "https://else.example"), "invalid_audience"},
		"too old":                  {o.token(revoked, good, "iat", o.clock().Add(-8*24*time.Hour).Unix()), "invalid_request"},
		"from the future":          {o.token(revoked, good, "iat", o.clock().Add(time.Hour).Unix()), "invalid_request"},
		"another type":             {o.sign("JWT", object{"iss": o.server.URL, "aud": audience, "jti": "1", "iat": o.clock().Unix()}), "invalid_request"},
		"a logout token":           {o.sign("global-token-revocation+jwt", object{"iss": o.server.URL, "aud": audience, "jti": "1", "iat": o.clock().Unix()}), "invalid_request"},
		"no events":                {o.token(revoked, good, "events", object{}), "invalid_request"},
		"events that are no":       {o.token(revoked, good, "events", "x"), "invalid_request"},
		"an event that is no":      {o.token(revoked, good, "events", object{revoked: "x"}), "invalid_request"},
		"no subject":               {o.token(revoked, object{}), "invalid_request"},
		"a phone number":           {o.token(revoked, object{"subject": object{"format": "phone_number", "phone_number": "+1"}}), "invalid_request"},
		"nothing but a session":    {o.token(revoked, object{"subject": object{"format": "complex", "session": object{"format": "opaque", "id": "x"}}}), "invalid_request"},
		"a person within a person": {o.token(revoked, object{"subject": object{"user": object{"user": o.alice()}}}), "invalid_request"},
		"a name with a newline":    {o.token(revoked, object{"subject": object{"format": "iss_sub", "iss": o.server.URL, "sub": "00u\nx"}}), "invalid_request"},
		"a time that is none":      {o.token(revoked, object{"subject": o.alice(), "event_timestamp": -1}), "invalid_request"},
		"a signature cut":          {strings.TrimSuffix(o.token(revoked, good), "A")[:300], "invalid_request"},
		"rubbish":                  {"rubbish", "invalid_request"}, "nothing": {"", "invalid_request"},
	} {
		if status, no := o.push(c.token); status != http.StatusBadRequest || no.Code != c.code {
			t.Errorf("%s: %d %+v, want %s", what, status, no, c.code)
		}
	}
	// By another key under the same name.
	o.set(func() { o.key = keys[1]() })
	forged := o.token(revoked, good)
	o.set(func() { o.key = keys[0]() })
	if status, no := o.push(forged); status != http.StatusBadRequest || no.Code != "invalid_key" {
		t.Errorf("forged: %d %+v", status, no)
	}
	token := o.token(revoked, good)
	for what, c := range map[string]struct {
		kind, authorization, body string
		status                    int
	}{
		"without the secret": {"application/secevent+jwt", "", token, http.StatusUnauthorized}, "with another": {"application/secevent+jwt", "Bearer x", token, http.StatusUnauthorized},
		"as JSON": {"application/json", secret, token, http.StatusBadRequest}, "too large": {"application/secevent+jwt", secret, strings.Repeat("a", maxToken+1), http.StatusBadRequest},
	} {
		if status, _ := o.post(o.r.Events(), c.kind, c.authorization, c.body); status != c.status {
			t.Errorf("%s: %d", what, status)
		}
	}
	if o.calls > 0 || o.r.Status().Refused < 20 || o.r.Status().Problem == "" {
		t.Errorf("%d were kept; %+v", o.calls, o.r.Status())
	}
	if status, _ := o.push(token); status != http.StatusAccepted {
		t.Error("the good one is refused after them")
	}
}

// TestEventsLater: what can't be verified, looked up or kept now is asked for again, and taken then.
func TestEventsLater(t *testing.T) {
	o := newOrg(t)
	byEmail := o.token(caep+"session-revoked", object{"subject": object{"format": "email", "email": "alice@acme.example"}})
	still := func(what string) {
		t.Helper()
		if status, no := o.push(byEmail); status != http.StatusServiceUnavailable || no.Code != "temporarily_unavailable" {
			t.Errorf("%s: %d %+v", what, status, no)
		}
	}
	o.set(func() { o.down = true })
	still("the transmitter is down")
	evil := object{"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}
	o.set(func() { o.down, o.meta, evil, o.now = false, evil, o.meta, o.now.Add(2*time.Second) })
	still("another's metadata")
	o.set(func() {
		o.meta = object{"issuer": o.server.URL, "jwks_uri": "https://evil.example/keys"}
		o.now = o.now.Add(2 * time.Second)
	})
	still("keys elsewhere")
	o.set(func() { o.meta, o.lost, o.now = evil, true, o.now.Add(2*time.Second) })
	still("the directory is down")
	o.set(func() { o.lost, o.full = false, true })
	still("the disk is full")
	o.set(func() { o.full = false })
	if status, no := o.push(byEmail); status != http.StatusAccepted || o.only().UID != "00ualice" {
		t.Errorf("at last: %d %+v", status, no)
	}

	// The transmitter's key is rotated; first the new one can't be fetched.
	o.set(func() { o.key, o.kid, o.down = keys[1](), "k1", true })
	rotated := o.token(caep+"session-revoked", object{"subject": o.alice()})
	if status, _ := o.push(rotated); status != http.StatusServiceUnavailable {
		t.Errorf("by a key that can't be fetched: %d", status)
	}
	o.set(func() { o.down = false })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, no := o.push(rotated)
		if status == http.StatusAccepted {
			break
		}
		if status != http.StatusServiceUnavailable || time.Now().After(end) {
			t.Fatalf("by a new key: %d %+v", status, no)
		}
	}
}

func TestLogout(t *testing.T) {
	o := newOrg(t)
	claims := func(kv ...any) object {
		c := object{"iss": o.server.URL, "sub": app, "aud": endpoint, "jti": "l-1", "iat": o.clock().Unix(), "exp": o.clock().Add(5 * time.Minute).Unix()}
		for i := 0; i < len(kv); i += 2 {
			c[kv[i].(string)] = kv[i+1]
		}
		return c
	}
	token := func(kv ...any) string {
		return "Bearer " + o.sign("global-token-revocation+jwt", claims(kv...))
	}
	email := `{"sub_id":{"format":"email","email":"alice@acme.example"}}`
	for what, c := range map[string]struct {
		authorization, body string
		status              int
	}{
		"no token":             {"", email, 401},
		"an access token":      {"Bearer " + o.sign("JWT", claims()), email, 401},
		"an event token":       {"Bearer " + o.sign("secevent+jwt", claims()), email, 401},
		"another audience":     {token("aud", audience), email, 401},
		"another issuer":       {token("iss", "https://evil.example"), email, 401},
		"over":                 {token("iat", o.clock().Unix()-400, "exp", o.clock().Unix()-100), email, 401},
		"too long":             {token("exp", o.clock().Add(time.Hour).Unix()), email, 401},
		"another app":          {token("sub", "0oaelse"), email, 403},
		"nobody":               {token(), `{"sub_id":{"format":"email","email":"mallory@acme.example"}}`, 404},
		"of another issuer":    {token(), `{"sub_id":{"format":"iss_sub","iss":"https://else.example","sub":"00ualice"}}`, 404},
		"a phone":              {token(), `{"sub_id":{"format":"phone_number","phone_number":"+1"}}`, 422},
		"no subject":           {token(), `{}`, 400},
		"cut":                  {token(), `{"sub_id":{`, 400},
		"not UTF-8":            {token(), "{\"sub_id\":{\"format\":\"email\",\"email\":\"\xff\"}}", 400},
		"good":                 {token(), email, 204},
		"good, by its subject": {token("jti", "l-2"), `{"sub_id":{"format":"iss_sub","iss":"` + o.server.URL + `","sub":"00ualice"}}`, 204},
		"the same once more":   {token(), email, 204},
	} {
		if status, no := o.post(o.r.Logout(), "application/json", c.authorization, c.body); status != c.status {
			t.Errorf("%s: %d %+v, want %d", what, status, no, c.status)
		}
	}
	if len(o.signals) != 2 {
		t.Errorf("%d signals of two tokens", len(o.signals))
	}
	for _, s := range o.signals {
		if s.Kind != revocation.Cleared || s.UID != "00ualice" || s.Source != revocation.SourceLogout || !s.At.Equal(o.clock()) {
			t.Errorf("%+v", s)
		}
	}
	if status, _ := o.post(o.r.Logout(), "text/plain", token(), email); status != 400 {
		t.Errorf("as text: %d", status)
	}
	o.set(func() { o.full = true })
	if status, _ := o.post(o.r.Logout(), "application/json", token("jti", "l-3"), email); status != 503 {
		t.Errorf("with the disk full: %d", status)
	}
	off := newOrg(t, func(c *Config) { c.Logout, c.Audience = "", "" })
	if status, _ := off.post(off.r.Logout(), "application/json", "", email); status != 403 {
		t.Errorf("not configured: %d", status)
	}
	if status, no := off.push(off.token(verification, object{})); status != 400 || no.Code != "access_denied" {
		t.Errorf("no stream: %d %+v", status, no)
	}
}
