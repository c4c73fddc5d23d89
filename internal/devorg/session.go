package devorg

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// sessionLifetime is how long a browser stays logged in at the org.
const sessionLifetime = 2 * time.Hour

// Cookie names. Cookies ignore ports, so on a loopback host every program's cookies meet: the names must not clash.
const (
	sessionCookie = "bailiwick_devorg_session"
	csrfCookie    = "bailiwick_devorg_csrf"
)

func (o *Org) setCookie(c *call, name, value string, lifetime time.Duration) {
	cookie := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: o.base.Scheme == "https"}
	if lifetime < 0 {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.w, cookie)
}

func (c *call) cookie(name string) string {
	ck, err := c.r.Cookie(name)
	if err != nil {
		return ""
	}
	return ck.Value
}

// session finds the browser's session and its person; both are nil when there is none or the person is not active.
func (o *Org) session(tx *store.Tx, c *call) (*store.Session, *store.User, error) {
	secret := c.cookie(sessionCookie)
	if secret == "" {
		return nil, nil, nil
	}
	s, err := tx.Session(digest(secret))
	if errors.Is(err, store.ErrNotFound) || err == nil && !c.now.Before(s.Expires) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	user, err := o.liveUser(tx, s.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	return &s, user, err
}

// startSession logs a person in under a new session, whatever the browser had before (no fixation).
func (o *Org) startSession(tx *store.Tx, c *call, user store.User) error {
	if old := c.cookie(sessionCookie); old != "" {
		if err := tx.DeleteSession(digest(old)); err != nil {
			return err
		}
	}
	secret := newSecret()
	s := store.Session{SecretHash: digest(secret), ID: newID("102"), UserID: user.ID, AuthTime: c.now, Expires: c.now.Add(sessionLifetime)}
	if err := tx.AddSession(s); err != nil {
		return err
	}
	user.LastLogin = c.now
	if err := tx.PutUser(user); err != nil {
		return err
	}
	o.setCookie(c, sessionCookie, secret, 0)
	return o.record(tx, c, event{kind: "user.session.start", message: "User login to Okta", actor: userParty(user), session: s.ID,
		targets: []logParty{userParty(user)}})
}

// csrfToken is what a form must carry back: bound to a cookie of its own and to the session, so that neither another site
// nor an earlier login can have known it. It makes the cookie if the browser has none.
func (o *Org) csrfToken(c *call) string {
	cookie := c.cookie(csrfCookie)
	if len(cookie) != len(newSecret()) {
		cookie = newSecret()
		o.setCookie(c, csrfCookie, cookie, 0)
		// Later reads in this request must see the new one.
		c.r.AddCookie(&http.Cookie{Name: csrfCookie, Value: cookie})
	}
	return o.csrfFor(cookie, c.cookie(sessionCookie))
}

func (o *Org) csrfFor(cookie, session string) string {
	mac := hmac.New(sha256.New, o.csrfKey)
	mac.Write([]byte(cookie + "|" + session))
	return b64.EncodeToString(mac.Sum(nil))
}

// checkForm refuses a page's form that did not come from the page.
func (o *Org) checkForm(c *call, token string) error {
	foreign := &pageError{http.StatusForbidden, "This form has gone stale", "Go back, reload the page and try again. The form's security token is missing or belongs to another browser session."}
	if err := http.NewCrossOriginProtection().Check(c.r); err != nil {
		return foreign
	}
	cookie := c.cookie(csrfCookie)
	if cookie == "" || !hmac.Equal([]byte(token), []byte(o.csrfFor(cookie, c.cookie(sessionCookie)))) {
		return foreign
	}
	return nil
}
