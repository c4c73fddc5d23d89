package access

import (
	"testing"
	"time"
)

// Who approves must have signed in strongly and lately enough, also when the issuer's clock is up to five minutes ahead.
func TestStepUp(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		acr, least string
		signedIn   time.Duration // before now; 0: not told
		within     time.Duration
		ok         bool
	}{
		"nothing asked":               {ok: true},
		"fresh":                       {signedIn: 15 * time.Minute, within: 15 * time.Minute, ok: true},
		"a second too old":            {signedIn: 15*time.Minute + time.Second, within: 15 * time.Minute},
		"not told":                    {within: 15 * time.Minute},
		"issuer five minutes ahead":   {signedIn: -5 * time.Minute, within: 15 * time.Minute, ok: true},
		"issuer further ahead":        {signedIn: -5*time.Minute - time.Second, within: 15 * time.Minute},
		"as strong":                   {acr: "urn:okta:loa:2fa:any", least: "urn:okta:loa:2fa:any", ok: true},
		"stronger":                    {acr: "phrh", least: "urn:okta:loa:2fa:any", ok: true},
		"weaker":                      {acr: "urn:okta:loa:1fa:pwd", least: "urn:okta:loa:2fa:any"},
		"second factor only possibly": {acr: "urn:okta:loa:2fa:any:ifpossible", least: "urn:okta:loa:2fa:any"},
		"strength not told":           {least: "urn:okta:loa:1fa:any"},
		"unknown class":               {acr: "urn:acme:strongest", least: "urn:okta:loa:1fa:any"},
		"unknown class asked":         {acr: "phrh", least: "urn:acme:strongest"},
		"that very unknown class":     {acr: "urn:acme:strongest", least: "urn:acme:strongest", ok: true},
	} {
		who := bob
		who.ACR = c.acr
		if c.signedIn != 0 {
			who.AuthTime = now.Add(-c.signedIn)
		}
		if refused := (Rules{MinACR: c.least, MaxAuthAge: c.within}).stepUp(&who, now); (refused == nil) != c.ok {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

func TestTermsOverDefaults(t *testing.T) {
	r, err := DefaultRules().with([]string{"approvals:2", "max_minutes:60", "max_auth_age:900", "min_acr:phr", "expire_after:2h", "escalate_after:10m"})
	if err != nil || r.Approvals != 2 || r.MaxSeconds != 3600 || r.MaxAuthAge != 15*time.Minute || r.MinACR != "phr" || r.ExpireAfter != 2*time.Hour || r.Escalate != 10*time.Minute || r.RemindAfter != 5*time.Minute || r.ReviewWithin != 24*time.Hour {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := DefaultRules().with(nil); err != nil || r.Approvals != 1 {
		t.Errorf("without terms: %+v, %v", r, err)
	}
	if r, err := DefaultRules().with([]string{"auto_approve"}); err != nil || r.Approvals != 0 {
		t.Errorf("auto: %+v, %v", r, err)
	}
	if r, err := DefaultRules().with([]string{"auto_approve", "approvals:1"}); err != nil || r.Approvals != 1 {
		t.Errorf("auto and not: %+v, %v", r, err)
	}
	if _, err := DefaultRules().with([]string{"approvals:none"}); err == nil {
		t.Error("a term that can't be read")
	}
}

// A grant holds at once at a gate whose clock is five minutes behind, and its end has no tolerance.
func TestClockSkew(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	g := Asked{ID: "ar-a", Principal: alice.Principal(), Namespace: "payments", Role: "read"}.grant("d", nil, now, now.Add(time.Hour))
	for at, want := range map[time.Duration]bool{-5 * time.Minute: true, -5*time.Minute - time.Nanosecond: false, 0: true, time.Hour - time.Nanosecond: true, time.Hour: false} {
		if g.Live(now.Add(at)) != want {
			t.Errorf("%v after: live is %v", at, !want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("version: 1\nnotify: [{name: a, email: {server: 'mail:25', from: a@b.c, to: [a@b.c]}}]")
	f.Add("version: 1\ndefaults: {expire_after: 24h}\nokta_groups: [{namespace: n, role: read, group: g}]")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSettings([]byte(text), dir)
		if err == nil && (s.Rules.ExpireAfter < time.Minute || s.Rules.ActivateIn < time.Minute) {
			t.Errorf("rules without an end: %+v", s.Rules)
		}
	})
}
