package revocation

import (
	"time"
	"unicode"
)

// Kind is what a signal says.
type Kind string

const (
	Joined      Kind = "joined"
	Left        Kind = "left"
	Suspended   Kind = "suspended"
	Restored    Kind = "restored"
	GroupAdded  Kind = "group_added"
	GroupGone   Kind = "group_removed"
	SignedOut   Kind = "logout"             // of one session
	Cleared     Kind = "session_revoked"    // signed out everywhere
	Credentials Kind = "credential_changed" // whoever knew the old ones must not go on
	Changed     Kind = "changed"            // of name or attributes
)

// ends reports whether every token from before is over.
func (k Kind) ends() bool { return k == Left || k == Suspended || k == Cleared || k == Credentials }

// aboutState reports whether the directory is asked. Sessions that are over stay over, whatever it says.
func (k Kind) aboutState() bool {
	return k != SignedOut && k != Cleared && k != Credentials
}

// Where signals come from, as entries have it.
const (
	SourceHook      = "event_hook"
	SourceLog       = "system_log"
	SourceSSF       = "ssf"
	SourceLogout    = "universal_logout"
	SourceAdmin     = "admin"
	maxSignalText   = 512 // bytes of a name
	allowedInFuture = time.Minute
)

// Signal is one thing that happened to one person.
type Signal struct {
	ID      string    `json:"id"` // the provider's; the same happening by another way has the same
	Kind    Kind      `json:"kind"`
	At      time.Time `json:"at"` // when it happened, as the source says
	UID     string    `json:"uid"`
	Login   string    `json:"login,omitempty"`
	Group   string    `json:"group,omitempty"` // name
	Session string    `json:"session,omitempty"`
	Source  string    `json:"source"`
}

// Happening is an event of the provider's log, as Okta's LogEvent has it.
type Happening struct {
	ID      string
	Type    string // such as "user.lifecycle.deactivate"
	At      time.Time
	Outcome string // "SUCCESS" counts
	Actor   Party
	Targets []Party
	Session string // authenticationContext.externalSessionId
}

// Party is somebody or something that an event is about.
type Party struct{ ID, Type, AlternateID, DisplayName string }

// kinds are the events that say something about a person.
var kinds = map[string]Kind{
	"user.lifecycle.create": Joined, "user.lifecycle.activate": Joined, "user.lifecycle.reactivate": Restored, "user.lifecycle.unsuspend": Restored,
	"user.lifecycle.deactivate": Left, "user.lifecycle.delete.initiated": Left, "user.lifecycle.delete.completed": Left, "user.lifecycle.suspend": Suspended,
	"group.user_membership.add": GroupAdded, "group.user_membership.remove": GroupGone,
	"user.session.end": SignedOut, "user.session.clear": Cleared, "user.authentication.universal_logout": Cleared,
	"user.account.reset_password": Credentials, "user.account.update_password": Credentials,
}

// HookTypes are the event types that a hook should bring, of those that Okta's hooks can carry.
func HookTypes() []string {
	return []string{
		"user.account.reset_password", "user.account.update_password",
		"group.user_membership.add", "group.user_membership.remove", "user.authentication.universal_logout", "user.lifecycle.activate", "user.lifecycle.create",
		"user.lifecycle.deactivate", "user.lifecycle.delete.initiated", "user.lifecycle.reactivate", "user.lifecycle.suspend", "user.lifecycle.unsuspend",
		"user.session.clear", "user.session.end",
	}
}

// Signals says what a happening means: nothing for most.
func (h *Happening) Signals(source string, now time.Time) []Signal {
	kind, known := kinds[h.Type]
	if !known || h.ID == "" || len(h.ID) > 128 || h.Outcome != "SUCCESS" && h.Outcome != "ALLOW" {
		return nil
	}
	s := Signal{ID: h.ID, Kind: kind, At: h.At.UTC(), Source: source}
	if s.At.IsZero() || s.At.After(now.Add(allowedInFuture)) {
		s.At = now.UTC() // a clock that is ahead must not end tokens that are not issued yet
	}
	for _, t := range h.Targets {
		switch t.Type {
		case "User":
			s.UID, s.Login = t.ID, t.AlternateID
		case "UserGroup":
			s.Group = t.DisplayName
		}
	}
	if s.UID == "" && kind == SignedOut && h.Actor.Type == "User" {
		s.UID, s.Login = h.Actor.ID, h.Actor.AlternateID
	}
	if kind == SignedOut {
		if h.Session == "" || h.Session == "unknown" {
			return nil // nobody can tell which
		}
		s.Session = h.Session
	}
	if s.UID == "" || !plain(s.UID) || !plain(s.Session) || (kind == GroupAdded || kind == GroupGone) && (s.Group == "" || !plain(s.Group)) {
		return nil
	}
	if !plain(s.Login) {
		s.Login = ""
	}
	return []Signal{s}
}

// Plain reports whether a signal names somebody, and nothing that the feed would refuse.
func (s *Signal) Plain() bool {
	return s.UID != "" && plain(s.UID) && plain(s.Session) && plain(s.Login)
}

// plain keeps out what the feed would refuse.
func plain(s string) bool {
	if len(s) > maxSignalText {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}
