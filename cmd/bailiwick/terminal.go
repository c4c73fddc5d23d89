package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is a writer that knows whether people read it.
type terminal struct {
	io.Writer
	tty    bool // a person looks at it: tables may be wide, progress may move
	colors bool
	width  int // columns; 0 when unknown
}

func newTerminal(w io.Writer) *terminal {
	t := &terminal{Writer: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.tty = true
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			t.width = width
		}
	}
	t.colors = t.tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return t
}

// setColor applies --color.
func (a *app) setColor() error {
	switch a.color {
	case "auto":
	case "always":
		a.out.colors, a.errs.colors = true, true
	case "never":
		a.out.colors, a.errs.colors = false, false
	default:
		return &usageError{fmt.Errorf("--color is %q; use auto, always or never", a.color), "bailiwick"}
	}
	return nil
}

func (t *terminal) paint(code, s string) string {
	if !t.colors || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *terminal) red(s string) string    { return t.paint("31", s) }
func (t *terminal) green(s string) string  { return t.paint("32", s) }
func (t *terminal) yellow(s string) string { return t.paint("33", s) }
func (t *terminal) cyan(s string) string   { return t.paint("36", s) }
func (t *terminal) bold(s string) string   { return t.paint("1", s) }
func (t *terminal) dim(s string) string    { return t.paint("2", s) }

// json writes one value on one line.
func (t *terminal) json(v any) error {
	enc := json.NewEncoder(t.Writer)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// rows prints a table whose cells are already safe and may be coloured; columns are as wide as their widest cell.
func (t *terminal) rows(head []string, rows [][]string) {
	width := make([]int, len(head))
	for i, h := range head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], visible(c))
		}
	}
	line := func(cells []string, paint func(string) string) {
		var b strings.Builder
		for i, c := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(paint(c))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-visible(c)))
			}
		}
		fmt.Fprintln(t, strings.TrimRight(b.String(), " "))
	}
	line(head, t.dim)
	for _, r := range rows {
		line(r, func(s string) string { return s })
	}
}

// visible counts the runes of s outside our own colour codes.
func visible(s string) int {
	n, in := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			in = true
		case in:
			in = r != 'm'
		default:
			n++
		}
	}
	return n
}

// safe makes text from outside harmless on a terminal: everything that is not printable (escape sequences, line breaks, invisible and
// direction-changing characters) is written as an escape. Workflow ids, reasons and group names are chosen by others.
func safe(s string) string { return neutral(s, false) }

// safeLines is safe for text of several lines, such as our own error messages with outside names in them.
func safeLines(s string) string { return neutral(s, true) }

func neutral(s string, lines bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r), lines && r == '\n':
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// clip shortens s to n runes.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// span says how far t is from now in words: "in 59m", "3h ago".
func span(now, t time.Time) string {
	d := t.Sub(now).Round(time.Second)
	words := func(d time.Duration) string {
		switch {
		case d < time.Minute:
			return fmt.Sprintf("%ds", int(d.Seconds()))
		case d < time.Hour:
			return fmt.Sprintf("%dm", int(d.Minutes()))
		case d < 48*time.Hour:
			return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
		}
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	switch {
	case d < 0:
		return words(-d) + " ago"
	case d == 0:
		return "now"
	}
	return "in " + words(d)
}

// field prints a labelled line; nothing when there is no value.
func field(w *terminal, k, v string) {
	if v != "" {
		fmt.Fprintf(w, "%s %s\n", w.dim(fmt.Sprintf("%-11s", k)), v)
	}
}
