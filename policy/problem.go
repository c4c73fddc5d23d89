package policy

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a policy directory: where, what, and what to do.
type Problem struct {
	File string `json:"file"`           // relative to the policy directory
	Line int    `json:"line,omitempty"` // from 1; 0 when the problem is the file itself
	Text string `json:"text"`
	Fix  string `json:"fix,omitempty"`
}

// String gives "FILE:LINE: TEXT (FIX)".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": " + p.Text)
	if p.Fix != "" {
		b.WriteString(" (" + p.Fix + ")")
	}
	return b.String()
}

// LoadError says why a policy directory can't be put in force. It holds at least one problem.
type LoadError struct{ Problems []Problem }

// Error gives one line per problem.
func (e *LoadError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Report is what Check found.
type Report struct {
	Dir      string    `json:"dir"`
	Digest   string    `json:"digest,omitempty"` // SHA-256 (hex) that decisions would carry; empty when the directory can't be read
	Files    []string  `json:"files,omitempty"`
	Policies int       `json:"policies"`
	Problems []Problem `json:"problems,omitempty"`
}

// OK reports whether the directory would be put in force.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Check reads and validates a policy directory without putting it in force. The error is for a directory that can't be read at
// all; everything wrong inside it is a Problem in the report.
func Check(dir string) (Report, error) {
	src, err := readSource(dir)
	if err != nil {
		return Report{Dir: dir}, err
	}
	r := Report{Dir: dir, Digest: src.digest, Files: src.names()}
	s, problems := compile(src)
	r.Problems = problems
	if s != nil {
		r.Policies = len(s.policies)
	}
	return r, nil
}
