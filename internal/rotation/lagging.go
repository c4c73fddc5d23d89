package rotation

import (
	"context"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Lagging counts the verifiers that have reported since a time that they hold a key of an issuer, and lists those that should and have not. One that
// does not trust the issuer is not concerned.
func (r *Registry) Lagging(ctx context.Context, issuer, kid string, since time.Time, silent time.Duration) (have int, lag []Lag, err error) {
	all, err := r.All(ctx)
	if err != nil {
		return 0, nil, err
	}
	now := r.cfg.Clock()
	for _, v := range all {
		at := slices.IndexFunc(v.Issuers, func(s identity.IssuerStatus) bool { return s.URL == issuer })
		why := ""
		switch {
		case v.Issuers == nil:
			why = "never reported"
		case at < 0:
			continue
		case now.Sub(v.At) > silent:
			why = "not heard since " + v.At.UTC().Format(time.RFC3339)
		case v.At.Before(since):
			why = "not heard since this began"
		case !v.Issuers[at].Usable || !slices.Contains(v.Issuers[at].KeyIDs, kid):
			if why = "does not have the key"; v.Issuers[at].Error != "" {
				why += ": " + v.Issuers[at].Error
			}
		}
		if why == "" {
			have++
		} else {
			lag = append(lag, Lag{v.Name, why})
		}
	}
	return have, lag, nil
}

// Refused counts tokens of a key that verifiers refused since it is expected: for want of the key, and because the signature was not the key's.
func (r *Registry) Refused(ctx context.Context, issuer, kid string) (unknown, forged uint64, err error) {
	all, err := r.All(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, v := range all {
		for _, s := range v.Issuers {
			for _, k := range s.Expected {
				if s.URL == issuer && k.ID == kid {
					unknown, forged = unknown+k.Unknown, forged+k.BadSignature
				}
			}
		}
	}
	return unknown, forged, nil
}
