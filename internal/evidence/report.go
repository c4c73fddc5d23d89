package evidence

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

//go:embed head.html
var headHTML string // what both pages begin with

//go:embed report.html
var reportHTML string

//go:embed cited.html
var citedHTML string

//go:embed report.css
var reportCSS string

// Bounds of the report's tables; the files beside it have every row.
const (
	rowsShown  = 250
	barsShown  = 14
	diffsShown = 40
)

// view is what the report's template sees.
type view struct {
	Settings Settings
	Head     head

	Origin, Key, Root     string
	Size, First, Last     uint64
	Entries               uint64
	LogEnd                time.Time
	Ended                 bool // the log goes beyond the period
	From, To              time.Time
	Lost, Gone            uint64
	Unreadable            int
	EmptyDays             int
	Outside               uint64
	Allowed, Denied       uint64
	People, Namespaces    int
	Kinds                 []kindRow
	Reports               []report
	PairsBeyond           uint64
	RefusedBeyond         uint64
	Criteria              []criterion
	Figures               []figure
	Activity              template.HTML
	Access                shown[accessRow]
	Unused                shown[heldView]
	Provider              *providerView // nil: there is no listing
	Requests              shown[*request]
	Outcomes              template.HTML
	BreakGlass            shown[*request]
	Codes                 template.HTML
	CodeTrend             []trendRow
	RefusedPeople         shown[refusedRow]
	Moves                 shown[moveRow]
	Leavers               template.HTML
	Conflicts             shown[conflict]
	Keys                  shown[keyEvent]
	Changes               shown[*policyChange]
	Sets                  []setRow
	Revocations           shown[step]
	Admin                 shown[step]
	Unit                  string
	DutyRules             []Duty
	LeaverLimit, ReviewIn string
}

// head is what both pages begin with.
type head struct {
	Title string
	CSP   string
	CSS   template.CSS
}

// shown is as many rows as are shown, and how many there are.
type shown[T any] struct {
	Rows  []T
	Total int
}

func cut[T any](rows []T, n int) shown[T] {
	return shown[T]{rows[:min(len(rows), n)], len(rows)}
}

func (t shown[T]) More() int { return t.Total - len(t.Rows) }

type figure struct {
	Value, Name, Link string
	Bad               bool
}

type kindRow struct {
	Kind audit.Kind
	N    uint64
}

type accessRow struct {
	Who, Principal, Namespace, Level string
	Same                             bool // the person of the row above
	N                                uint64
	First, Last                      Ref
	Policies, Grants                 []string
	Agents                           bool
	When                             template.HTML
}

type heldView struct {
	Who, Namespace, Role string
	First, Last          Ref
}

type refusedRow struct {
	Who, Source, Codes string
	N                  uint64
	First, Last        Ref
}

type trendRow struct {
	Code string
	N    uint64
	When template.HTML
}

type moveRow struct {
	*move
	What   string
	Lasted string
	Late   bool
}

type setRow struct {
	Digest string
	span
	Kept bool
}

func newHead(title string) head {
	sum := sha256.Sum256([]byte(reportCSS))
	return head{title, "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'", template.CSS(reportCSS)} // our own style sheet
}

// view makes what the report shows, and notes which entries it cites.
func (f *facts) view(log *sealedLog) *view {
	v := &view{
		Settings: f.settings, Head: newHead("Evidence of access control, " + f.settings.From + " to " + f.settings.To),
		Origin: log.origin, Key: log.verifierKey, Root: log.root(), Size: f.size, First: f.first, Last: max(f.next, 1) - 1, Outside: f.size - (f.next - f.first),
		Entries: f.entries, LogEnd: f.logEnd, From: f.from, To: f.to.AddDate(0, 0, -1), Ended: f.next < f.size || !f.logEnd.Before(f.to.Add(-24*time.Hour)),
		Lost: uint64(len(f.lost)), Gone: f.gone, Unreadable: len(f.unreadable), Allowed: f.allowed, Denied: f.denied,
		PairsBeyond: f.pairsBeyond, RefusedBeyond: f.refusedBeyond, Unit: f.buckets.unit(), DutyRules: f.settings.Rules.Duties,
		LeaverLimit: spell(time.Duration(f.settings.Rules.LeaverMinutes) * time.Minute), ReviewIn: fmt.Sprintf("%d days", f.settings.Rules.ReviewDays),
		Reports: f.reports,
	}
	for _, r := range f.reports {
		f.cite(r.Ref)
	}
	last := min(int(f.logEnd.Sub(f.from)/(24*time.Hour)), int(f.to.Sub(f.from)/(24*time.Hour))-1)
	for d := 0; d <= last; d++ {
		if !f.daysSeen[d] {
			v.EmptyDays++
		}
	}
	for k, n := range f.kinds {
		v.Kinds = append(v.Kinds, kindRow{k, n})
	}
	slices.SortFunc(v.Kinds, func(a, b kindRow) int {
		if a.N != b.N {
			if a.N > b.N {
				return -1
			}
			return 1
		}
		return strings.Compare(string(a.Kind), string(b.Kind))
	})
	v.Criteria = f.assess()
	for _, c := range v.Criteria {
		f.citeAll(c.Sample)
		for _, e := range c.Exceptions {
			f.citeAll(e.Refs)
		}
	}
	f.viewAccess(v)
	f.viewProvider(v)
	f.viewRequests(v)
	f.viewRefused(v)
	f.viewMoves(v)
	f.viewPolicy(v)
	v.Conflicts = cut(f.conflicts, rowsShown)
	for _, c := range v.Conflicts.Rows {
		f.citeAll([]Ref{c.First, c.Second})
	}
	v.Keys = cut(f.keys, rowsShown)
	for _, k := range v.Keys.Rows {
		f.cite(k.Ref)
	}
	var revoked []step
	for _, s := range f.steps {
		if s.Kind == string(audit.KindRevocation) {
			s.Who = f.called(s.Who.Principal, s.Who.Login)
			revoked = append(revoked, s)
		}
	}
	v.Revocations, v.Admin = cut(revoked, rowsShown), cut(f.admin, rowsShown)
	for _, s := range slices.Concat(v.Revocations.Rows, v.Admin.Rows) {
		f.cite(s.Ref)
	}
	v.Activity = activityChart(f.buckets, f.byBucket)
	v.figures(f)
	return v
}

