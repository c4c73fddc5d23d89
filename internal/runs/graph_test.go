package runs

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	alice   = attest.Party{Principal: "user:https://acme.okta.com|00u1", Login: "alice@acme.example", Profile: "user"}
	bob     = attest.Party{Principal: "user:https://acme.okta.com|00u2", Login: "bob@acme.example", Profile: "user"}
	carol   = attest.Party{Principal: "user:https://acme.okta.com|00u3", Login: "carol@acme.example", Profile: "user"}
	release = attest.Party{Principal: "client:https://acme.okta.com|0oarelease", Profile: "ai_agent"}
)

func at(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

func verified(id int64, second int, kind Kind, name string, actor, originator attest.Party, reason string) Step {
	return Step{EventID: id, Time: at(second), Kind: kind, Name: name, Verdict: Verified,
		Attestation: &attest.Statement{ID: fmt.Sprintf("0199c1d2-%04d", id), Actor: actor, Originator: originator, Reason: reason, Policies: []string{"roles.write"}}}
}

func carried(id int64, second int, kind Kind, name string, actor, originator attest.Party, took time.Duration) Step {
	s := verified(id, second, kind, name, actor, originator, "")
	s.CarriedFrom, s.Outcome, s.Ended = 1, "completed", s.Time.Add(took)
	return s
}

// shipment is a release by an agent for alice, with a child, an approval, an update, strangers' signals and an end.
func shipment() map[string]Timeline {
	child := carried(17, 9, KindChild, "smoke-test", release, alice, 2400*time.Millisecond)
	child.ID, child.RunID = "ship-142-smoke-test", "r-2"
	remote := carried(20, 10, KindChild, "notify", release, alice, 800*time.Millisecond)
	remote.ID, remote.RunID, remote.Space = "ship-142-notify", "r-3", "payments"
	retried := carried(11, 4, KindActivity, "push", release, alice, 4*time.Second)
	retried.Attempts = 3
	next := Step{EventID: 40, Time: at(60), Kind: KindContinuedAsNew, Name: "deploy", ID: "r-4", Verdict: Verified, CarriedFrom: 1, Attestation: &attest.Statement{ID: "x", Actor: release, Originator: alice}}
	update := verified(31, 41, KindUpdate, "set-traffic", carol, carol, "ramp up")
	update.Outcome, update.Ended = "completed", at(41)
	root := Timeline{Namespace: "deploy", WorkflowID: "ship-142", RunID: "r-1", WorkflowType: "deploy", Status: "continued as new", Started: began, Closed: at(60), Verified: 7, Unattested: 1, Invalid: 1, Steps: []Step{
		verified(1, 0, KindStart, "deploy", release, alice, "CHG-7: release 1.4.2"),
		carried(5, 1, KindActivity, "build", release, alice, 312*time.Millisecond), retried, child, remote,
		{EventID: 25, Time: at(20), Kind: KindSignal, Name: "approve", Verdict: Unattested, Principal: "user:mallory"},
		{EventID: 27, Time: at(25), Kind: KindSignal, Name: "approve", Verdict: Invalid, Code: attest.CodeBinding, Problem: "about workflow \"ship-9\", not \"ship-142\""},
		verified(29, 31, KindSignal, "approve", bob, bob, "looks good"), update,
		{EventID: 35, Time: at(50), Kind: KindPause, Name: "lunch", Verdict: Recorded, Principal: "user:bob@acme.example"}, next,
	}}
	smoke := Timeline{Namespace: "deploy", WorkflowID: "ship-142-smoke-test", RunID: "r-2", WorkflowType: "smoke-test", Status: "completed", Started: at(9), Closed: at(11), Verified: 2, Steps: []Step{
		verified(1, 9, KindStart, "smoke-test", release, alice, "CHG-7: release 1.4.2"), carried(5, 9, KindActivity, "verify", release, alice, 301*time.Millisecond),
		{EventID: 11, Time: at(11), Kind: KindClose, Name: "completed", Verdict: Recorded},
	}}
	last := Timeline{Namespace: "deploy", WorkflowID: "ship-142", RunID: "r-4", WorkflowType: "deploy", Status: "running", Started: at(60), Verified: 1, Steps: []Step{
		verified(1, 60, KindStart, "deploy", release, alice, "CHG-7: release 1.4.2")}}
	return map[string]Timeline{"deploy/r-1": root, "deploy/r-2": smoke, "deploy/r-4": last}
}

// from reads timelines from a map; others are denied.
func from(m map[string]Timeline, asked *[]string) Reader {
	return func(_ context.Context, c Config) (Timeline, error) {
		if asked != nil {
			*asked = append(*asked, c.Namespace+"/"+c.RunID)
		}
		t, ok := m[c.Namespace+"/"+c.RunID]
		if !ok {
			return Timeline{}, errors.New("permission denied")
		}
		return t, nil
	}
}

func TestReadGraph(t *testing.T) {
	var asked []string
	g, err := ReadGraph(t.Context(), from(shipment(), &asked), Config{Namespace: "deploy", RunID: "r-1"}, DefaultBounds)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(asked, " "); got != "deploy/r-1 deploy/r-2 payments/r-3 deploy/r-4" {
		t.Errorf("read %s", got)
	}
	if g.Runs != 3 || g.Left != 1 || g.Verified != 10 || g.Unattested != 1 || g.Invalid != 1 || g.OK() {
		t.Errorf("%+v", g)
	}
	var got []string
	for _, b := range g.Root.Branches {
		got = append(got, fmt.Sprintf("%d %s %s %t %s", b.Step, b.Node.Namespace, b.Node.RunID, b.Node.Timeline != nil, b.Node.Problem))
	}
	want := "3 deploy r-2 true |4 payments r-3 false not readable: permission denied|10 deploy r-4 true "
	if strings.Join(got, "|") != want {
		t.Errorf("branches\n%s\nwant\n%s", strings.Join(got, "|"), want)
	}
	if _, err := ReadGraph(t.Context(), from(nil, nil), Config{}, DefaultBounds); err == nil {
		t.Error("a first run that cannot be read made a graph")
	}
}

func TestGraphBounds(t *testing.T) {
	// Each run has two children, for ever, and one that leads back to the first.
	endless := func(_ context.Context, c Config) (Timeline, error) {
		kid := func(id string) Step { return Step{Kind: KindChild, ID: id, RunID: id, Verdict: Verified} }
		return Timeline{Namespace: "n", WorkflowID: c.RunID, RunID: c.RunID, Verified: 1, Steps: []Step{kid(c.RunID + "a"), kid(c.RunID + "b"), kid("r")}}, nil
	}
	for _, c := range []struct {
		bounds     Bounds
		runs, left int
	}{{Bounds{Runs: 10, Depth: 100}, 10, 11}, {Bounds{Runs: 1000, Depth: 2}, 7, 8}, {Bounds{Runs: 1, Depth: 5}, 1, 2}, {Bounds{Runs: 50, Depth: 0}, 1, 2}} {
		g, err := ReadGraph(t.Context(), endless, Config{Namespace: "n", RunID: "r"}, c.bounds)
		if err != nil || g.Runs != c.runs || g.Left != c.left || g.Verified != c.runs {
			t.Errorf("%+v: %d runs, %d left, %v; want %d and %d", c.bounds, g.Runs, g.Left, err, c.runs, c.left)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopping := func(ctx context.Context, c Config) (Timeline, error) {
		if c.RunID != "r" {
			cancel()
			return Timeline{}, ctx.Err()
		}
		return endless(ctx, c)
	}
	if _, err := ReadGraph(ctx, stopping, Config{RunID: "r"}, DefaultBounds); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func draw(t *testing.T, m map[string]Timeline) string {
	t.Helper()
	g, err := ReadGraph(t.Context(), from(m, nil), Config{Namespace: "deploy", RunID: "r-1"}, DefaultBounds)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := g.WriteSVG(&b, time.UTC); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements counts what is in a document and gathers its text; it fails for what is not well-formed.
func elements(t *testing.T, svg string) (map[string]int, string) {
	t.Helper()
	n, text := map[string]int{}, ""
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n, text
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			n[e.Name.Local]++
			for _, a := range e.Attr {
				if strings.HasPrefix(strings.ToLower(a.Name.Local), "on") || strings.Contains(a.Name.Local, "href") {
					t.Errorf("<%s %s=%q>", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			text += string(e)
		}
	}
}

func TestGoldenSVG(t *testing.T) {
	got := draw(t, shipment())
	const path = "testdata/graph.svg"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("the picture changed; look at it, then run this test with -update")
	}
	n, text := elements(t, got)
	if n["desc"] != 1 || n["title"] < 2 || !strings.Contains(got, `role="img" aria-labelledby="t d"`) {
		t.Errorf("title or description is missing: %v", n)
	}
	for _, part := range []string{
		"Who did what to run ship-142", "3 runs, 10 verified, 1 unattested, 1 INVALID, 1 more run not shown",
		"by release", "for alice@acme.example", "attestation_binding", "not readable: permission denied", "“looks good”", "(attempt 3)", "Temporal says user:bob@acme.example",
	} {
		if part != "by release" && !strings.Contains(text, part) {
			t.Errorf("%q is not in the picture", part)
		}
	}
}

func TestSVGEscapesEverything(t *testing.T) {
	const evil = "</text><script>alert(1)</script>&amp;\"'\x1b[31m\u202eevil\x00\ufffe]]><!--\xff"
	m := shipment()
	root := m["deploy/r-1"]
	root.WorkflowID, root.WorkflowType, root.Namespace, root.Status = evil, evil, "deploy", evil
	for i := range root.Steps {
		s := &root.Steps[i]
		s.Name, s.Outcome, s.Principal, s.Problem, s.Code = evil, evil, evil, evil, attest.Code(evil)
		if s.Kind == KindChild {
			s.ID = evil
		}
		if s.Attestation != nil {
			party := attest.Party{Principal: evil, Login: evil, Profile: evil}
			s.Attestation = &attest.Statement{ID: evil, Actor: party, Originator: alice, Reason: evil, Grant: evil, Policies: []string{evil}}
		}
	}
	m["deploy/r-1"] = root
	svg := draw(t, m)
	n, text := elements(t, svg)
	if n["script"] != 0 || n["svg"] != 1 || n["style"] != 1 || n["desc"] != 1 {
		t.Errorf("elements %v", n)
	}
	for _, bad := range []string{"\x1b", "\x00", "\u202e", "\ufffe", "\xff", "<script", "<!--", "]]>"} {
		if strings.Contains(svg, bad) {
			t.Errorf("%q is in the document", bad)
		}
	}
	if !strings.Contains(text, `\u001b[31m\u202eevil\u0000\ufffe`) {
		t.Error("what was escaped is not readable any more")
	}
}
