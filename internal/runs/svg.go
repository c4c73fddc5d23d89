package runs

import (
	"fmt"
	"html"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Measures of the picture, in pixels.
const (
	svgWidth  = 1040
	svgMargin = 20
	svgHead   = 92 // title and summary
	svgIndent = 40
	cardHead  = 40
	cardGap   = 8
	rowHeight = 26
	rowDetail = 17 // more, when a step has a second line
	partyX    = 500
	charWidth = 7.3 // of 13 px text, on the wide side: fonts differ
	smallChar = 6.7 // of 12 px text
	pillChar  = 7.3
	svgFoot   = 46
	// maxDescription bounds the text alternative, in bytes.
	maxDescription = 32 << 10
)

// svgStyle needs neither scripts nor fonts from elsewhere. Verdicts differ by shape and word, not by colour alone; text has a contrast of at
// least 4.5 to 1 in both schemes.
const svgStyle = `text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:#1b1f24}
.page{fill:#fff}.card{fill:#fbfcfd;stroke:#cdd3da}.head{font-weight:600;font-size:14px}.h1{font-weight:600;font-size:19px}
.dim{fill:#57606a;font-size:12px}.time{fill:#57606a;font-size:12px;font-variant-numeric:tabular-nums}.bad{fill:#b3261e;font-size:12px}.rail{stroke:#cdd3da;stroke-width:2}
.ok{fill:#1a7f37}.no{fill:#b3261e}.maybe{fill:none;stroke:#8a5a00;stroke-width:2}.rec{fill:#8c959f}.in{stroke:#fff;stroke-width:1.8;fill:none;stroke-linecap:round;stroke-linejoin:round}
.q{font-size:10px;font-weight:700;fill:#8a5a00}.name{font-size:12px}.p0{fill:#ddeafd}.p1{fill:#fde7d9}.p2{fill:#e4f4dd}.p3{fill:#efe3fb}.p4{fill:#fdf1c8}.p5{fill:#d8f3f1}
@media(prefers-color-scheme:dark){text{fill:#e6e9ec}.page{fill:#14171a}.card{fill:#1b1f24;stroke:#3b424a}.dim,.time{fill:#a3adb8}.bad{fill:#ff8f87}.rail{stroke:#3b424a}
.ok{fill:#3fb950}.no{fill:#ff6b61}.maybe{stroke:#e0a93b}.q{fill:#e0a93b}.in{stroke:#14171a}.p0{fill:#1f3a5f}.p1{fill:#5b3418}.p2{fill:#274a1c}.p3{fill:#43285f}.p4{fill:#54470f}.p5{fill:#134a47}}`

// WriteSVG draws the graph as one self-contained SVG 1.1 document: a card for each run, a line for each step, times in the given zone. All text from
// histories is escaped. The document has a title and, as its description, the same in words.
func (g Graph) WriteSVG(w io.Writer, zone *time.Location) error {
	d := &drawing{zone: zone, colours: map[string]int{}, y: svgHead}
	height := svgHead + d.height(g.Root) + svgFoot
	title := "Who did what to run " + visible(g.Root.WorkflowID)
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-labelledby="t d">`+"\n", svgWidth, height, svgWidth, height)
	d.printf("<title id=\"t\">%s</title>\n<desc id=\"d\">%s</desc>\n<style>%s</style>\n", esc(title), esc(g.description(zone)), svgStyle)
	d.printf(`<rect class="page" width="%d" height="%d"/>`+"\n", svgWidth, height)
	d.text(svgMargin, 40, "h1", clip(title, 88))
	first := g.Root.Timeline
	d.text(svgMargin, 64, "dim", clip(fmt.Sprintf("namespace %s · started %s · %s", visible(g.Root.Namespace), first.Started.In(zone).Format("2006-01-02 15:04:05 MST"), g.summary()), 150))
	d.card(g.Root, svgMargin)
	d.legend(height - svgFoot + 28)
	d.printf("</svg>\n")
	_, err := io.WriteString(w, d.b.String())
	return err
}

func (g Graph) summary() string {
	s := fmt.Sprintf("%s, %d verified", plural(g.Runs, "run"), g.Verified)
	if g.Unattested > 0 {
		s += fmt.Sprintf(", %d unattested", g.Unattested)
	}
	if g.Invalid > 0 {
		s += fmt.Sprintf(", %d INVALID", g.Invalid)
	}
	if g.Left > 0 {
		s += fmt.Sprintf(", %s not shown", plural(g.Left, "more run"))
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// description is the picture in words.
func (g Graph) description(zone *time.Location) string {
	var b strings.Builder
	b.WriteString("Identity timeline: " + g.summary() + ".")
	var walk func(n *Node)
	walk = func(n *Node) {
		if b.Len() > maxDescription {
			return
		}
		fmt.Fprintf(&b, " Run %s", visible(n.WorkflowID))
		if n.Timeline == nil {
			b.WriteString(": " + visible(n.Problem) + ".")
			return
		}
		fmt.Fprintf(&b, ", %s:", visible(n.Timeline.Status))
		for i, s := range n.Timeline.Steps {
			if b.Len() > maxDescription {
				b.WriteString(" … and more.")
				return
			}
			b.WriteString(" " + visible(s.sentence(zone)))
			if next := n.branch(i); next != nil {
				walk(next)
			}
		}
	}
	walk(g.Root)
	return b.String()
}

// sentence is one step in words.
func (s Step) sentence(zone *time.Location) string {
	out := s.Time.In(zone).Format("15:04:05") + " " + s.Title()
	if actor, originator := s.Parties(); actor != nil {
		out += " by " + PartyName(*actor)
		if originator != nil {
			out += " for " + PartyName(*originator)
		}
	}
	for _, more := range []string{s.Result(), s.Grounds()} {
		if more != "" {
			out += ", " + more
		}
	}
	if s.Verdict != Recorded {
		out += ", " + string(s.Verdict)
	}
	return out + "."
}

type drawing struct {
	b       strings.Builder
	zone    *time.Location
	colours map[string]int // by principal, in order of appearance
	y       int
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

// text writes text that visible has been over, and escapes it for XML.
func (d *drawing) text(x, y int, class, s string) {
	d.printf(`<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, y, class, esc(s))
}