func (f *facts) citeAll(refs []Ref) {
	for _, r := range refs {
		f.cite(r)
	}
}

func (v *view) figures(f *facts) {
	exceptions := 0
	for _, c := range v.Criteria {
		exceptions += len(c.Exceptions) + c.Beyond
	}
	leavers := 0
	for _, m := range f.moves {
		if m.takesAway() {
			leavers++
		}
	}
	add := func(n uint64, name, link string, bad bool) {
		v.Figures = append(v.Figures, figure{group(n), name, link, bad})
	}
	add(v.Allowed+v.Denied, "decisions", "#activity", false)
	add(v.Denied, "calls refused", "#denied", false)
	add(uint64(v.People), "people and services", "#access", false)
	add(uint64(v.Namespaces), "namespaces", "#access", false)
	if p := v.Provider; p != nil {
		add(uint64(p.People), "people with roles at the provider", "#provider", false)
	}
	add(uint64(v.Requests.Total), "access requests", "#requests", false)
	add(uint64(v.BreakGlass.Total), "uses of break-glass", "#breakglass", false)
	add(uint64(leavers), "removals of access", "#people", false)
	add(uint64(v.Changes.Total), "policy changes", "#policy", false)
	add(uint64(len(f.conflicts)), "conflicts of duties", "#duties", len(f.conflicts) > 0)
	add(uint64(exceptions), "exceptions", "#criteria", exceptions > 0)
}

var pageFuncs = template.FuncMap{
	"n": func(v any) string {
		switch v := v.(type) {
		case uint64:
			return group(v)
		case int:
			return group(uint64(max(v, 0)))
		}
		return fmt.Sprint(v)
	},
	"day": day, "clock": clock, "short": short, "spell": spell, "text": visible, "names": names,
	"join": func(s []string) string { return strings.Join(s, ", ") },
	"clip": clipped,
	"when": func(r Ref) string {
		if r.ID == "" {
			return ""
		}
		return r.Time.UTC().Format("2006-01-02 15:04")
	},
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"count":   func(n int, what string) string { return plural(uint64(n), what) },
	"has":     func(r Ref) bool { return r.ID != "" },
	"seconds": func(n int64) string { return spell(time.Duration(n) * time.Second) },
	"list": func(r ...Ref) []Ref {
		return slices.DeleteFunc(r, func(r Ref) bool { return r.ID == "" })
	},
}

// visible shows characters that would not be seen, or would turn the writing around, as U+FFFD.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != 0x2009 { // the space between thousands
			return '\uFFFD'
		}
		return r
	}, s)
}

func (v *view) render() ([]byte, error) { return render("report", reportHTML, v) }

// render runs a template; html/template escapes whatever comes out of entries.
func render(name, text string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(pageFuncs).Parse(headHTML + text)
	if err != nil {
		return nil, fmt.Errorf("reading the template of the %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("writing the %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// citedRow is an entry as the page of cited entries shows it.
type citedRow struct {
	Index                                    uint64
	ID, Time, Kind, Who, What, Outcome, Leaf string
	JSON                                     string
}

func newCitedRow(index uint64, raw []byte, e *audit.Entry, leaf tlog.Hash) citedRow {
	var pretty bytes.Buffer
	if json.Indent(&pretty, raw, "", "  ") != nil {
		pretty.Write(raw)
	}
	r := citedRow{Index: index, ID: e.ID, Time: clock(e.Time), Kind: string(e.Kind), Who: person{e.Actor.Principal, e.Actor.Login, e.Actor.ClientID}.Name(), What: e.Action, Leaf: leaf.String(), JSON: visibleLines(pretty.String())}
	if e.Decision != nil {
		r.Outcome = "allowed"
		if !e.Decision.Allow {
			r.Outcome = "refused: " + string(e.Decision.Code)
		}
	}
	if r.What == "" {
		r.What = e.Detail["event"]
	}
	return r
}

func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = visible(l)
	}
	return strings.Join(lines, "\n")
}

func renderCited(s Settings, rows []citedRow) ([]byte, error) {
	return render("cited entries", citedHTML, struct {
		Settings Settings
		Head     head
		Rows     []citedRow
	}{s, newHead("Cited entries, " + s.From + " to " + s.To), rows})
}
