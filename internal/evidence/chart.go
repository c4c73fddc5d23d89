package evidence

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// Charts are inline SVG without style attributes, so that the page's policy can forbid everything but its own style sheet. Series differ by
// hatching and by direct labels, not by colour alone: they read the same in greyscale. All text from entries is escaped.
type chart struct {
	b             strings.Builder
	width, height float64
}

func escaped(s string) string { return template.HTMLEscapeString(visible(s)) }

func newChart(id, title, description string, width, height float64) *chart {
	c := &chart{width: width, height: height}
	fmt.Fprintf(&c.b, `<svg class="chart" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d" preserveAspectRatio="xMinYMin meet">`, num(width), num(height), id, id)
	fmt.Fprintf(&c.b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, escaped(title), id, escaped(description))
	fmt.Fprintf(&c.b, `<defs><pattern id="%s-h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="hatch-ground"/><rect width="2.4" height="6" class="hatch-line"/></pattern></defs>`, id)
	return c
}

func num(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }

func (c *chart) rect(class string, x, y, w, h float64, tip string) {
	fmt.Fprintf(&c.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`, class, num(x), num(y), num(w), num(h), escaped(tip))
}

func (c *chart) hatched(id string, x, y, w, h float64, tip string) {
	fmt.Fprintf(&c.b, `<rect class="edge" fill="url(#%s-h)" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`, id, num(x), num(y), num(w), num(h), escaped(tip))
}

func (c *chart) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, num(x1), num(y1), num(x2), num(y2))
}

func (c *chart) text(class string, x, y float64, s string) {
	fmt.Fprintf(&c.b, `<text class="%s" x="%s" y="%s">%s</text>`, class, num(x), num(y), escaped(s))
}

func (c *chart) done() template.HTML {
	c.b.WriteString("</svg>")
	return template.HTML(c.b.String()) // every text in it is escaped above
}

// niceTop is the round number at or above v that an axis ends with.
func niceTop(v float64) float64 {
	if v <= 4 {
		return 4
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8, 10} {
		if m*p >= v {
			return m * p
		}
	}
	return 10 * p
}

// activityChart draws allowed and refused calls over the period, the refused hatched and on an axis of their own below: they are few, and
// would not show.
func activityChart(b buckets, counts [][2]uint64) template.HTML {
	const w, left, top, up, gap, down = 960.0, 54.0, 26.0, 150.0, 30.0, 64.0
	var most [2]float64
	var total [2]uint64
	peak := 0
	for i, n := range counts {
		for k := range n {
			most[k] = max(most[k], float64(n[k]))
			total[k] += n[k]
		}
		if counts[i][0]+counts[i][1] > counts[peak][0]+counts[peak][1] {
			peak = i
		}
	}
	c := newChart("activity", "Decisions by "+b.unit(), fmt.Sprintf("%s calls were allowed and %s refused. The busiest %s began on %s with %s allowed and %s refused.",
		group(total[0]), group(total[1]), b.unit(), day(b.start(peak)), group(counts[peak][0]), group(counts[peak][1])), w, top+up+gap+down+30)
	t0, t1 := niceTop(most[0]), niceTop(most[1])
	base := top + up
	for _, f := range []float64{0, 0.5, 1} {
		y := base - up*f
		c.line("grid", left, y, w, y)
		c.text("tick end", left-8, y+4, compact(t0*f))
	}
	low := base + gap
	for _, f := range []float64{0, 1} {
		c.line("grid", left, low+down*f, w, low+down*f)
		c.text("tick end", left-8, low+down*f+4, compact(t1*f))
	}
	c.text("label", left, top-10, "Allowed")
	c.text("label", left, low-8, "Refused")
	step := (w - left) / float64(len(counts))
	bar := max(step*0.74, 0.8)
	for i, n := range counts {
		x := left + step*float64(i) + (step-bar)/2
		if n[0] > 0 {
			h := max(up*float64(n[0])/t0, 1)
			c.rect("ink", x, base-h, bar, h, fmt.Sprintf("%s: %s allowed", day(b.start(i)), group(n[0])))
		}
		if n[1] > 0 {
			h := max(down*float64(n[1])/t1, 1)
			c.hatched("activity", x, low, bar, h, fmt.Sprintf("%s: %s refused", day(b.start(i)), group(n[1])))
		}
	}
	months(c, b, len(counts), left, step, low+down+20)
	return c.done()
}

// months labels a time axis where a month or the period begins.
func months(c *chart, b buckets, n int, left, step, y float64) {
	last := -100.0
	for i := range n {
		t := b.start(i)
		if i == 0 || b.start(i-1).Month() != t.Month() {
			if x := left + step*float64(i); x-last > 60 {
				text := t.Format("Jan")
				if i == 0 || t.Month() == time.January {
					text = t.Format("Jan 2006")
				}
				c.text("tick", x, y, text)
				last = x
			}
		}
	}
}

// barRow is one bar of a chart of lying bars.
type barRow struct {
	Name  string
	Value float64
	Label string
	Mark  bool // hatched: an exception
}

// barsChart draws lying bars with their values beside them. limit, when positive, is a line across.
func barsChart(id, title, description string, rows []barRow, limit float64, limitText string) template.HTML {
	const w, left, rowH = 960.0, 250.0, 26.0
	top := 8.0
	if limit > 0 {
		top = 26
	}
	most := limit
	for _, r := range rows {
		most = max(most, r.Value)
	}
	scale := (w - left - 150) / max(most, 1e-9)
	c := newChart(id, title, description, w, top+rowH*float64(len(rows))+8)
	for i, r := range rows {
		y := top + rowH*float64(i)
		c.text("name end", left-10, y+17, clipped(r.Name, 36))
		width := max(r.Value*scale, 1.5)
		if r.Mark {
			c.hatched(id, left, y+5, width, rowH-10, r.Name+": "+r.Label)
		} else {
			c.rect("ink", left, y+5, width, rowH-10, r.Name+": "+r.Label)
		}
		c.text("value", left+width+8, y+17, r.Label)
	}
	if limit > 0 {
		x := left + limit*scale
		c.line("limit", x, top-4, x, top+rowH*float64(len(rows))+4)
		c.text("tick", x+5, top-8, limitText)
	}
	return c.done()
}

// strip draws when something was used, one cell for each bucket; the darker, the more.
func strip(counts []uint32, b buckets) template.HTML {
	const cell, h = 7.0, 16.0
	var most uint32
	used := 0
	for _, n := range counts {
		most = max(most, n)
		if n > 0 {
			used++
		}
	}
	var s strings.Builder
	step := min(cell, 110/float64(len(counts)))
	fmt.Fprintf(&s, `<svg class="strip" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="used in %d of %d %ss">`,
		num(step*float64(len(counts))), num(h), num(step*float64(len(counts))), num(h), used, len(counts), b.unit())
	fmt.Fprintf(&s, `<rect class="empty" width="%s" height="%s"/>`, num(step*float64(len(counts))), num(h))
	for i, n := range counts {
		if n > 0 {
			height := 4 + (h-4)*math.Sqrt(float64(n)/float64(most))
			fmt.Fprintf(&s, `<rect class="ink" x="%s" y="%s" width="%s" height="%s"/>`, num(step*float64(i)), num(h-height), num(max(step-min(1, step/4), 0.5)), num(height))
		}
	}
	s.WriteString("</svg>")
	return template.HTML(s.String()) // numbers only
}

func clipped(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// compact writes a number for an axis.
func compact(v float64) string {
	switch {
	case v >= 1e6:
		return num(v/1e6) + " M"
	case v >= 1e4:
		return num(v/1e3) + " k"
	}
	return group(uint64(v))
}

// group writes a number with thin spaces between thousands.
func group(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u2009" + s[i:]
	}
	return s
}

func day(t time.Time) string   { return t.UTC().Format("2 Jan 2006") }
func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 UTC") }

// spell writes a duration in words that people use.
func spell(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return num(math.Round(d.Seconds()*10)/10) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour && int(d.Minutes())%60 == 0:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func short(digest string) string { return visible(clipped(digest, 12)) }

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return group(n) + " " + what + "s"
}
