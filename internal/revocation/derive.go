package revocation

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// known is what is known of a person and in force at gates.
type known struct {
	Asked   time.Time            `json:"asked,omitzero"` // when the directory last answered
	Login   string               `json:"login,omitempty"`
	Active  bool                 `json:"active"`
	Groups  []string             `json:"groups,omitempty"`
	Barred  string               `json:"barred,omitempty"`   // reason of the bar of the whole person
	Before  time.Time            `json:"before,omitzero"`    // tokens from before count no more
	Told    time.Time            `json:"told,omitzero"`      // the Before that gates know
	Lost    map[string]time.Time `json:"lost,omitempty"`     // group → tokens from before have lost it
	Heard   map[string]time.Time `json:"heard,omitempty"`    // kind and group → the last happening that is on record
	HeardBy map[string]string    `json:"heard_by,omitempty"` // the same → the channel that told of it
}

// derive says what is to be published and recorded, and changes what is known to what will then be in force. A nil now means that the directory
// was not asked, or did not answer: then only what takes access away counts.
func (r *Revoker) derive(uid string, k *known, open []arrival, now *Person, asked time.Time) []row {
	d := &derivation{r: r, uid: uid, k: k, now: now, at: asked}
	slices.SortStableFunc(open, func(a, b arrival) int { return a.At.Compare(b.At) })
	for _, a := range open {
		if a.Login != "" {
			k.Login = a.Login
		}
		if !a.noted && !k.echo(a.Signal) {
			d.note(a.Signal)
		}
		if a.Kind.ends() && seconds(a.At).After(seconds(k.Before)) {
			k.Before = a.At
			d.ended = a.Signal
		}
	}
	if now != nil && now.Login != "" && plain(now.Login) {
		k.Login = now.Login
	}
	d.person(open)
	d.groups(open)
	d.tokens()
	for _, a := range open {
		if a.Kind == SignedOut && !a.noted && !k.echo(a.Signal) {
			d.session(a.Signal)
		}
	}
	if now != nil {
		d.facts()
	}
	return d.rows
}

// seconds is how finely tokens say when they were issued: two ends within one are one, whichever channel told of them.
func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }

// echo reports whether a happening is on record already because another channel told of it, and remembers it if not. Channels give one happening
// different ids, and date it a moment apart.
func (k *known) echo(s Signal) bool {
	const apart = 2 * time.Second
	key := string(s.Kind) + "/" + s.Group + s.Session
	if heard, ok := k.Heard[key]; ok && s.At.Sub(heard).Abs() < apart && s.Source != k.HeardBy[key] {
		return true
	}
	if k.Heard == nil {
		k.Heard, k.HeardBy = map[string]time.Time{}, map[string]string{}
	}
	for old, at := range k.Heard {
		if s.At.Sub(at) > time.Hour { // far more than channels lie apart
			delete(k.Heard, old)
			delete(k.HeardBy, old)
		}
	}
	k.Heard[key], k.HeardBy[key] = s.At, s.Source
	return false
}

// derivation is one run of derive.
type derivation struct {
	r     *Revoker
	uid   string
	k     *known
	now   *Person
	at    time.Time
	ended Signal // the newest that ends all tokens from before
	rows  []row
}

// newest is the last signal of the kinds, or one that says that nobody told us.
func newest(open []arrival, unheard Signal, kinds ...Kind) Signal {
	for _, a := range slices.Backward(open) {
		if slices.Contains(kinds, a.Kind) {
			return a.Signal
		}
	}
	return unheard
}

// person bars who is not active, and lifts the bar of who is again.
func (d *derivation) person(open []arrival) {
	unheard := Signal{At: d.at, Source: SourceLog}
	if len(open) > 0 {
		unheard.Source = open[len(open)-1].Source
	}
	reason, cause := "", unheard
	switch {
	case d.now == nil: // what signals say
		cause = newest(open, newest(open, Signal{}, Suspended), Left)
		if cause.ID == "" {
			return
		}
		if reason = reasonOf(cause.Kind); d.k.Barred == "user_deactivated" {
			reason = d.k.Barred // Shared Signals call either "disabled": that somebody left, once heard, stands until the directory says otherwise
		}
	case !d.now.Active && d.now.Status == "SUSPENDED":
		reason, cause = "user_suspended", newest(open, newest(open, unheard, Left), Suspended)
	case !d.now.Active:
		reason, cause = "user_deactivated", newest(open, newest(open, unheard, Suspended), Left)
	}
	switch {
	case reason != "" && d.k.Barred == reason:
	case reason != "":
		d.k.Barred, d.k.Active = reason, false
		if cause.At.After(d.k.Before) {
			d.k.Before = cause.At // even if the bar is lifted, tokens from before stay over
		}
		d.bar("status", standing.Bar{Reason: reason, Since: cause.At}, reason, cause, "every call is refused")
		d.end(reason)
	case d.k.Barred != "":
		if d.k.Before.After(d.k.Told) { // before the bar goes, so that there is no moment between
			d.tell("session_revoked", newest(open, unheard, Restored, Joined))
		}
		d.k.Barred = ""
		d.unbar("status", newest(open, unheard, Restored, Joined), "calls are decided again; tokens from before need a new sign-in")
	}
}

