package bailiwicktest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// pledge is what an authorization code stands for.
type pledge struct {
	clientID, redirect, nonce, login string
}

// authorize answers the authorization request at once, as the person named by login_hint (default alice@acme.example): there is no page,
// because tests of a page need a real one.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || back.Host == "" || q.Get("response_type") != "code" {
		http.Error(w, "redirect_uri or response_type is wrong", http.StatusBadRequest)
		return
	}
	login := q.Get("login_hint")
	if login == "" {
		login = "alice@acme.example"
	}
	code := rand.Text()
	i.mu.Lock()
	i.codes[code] = pledge{q.Get("client_id"), q.Get("redirect_uri"), q.Get("nonce"), login}
	i.mu.Unlock()
	out := back.Query()
	out.Set("code", code)
	out.Set("state", q.Get("state"))
	back.RawQuery = out.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// redeem trades an authorization code, once, for tokens.
func (i *Issuer) redeem(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	i.mu.Lock()
	p, ok := i.codes[code]
	delete(i.codes, code)
	i.mu.Unlock()
	if !ok || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("redirect_uri") != p.redirect {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	now := time.Now()
	writeJSON(w, map[string]any{
		"token_type": "Bearer", "expires_in": 3600, "scope": "openid temporal",
		"access_token": i.Token(map[string]any{"sub": p.login, "uid": UID(p.login), "cid": p.clientID}),
		"id_token": i.sign(jwt.MapClaims{
			"iss": i.URL, "aud": p.clientID, "sub": UID(p.login), "email": p.login, "name": p.login, "nonce": p.nonce,
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}),
	})
}