func (d *drawing) right(x, y int, class, s string) {
	d.printf(`<text x="%d" y="%d" class="%s" text-anchor="end">%s</text>`+"\n", x, y, class, esc(s))
}

// height is what card will take.
func (d *drawing) height(n *Node) int {
	h := cardHead + cardGap
	if n.Timeline == nil {
		return h + cardGap
	}
	for i, s := range n.Timeline.Steps {
		h += rowHeight
		if s.Grounds() != "" {
			h += rowDetail
		}
		if next := n.branch(i); next != nil {
			h += d.height(next)
		}
	}
	return h + cardGap
}

func (d *drawing) card(n *Node, x int) {
	height := d.height(n)
	right := svgWidth - svgMargin - (x-svgMargin)/4
	d.printf(`<g><rect class="card" x="%d" y="%d" width="%d" height="%d" rx="8"/>`+"\n", x, d.y, right-x, height-cardGap)
	room := int(float64(right-x-28) / charWidth)
	if n.Timeline == nil {
		d.text(x+14, d.y+25, "dim", clip(visible(n.WorkflowID)+": "+visible(n.Problem), room))
		d.printf("<title>%s</title></g>\n", esc(visible(n.WorkflowID)+": "+visible(n.Problem)))
		d.y += height
		return
	}
	t := n.Timeline
	status := visible(t.Status)
	if !t.Closed.IsZero() {
		status += " after " + t.Closed.Sub(t.Started).Round(time.Millisecond).String()
	}
	d.text(x+14, d.y+25, "head", clip(visible(t.WorkflowType)+"  "+visible(t.WorkflowID), room-utf8.RuneCountInString(status)-4))
	d.right(right-14, d.y+25, "dim", status)
	top := d.y + cardHead
	rows := len(t.Steps)
	if rows > 1 {
		d.printf(`<line class="rail" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", x+82, top+10, x+82, d.y+height-cardGap-d.tail(n)-23)
	}
	d.y = top
	for i, s := range t.Steps {
		d.step(s, x, right)
		if next := n.branch(i); next != nil {
			d.card(next, x+svgIndent)
		}
	}
	d.y += 2 * cardGap
	d.printf("</g>\n")
}

// tail is how much of a card lies below its last row's mark, where the rail ends.
func (d *drawing) tail(n *Node) int {
	last := len(n.Timeline.Steps) - 1
	h := 0
	if n.Timeline.Steps[last].Grounds() != "" {
		h += rowDetail
	}
	if next := n.branch(last); next != nil {
		h += d.height(next)
	}
	return h
}

func (d *drawing) step(s Step, x, right int) {
	d.printf("<g><title>%s</title>\n", esc(visible(s.sentence(d.zone))))
	base := d.y + 15
	d.text(x+14, base, "time", s.Time.In(d.zone).Format("15:04:05"))
	d.mark(x+82, d.y+11, s.Verdict)
	at, result := max(partyX, x+300), clip(visible(s.Result()), 34)
	d.text(x+98, base, "what", clip(visible(s.Title()), int(float64(at-x-108)/charWidth)))
	if result != "" {
		d.right(right-14, base, "dim", result)
	}
	end := right - 24 - int(float64(utf8.RuneCountInString(result))*smallChar)
	switch actor, originator := s.Parties(); {
	case actor != nil && originator != nil:
		half := (end - at - 30) / 2
		next := d.pill(*actor, at, base, half)
		d.text(next+5, base, "dim", "for")
		d.pill(*originator, next+26, base, half)
	case actor != nil:
		d.pill(*actor, at, base, end-at)
	case s.Verdict == Unattested:
		d.text(at, base, "dim", "unattested")
	case s.Principal != "":
		d.text(at, base, "dim", clip("Temporal says "+visible(s.Principal), int(float64(end-at)/smallChar)))
	}
	d.y += rowHeight
	if g := s.Grounds(); g != "" {
		class := "dim"
		if s.Verdict == Invalid {
			class = "bad"
		}
		d.text(x+98, d.y+7, class, clip(visible(g), int(float64(right-x-112)/smallChar)))
		d.y += rowDetail
	}
	d.printf("</g>\n")
}

// pill writes a party on a tint of its own and returns where it ends.
func (d *drawing) pill(p attest.Party, x, base, room int) int {
	colour, known := d.colours[p.Principal]
	if !known {
		colour = len(d.colours) % 6
		d.colours[p.Principal] = colour
	}
	if p.Login == "" { // the issuer is in the step's title
		p.Login = p.Principal[strings.LastIndexByte(p.Principal, '|')+1:]
	}
	name := clip(visible(PartyName(p)), max(4, int(float64(room-16)/pillChar)))
	width := int(float64(utf8.RuneCountInString(name))*pillChar) + 16
	d.printf(`<rect class="p%d" x="%d" y="%d" width="%d" height="19" rx="9.5"/>`+"\n", colour, x, base-14, width)
	d.printf(`<text x="%d" y="%d" class="name" text-anchor="middle">%s</text>`+"\n", x+width/2, base, esc(name))
	return x + width
}

// mark draws a verdict: a disc with a tick, a ring with a question mark, a square with a cross, a dot.
func (d *drawing) mark(x, y int, v Verdict) {
	switch v {
	case Verified:
		d.printf(`<circle class="ok" cx="%d" cy="%d" r="7.5"/><path class="in" d="M%d %dl2.3 2.4 4.2-4.8"/>`+"\n", x, y, x-3, y)
	case Unattested:
		d.printf(`<circle class="page" cx="%d" cy="%d" r="8"/><circle class="maybe" cx="%d" cy="%d" r="7"/><text class="q" x="%d" y="%d" text-anchor="middle">?</text>`+"\n", x, y, x, y, x, y+4)
	case Invalid:
		d.printf(`<rect class="no" x="%d" y="%d" width="15" height="15" rx="2"/><path class="in" d="M%d %dl6 6m0-6l-6 6"/>`+"\n", x-7, y-7, x-3, y-3)
	default:
		d.printf(`<circle class="rec" cx="%d" cy="%d" r="4"/>`+"\n", x, y)
	}
}

func (d *drawing) legend(y int) {
	x := svgMargin + 8
	for _, v := range []struct {
		verdict Verdict
		text    string
	}{{Verified, "signature and binding verified"}, {Unattested, "no attestation"}, {Invalid, "attestation not good for this event"}, {Recorded, "not signed: the audit log or Temporal tells"}} {
		d.mark(x, y-4, v.verdict)
		d.text(x+14, y, "dim", v.text)
		x += 44 + int(float64(len(v.text))*smallChar)
	}
}

func esc(s string) string { return html.EscapeString(s) }
