package evidence

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// diff is how one policy file changed.
type diff struct {
	Name           string
	Added, Removed int
	Lines          []diffLine
	Cut            bool // there is more than is shown
}

// diffLine is a line with its mark: "+", "-", " " or "…" for lines left out.
type diffLine struct{ Mark, Text string }

// policyText is one file of a policy set.
type policyText struct{ Name, Text string }

// splitSet reads the form that a policy set's digest is the SHA-256 of: for each text the lengths of name and content (big-endian uint64),
// name and content.
func splitSet(raw []byte) ([]policyText, error) {
	var texts []policyText
	for len(raw) > 0 {
		if len(raw) < 16 {
			return nil, errors.New("policy texts end inside a length")
		}
		name, content := binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
		raw = raw[16:]
		if name > uint64(len(raw)) || content > uint64(len(raw))-name {
			return nil, errors.New("policy texts end inside a text")
		}
		texts = append(texts, policyText{string(raw[:name]), string(raw[name : name+content])})
		raw = raw[name+content:]
	}
	return texts, nil
}

// diffSets compares two policy sets file by file.
func diffSets(old, new []policyText) []diff {
	text := func(set []policyText, name string) string {
		for _, t := range set {
			if t.Name == name {
				return t.Text
			}
		}
		return ""
	}
	var names []string
	for _, t := range append(slices.Clone(old), new...) {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	var out []diff
	for _, name := range names {
		if a, b := text(old, name), text(new, name); a != b {
			d := diffLines(split(a), split(b))
			d.Name = name
			out = append(out, d)
		}
	}
	return out
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

const (
	diffContext = 3   // unchanged lines shown around a change
	diffShown   = 400 // lines shown at most
	diffTable   = 4 << 20
)

// diffLines finds a longest common subsequence. Files too large for that are shown as removed and added whole.
func diffLines(a, b []string) diff {
	var d diff
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	var all []diffLine
	for _, l := range a[:head] {
		all = append(all, diffLine{" ", l})
	}
	if (len(x)+1)*(len(y)+1) > diffTable {
		for _, l := range x {
			all = append(all, diffLine{"-", l})
		}
		for _, l := range y {
			all = append(all, diffLine{"+", l})
		}
	} else {
		w := len(y) + 1
		common := make([]int32, (len(x)+1)*w)
		for i := len(x) - 1; i >= 0; i-- {
			for j := len(y) - 1; j >= 0; j-- {
				if x[i] == y[j] {
					common[i*w+j] = common[(i+1)*w+j+1] + 1
				} else {
					common[i*w+j] = max(common[(i+1)*w+j], common[i*w+j+1])
				}
			}
		}
		for i, j := 0, 0; i < len(x) || j < len(y); {
			switch {
			case i < len(x) && j < len(y) && x[i] == y[j]:
				all = append(all, diffLine{" ", x[i]})
				i, j = i+1, j+1
			case i < len(x) && (j == len(y) || common[(i+1)*w+j] >= common[i*w+j+1]):
				all = append(all, diffLine{"-", x[i]})
				i++
			default:
				all = append(all, diffLine{"+", y[j]})
				j++
			}
		}
	}
	for _, l := range a[len(a)-tail:] {
		all = append(all, diffLine{" ", l})
	}
	near := make([]bool, len(all))
	for i, l := range all {
		switch l.Mark {
		case "+":
			d.Added++
		case "-":
			d.Removed++
		default:
			continue
		}
		for k := max(0, i-diffContext); k <= min(len(all)-1, i+diffContext); k++ {
			near[k] = true
		}
	}
	for i, l := range all {
		switch {
		case len(d.Lines) >= diffShown:
			d.Cut = true
			return d
		case near[i]:
			d.Lines = append(d.Lines, l)
		case i > 0 && near[i-1]:
			d.Lines = append(d.Lines, diffLine{"…", ""})
		}
	}
	return d
}
