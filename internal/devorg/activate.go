package devorg

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// activatePage serves GET /activate?user_code=…: asks for the code, then for a login, then for a decision.
func (o *Org) activatePage(c *call) error {
	q, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return &pageError{http.StatusBadRequest, "Malformed request", "The address of this page is not well-formed."}
	}
	typed := q.Get("user_code")
	if typed == "" {
		c.page(http.StatusOK, "code", page{Title: "Connect a device"})
		return nil
	}
	code := canonicalUserCode(typed)
	var p page
	loggedIn := false
	err = o.view(c.r.Context(), func(tx *store.Tx) error {
		// The login comes first: strangers learn nothing about which codes exist.
		_, user, err := o.session(tx, c)
		if err != nil || user == nil {
			return err
		}
		loggedIn = true
		d, app, err := o.pendingDevice(tx, c, code)
		if err != nil {
			return err
		}
		p = page{Title: "Connect a device", App: app.Label, UserCode: d.UserCode, Scopes: d.Scopes, User: user.Login}
		return nil
	})
	var wrong *pageError
	switch {
	case errors.As(err, &wrong):
		c.page(wrong.Status, "code", page{Title: wrong.Title, Problem: wrong.Cause})
		return nil
	case err != nil:
		return err
	case !loggedIn:
		c.redirect("/login?" + url.Values{"fromURI": {"/activate?" + url.Values{"user_code": {code}}.Encode()}}.Encode())
		return nil
	}
	p.CSRF = o.csrfToken(c)
	c.page(http.StatusOK, "activate", p)
	return nil
}

// pendingDevice finds an undecided device authorization and the application that asked for it.
func (o *Org) pendingDevice(tx *store.Tx, c *call, code string) (store.DeviceCode, store.App, error) {
	d, err := tx.DeviceByUserCode(code)
	if errors.Is(err, store.ErrNotFound) || err == nil && (d.Status != store.DevicePending || !c.now.Before(d.Expires)) {
		return d, store.App{}, &pageError{http.StatusNotFound, "Connect a device", "That code is not valid. It may have expired or been used: start again on the device and type the code it shows."}
	}
	if err != nil {
		return d, store.App{}, err
	}
	app, err := tx.App(d.ClientID)
	return d, app, err
}

// activate serves POST /activate with the fields csrf, user_code and action (approve or deny).
func (o *Org) activate(c *call) error {
	form, err := c.form()
	if err != nil {
		return &pageError{http.StatusBadRequest, "Malformed request", err.Error()}
	}
	if err := o.checkForm(c, form.Get("csrf")); err != nil {
		return err
	}
	status, title := store.DeviceApproved, "Device connected"
	switch form.Get("action") {
	case "approve":
	case "deny":
		status, title = store.DeviceDenied, "Request denied"
	default:
		return &pageError{http.StatusBadRequest, "Malformed request", "The 'action' must be approve or deny."}
	}
	code := canonicalUserCode(form.Get("user_code"))
	var app store.App
	loggedIn := false
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		session, user, err := o.session(tx, c)
		if err != nil || session == nil {
			return err
		}
		loggedIn = true
		var d store.DeviceCode
		if d, app, err = o.pendingDevice(tx, c, code); err != nil {
			return err
		}
		d.Status, d.UserID, d.SessionID, d.AuthTime = status, user.ID, session.ID, session.AuthTime
		if err := tx.PutDevice(d); err != nil {
			return err
		}
		e := event{kind: "app.oauth2.as.device.authorize", message: "Device authorization decided", actor: userParty(*user), session: session.ID, targets: []logParty{appParty(app)}}
		if status == store.DeviceDenied {
			e.failure = "access_denied"
		}
		return o.record(tx, c, e)
	})
	if err != nil {
		return err
	}
	if !loggedIn {
		c.redirect("/login?" + url.Values{"fromURI": {"/activate?" + url.Values{"user_code": {code}}.Encode()}}.Encode())
		return nil
	}
	c.page(http.StatusOK, "done", page{Title: title, App: app.Label, Denied: status == store.DeviceDenied})
	return nil
}
