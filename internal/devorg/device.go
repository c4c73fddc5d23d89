package devorg

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// deviceLifetime is how long a person has to approve a device.
const deviceLifetime = 600 * time.Second

// userCodeAlphabet has no vowels, so that no words come up, and no digits (RFC 8628 section 6.1).
const userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"

// deviceReply is RFC 8628 section 3.2.
type deviceReply struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int    `json:"expires_in"` // seconds
	Interval                int    `json:"interval"`   // seconds
}

// deviceAuthorize serves POST /oauth2/{as}/v1/device/authorize.
func (o *Org) deviceAuthorize(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	var reply deviceReply
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		app, err := o.authenticate(tx, c, form, as.endpoint("device/authorize"), as.endpoint("token"))
		if err != nil {
			return err
		}
		if !slices.Contains(app.Settings.GrantTypes, grantDevice) {
			return badRequest("unauthorized_client", "The client is not authorized to use the device authorization grant.")
		}
		scopes, err := as.userScopes(app, form.Get("scope"))
		if err != nil {
			return err
		}
		d, code, err := addDevice(tx, store.DeviceCode{
			AuthServer: as.ID, ClientID: app.ID, Scopes: scopes, Status: store.DevicePending, Interval: o.deviceInterval, Expires: c.now.Add(deviceLifetime),
		})
		if err != nil {
			return err
		}
		page := o.base.String() + "/activate"
		reply = deviceReply{
			DeviceCode: code, UserCode: d.UserCode, VerificationURI: page, VerificationURIComplete: page + "?user_code=" + d.UserCode,
			ExpiresIn: int(deviceLifetime / time.Second), Interval: int(d.Interval / time.Second),
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.json(200, reply)
	return nil
}

// addDevice stores a device authorization under a user code that is not taken.
func addDevice(tx *store.Tx, d store.DeviceCode) (store.DeviceCode, string, error) {
	for {
		code := newSecret()
		d.Hash, d.UserCode = digest(code), randomText(8, userCodeAlphabet)
		err := tx.PutDevice(d)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		return d, code, err
	}
}

// canonicalUserCode undoes what people do when they type a code: lower case, spaces, dashes.
func canonicalUserCode(typed string) string {
	if len(typed) > 64 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, strings.ToUpper(typed))
}
