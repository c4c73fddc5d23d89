package policy

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Case is one expectation about a policy set.
type Case struct {
	Name    string
	File    string // where it is written
	Line    int
	Request Request
	Expect  bool   // allowed
	Code    Code   // ""; any
	Policy  string // @id that must be among those that decided; "": any
	Missing string // the permission that a denial must name; "": any
}

// TestReport is what Set.Test found.
type TestReport struct {
	Digest  string        `json:"digest"`
	Passed  int           `json:"passed"`
	Failed  int           `json:"failed"`
	Results []TestResult  `json:"results"`
	Took    time.Duration `json:"-"`
}

// TestResult is one case and how it went.
type TestResult struct {
	Name     string   `json:"name"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	OK       bool     `json:"ok"`
	Want     string   `json:"want"`          // such as "deny (forbidden by no-cron)"
	Got      string   `json:"got"`           // in the same words
	Why      string   `json:"why,omitempty"` // of a failure: what decided
	Decision Decision `json:"decision"`
}

// OK reports whether there were cases and every one went as expected.
func (r TestReport) OK() bool { return r.Failed == 0 && r.Passed > 0 }

// Test decides every case.
func (s *Set) Test(cases []Case) TestReport {
	begin := time.Now()
	report := TestReport{Digest: s.digest, Results: make([]TestResult, len(cases))}
	for i, c := range cases {
		d := s.decide(&c.Request)
		r := TestResult{Name: c.Name, File: c.File, Line: c.Line, Decision: d, Want: c.want(), Got: outcomeText(d)}
		r.OK = d.Allow == c.Expect && (c.Code == "" || c.Code == d.Code) && (c.Missing == "" || c.Missing == d.Missing) &&
			(c.Policy == "" || slices.Contains(d.Policies, c.Policy))
		if r.OK {
			report.Passed++
		} else {
			report.Failed++
			r.Why = strings.Join(d.Reasons, "; ")
		}
		report.Results[i] = r
	}
	report.Took = time.Since(begin)
	return report
}

func (c Case) want() string {
	text := "deny"
	if c.Expect {
		text = "allow"
	}
	var detail []string
	if c.Code != "" {
		detail = append(detail, string(c.Code))
	}
	if c.Policy != "" {
		detail = append(detail, "by "+c.Policy)
	}
	if c.Missing != "" {
		detail = append(detail, "missing "+c.Missing)
	}
	if len(detail) > 0 {
		text += " (" + strings.Join(detail, ", ") + ")"
	}
	return text
}

func outcomeText(d Decision) string {
	c := Case{Expect: d.Allow, Policy: strings.Join(d.Policies, " and "), Missing: d.Missing}
	if !d.Allow {
		c.Code = d.Code
	}
	return c.want()
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as JUnit XML, one testcase for each case.
func (r TestReport) JUnit(w io.Writer) error {
	suite := junitSuite{Name: "policy", Tests: len(r.Results), Failures: r.Failed, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
	for _, result := range r.Results {
		c := junitCase{Class: "policy." + strings.TrimSuffix(result.File, ".yaml"), Name: result.Name, File: result.File, Line: result.Line}
		if !result.OK {
			c.Failure = &junitFailure{Message: fmt.Sprintf("want %s, got %s", result.Want, result.Got),
				Text: fmt.Sprintf("%s:%d: %s: want %s, got %s\n%s\n", result.File, result.Line, result.Name, result.Want, result.Got, result.Why)}
		}
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, text); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	return nil
}