func reasonOf(k Kind) string {
	if k == Suspended {
		return "user_suspended"
	}
	return "user_deactivated"
}

// tokens ends tokens from before an instant, unless all of the person's are barred: then when that bar is lifted.
func (d *derivation) tokens() {
	if d.k.Barred != "" || !d.k.Before.After(d.k.Told) {
		return
	}
	reason := "session_revoked"
	if d.ended.Kind == Credentials {
		reason = "credential_changed"
	}
	d.tell(reason, d.ended)
}

func (d *derivation) tell(reason string, cause Signal) {
	d.k.Told = d.k.Before
	d.bar("tokens", standing.Bar{Reason: reason, Before: d.k.Before, Since: d.k.Before}, reason, cause, "tokens from before are refused")
}

// groups takes groups out of tokens from before they were lost, and gives back those that the person is in again.
func (d *derivation) groups(open []arrival) {
	lost := map[string]Signal{}
	for _, a := range open {
		if a.Kind == GroupGone && (d.now == nil || !slices.Contains(d.now.Groups, a.Group)) {
			lost[a.Group] = a.Signal
		}
	}
	if d.now != nil && !d.k.Asked.IsZero() {
		for _, g := range d.k.Groups {
			if _, told := lost[g]; !told && !slices.Contains(d.now.Groups, g) && d.k.Lost[g].IsZero() {
				lost[g] = Signal{At: d.at, Source: SourceLog, Group: g}
			}
		}
	}
	for _, g := range slices.Sorted(maps.Keys(lost)) {
		s := lost[g]
		if !s.At.After(d.k.Lost[g]) {
			continue
		}
		if d.k.Lost == nil {
			d.k.Lost = map[string]time.Time{}
		}
		d.k.Lost[g] = s.At
		s.Group = g
		d.bar(groupBar(g), standing.Bar{Group: g, Reason: "group_removed", Before: s.At, Since: s.At}, "group_removed", s, "the group does not count in tokens from before")
	}
	if d.now == nil {
		return
	}
	for _, g := range slices.Sorted(maps.Keys(d.k.Lost)) {
		if slices.Contains(d.now.Groups, g) {
			delete(d.k.Lost, g)
			cause := newest(open, Signal{At: d.at, Source: SourceLog}, GroupAdded)
			cause.Group = g
			d.unbar(groupBar(g), cause, "the group counts again")
		}
	}
}

// groupBar names the bar of a group; names may be longer than ids.
func groupBar(group string) string { return "group/" + short(group) }

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

// session ends one session's tokens, where tokens say which they are of.
func (d *derivation) session(s Signal) {
	b := standing.Bar{ID: "okta/session/" + short(s.Session), SessionID: s.Session, Reason: "session_revoked", Source: s.Source, Since: s.At}
	d.publish(s, standing.Event{Kind: standing.EventBar, At: d.at, Bar: &b})
	for _, p := range d.r.principals(d.uid) {
		d.record(audit.KindRevocation, p, s, map[string]string{"event": "session_revoked", "session": s.Session, "bar": b.ID, "effect": "tokens of the session are refused"})
	}
}

// facts publishes what the directory says, where it is news.
func (d *derivation) facts() {
	groups := slices.DeleteFunc(slices.Clone(d.now.Groups), func(g string) bool { return g == "" || !plain(g) })
	slices.Sort(groups)
	if !d.k.Asked.IsZero() && d.k.Active == d.now.Active && slices.Equal(d.k.Groups, groups) {
		d.k.Asked = d.at
		return
	}
	d.k.Asked, d.k.Active, d.k.Groups = d.at, d.now.Active, groups
	for _, p := range d.r.principals(d.uid) {
		d.publish(Signal{}, standing.Event{Kind: standing.EventPerson, At: d.at, Person: &standing.Person{Principal: p, Login: d.k.Login, Active: d.now.Active, Groups: groups, AsOf: d.at}})
	}
}
