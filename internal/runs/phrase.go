package runs

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Title says what a step is in a few words. Names in it are as others chose them: escape before printing.
func (s Step) Title() string {
	kind := strings.ReplaceAll(string(s.Kind), "_", " ")
	switch {
	case s.Kind == KindClose:
		return s.Name
	case s.Kind.saysWhy():
		if s.Name == "" {
			return kind
		}
		return kind + ": “" + s.Name + "”"
	case (s.Kind == KindChild || s.Kind == KindSignalOut || s.Kind == KindContinuedAsNew) && s.ID != "":
		return kind + " " + s.Name + " → " + s.ID
	case s.Kind == KindNexus && s.Backing != "":
		return kind + " " + s.Name + " → " + s.Backing
	case s.Kind == KindSignal && s.ID != "":
		return kind + " " + s.Name + " from workflow " + s.ID
	case s.Name != "":
		return kind + " " + s.Name
	}
	return kind
}

// saysWhy reports whether the name of a step of this kind is the reason that its caller gave Temporal.
func (k Kind) saysWhy() bool {
	return k == KindTerminate || k == KindReset || k == KindPause || k == KindUnpause
}

// Result says how a step went, such as "completed in 312ms (attempt 2)".
func (s Step) Result() string {
	out := s.Outcome
	if out == "" {
		return ""
	}
	if !s.Ended.IsZero() {
		out += " in " + s.Ended.Sub(s.Time).Round(time.Millisecond).String()
	}
	if s.Attempts > 1 {
		out += fmt.Sprintf(" (attempt %d)", s.Attempts)
	}
	return out
}

// Parties are who acted and, if that was somebody else, for whom. Both are nil unless the step is verified or the audit log tells; originator is
// nil when they are the same.
func (s Step) Parties() (actor, originator *attest.Party) {
	if s.Decided != nil {
		return &s.Decided.Actor, s.Decided.Originator
	}
	if s.Verdict != Verified || s.Attestation == nil {
		return nil, nil
	}
	if s.Attestation.Actor.Principal != s.Attestation.Originator.Principal {
		originator = &s.Attestation.Originator
	}
	return &s.Attestation.Actor, originator
}

// Grounds says why a step was allowed, where its statement came into the run, or why it is not believed.
func (s Step) Grounds() string {
	switch {
	case s.Verdict == Invalid:
		return string(s.Code) + ": " + s.Problem
	case s.Decided != nil:
		return grounds(s.Decided.Reason, s.Decided.Grant, nil, s.Decision)
	case s.Verdict == Recorded:
		return s.Problem
	case s.Verdict != Verified || s.Attestation == nil || s.CarriedFrom != 0:
		return ""
	}
	out := grounds(s.Attestation.Reason, s.Attestation.Grant, s.Attestation.Policies, s.Attestation.ID)
	if s.Attestation.Cause != "" {
		out += " · called under decision " + s.Attestation.Cause
	}
	return out
}

func grounds(reason, grant string, policies []string, decision string) string {
	var parts []string
	if reason != "" {
		parts = append(parts, "“"+reason+"”")
	}
	if grant != "" {
		parts = append(parts, "grant "+grant)
	}
	if len(policies) > 0 {
		parts = append(parts, "policy "+strings.Join(policies, ", "))
	}
	return strings.Join(append(parts, "decision "+decision), " · ")
}

// PartyName is how a reader knows a party.
func PartyName(p attest.Party) string {
	name := p.Login
	if name == "" {
		name = p.Principal
	}
	if p.Profile != "" && p.Profile != "user" {
		name += " (" + strings.ReplaceAll(p.Profile, "_", " ") + ")"
	}
	return name
}

// visible makes text from outside harmless: what is not printable (line breaks, invisible and direction-changing characters, and all that XML
// forbids) is written as an escape.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func clip(s string, n int) string {
	if n < 1 || utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
