package devorg

import (
	"errors"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// grantDevice serves the polling of RFC 8628 section 3.4.
func (o *Org) grantDevice(tx *store.Tx, g *grant) (tokenReply, error) {
	d, err := tx.DeviceByCode(digest(g.form.Get("device_code")))
	if errors.Is(err, store.ErrNotFound) || err == nil && (d.ClientID != g.app.ID || d.AuthServer != g.as.ID || d.Status == store.DeviceRedeemed) {
		return tokenReply{}, badRequest("invalid_grant", "The device code is invalid.")
	}
	if err != nil {
		return tokenReply{}, err
	}
	if !g.now.Before(d.Expires) {
		return tokenReply{}, badRequest("expired_token", "The device code has expired. Start the device flow again.")
	}
	switch d.Status {
	case store.DeviceDenied:
		return tokenReply{}, badRequest("access_denied", "The user denied the request.")
	case store.DeviceApproved:
		return o.redeemDevice(tx, g, d)
	}
	early := !d.LastPoll.IsZero() && g.now.Sub(d.LastPoll) < d.Interval
	d.LastPoll = g.now
	refused := badRequest("authorization_pending", "The device authorization is pending. Please try again later.")
	if early {
		// RFC 8628 section 3.5: from now on five seconds slower.
		d.Interval += 5 * time.Second
		refused = badRequest("slow_down", "The device is polling too frequently. Please wait %d seconds between requests.", int(d.Interval/time.Second))
	}
	if err := tx.PutDevice(d); err != nil {
		return tokenReply{}, err
	}
	return tokenReply{}, refused
}

func (o *Org) redeemDevice(tx *store.Tx, g *grant, d store.DeviceCode) (tokenReply, error) {
	user, err := o.liveUser(tx, d.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return tokenReply{}, badRequest("access_denied", "The user is not active.")
	}
	if err != nil {
		return tokenReply{}, err
	}
	d.Status = store.DeviceRedeemed
	if err := tx.PutDevice(d); err != nil {
		return tokenReply{}, err
	}
	family := store.Family{
		ID: newID("fam"), ClientID: g.app.ID, UserID: user.ID, AuthServer: g.as.ID, Scopes: d.Scopes, SessionID: d.SessionID,
		AuthTime: d.AuthTime, Created: g.now,
	}
	if err := tx.AddFamily(family); err != nil {
		return tokenReply{}, err
	}
	return o.issueWithRefresh(tx, g, issue{as: g.as, app: g.app, kind: grantDevice, user: user, family: &family, scopes: d.Scopes})
}
