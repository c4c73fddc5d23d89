package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/policy"
)

func starterSet(t testing.TB) *policy.Set {
	dir := t.TempDir()
	if err := policy.WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	s, err := policy.LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a set is kept as can be taken apart again, and only whole.
func TestUnpackPolicy(t *testing.T) {
	s := starterSet(t)
	texts, err := unpackPolicy(s.Archive())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range texts {
		names = append(names, x.Name)
	}
	if !slices.Equal(names, append([]string{"schema"}, s.Files()...)) || texts[0].Text != policy.SchemaText() || !strings.Contains(texts[4].Text, "temporal:{namespace}:{role}") {
		t.Errorf("%v", names)
	}
	for cut := 1; cut < len(s.Archive()); cut += 97 {
		if _, err := unpackPolicy(s.Archive()[:cut]); err == nil && !atBoundary(texts, cut) {
			t.Errorf("cut at %d it is taken for whole", cut)
		}
	}
	for _, bad := range []string{"", strings.Repeat("\xff", 32), "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00x"} {
		if texts, err := unpackPolicy([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, texts)
		}
	}
}

// Policies that decided under another version's schema are still read; under this version's schema a digest allows no other texts.
func TestKeptPolicyOfAnotherVersion(t *testing.T) {
	older := func(schema string, cedar string) (digest string, logs logFlags) {
		var b bytes.Buffer
		for _, x := range [][2]string{{"schema", schema}, {"a.cedar", cedar}, {"roles.yaml", "version: 1\n"}} {
			for _, part := range x {
				b.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			}
			b.WriteString(x[0] + x[1])
		}
		journal := t.TempDir()
		digest, err := blobs.Put(blobs.Beside(journal), b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return digest, logFlags{journals: []string{journal}}
	}
	a := newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})
	const good = `@id("x") permit (principal in Group::"g", action in Action::"read", resource);`
	digest, logs := older(policy.SchemaText(), good)
	if s, exact, err := a.keptSet(logs, digest); err != nil || !exact || s.Digest() != digest {
		t.Errorf("%v %v", exact, err)
	}
	digest, logs = older(policy.SchemaText()+"// older\n", good)
	if s, exact, err := a.keptSet(logs, digest); err != nil || exact || s == nil {
		t.Errorf("%v %v", exact, err)
	}
	digest, logs = older("entity Thing;", `@id("x") permit (principal, action == Action::"Gone", resource);`)
	if _, _, err := a.keptSet(logs, digest); err == nil || !strings.Contains(err.Error(), "a.cedar:1") {
		t.Errorf("%v", err)
	}
	if texts, err := a.keptPolicy(logs, digest); err != nil || len(texts) != 3 {
		t.Errorf("%v %v", texts, err)
	}
}

// atBoundary reports whether the archive ends a file there: that one is missing is for the digest to tell.
func atBoundary(texts []policyText, cut int) bool {
	at := 0
	for _, x := range texts {
		if at += 16 + len(x.Name) + len(x.Text); at == cut {
			return true
		}
	}
	return false
}

func FuzzUnpackPolicy(f *testing.F) {
	f.Add(starterSet(f).Archive())
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 's', 'c', 'h', 'e', 'm', 'a'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		texts, err := unpackPolicy(raw)
		if err != nil {
			return
		}
		n := 0
		for _, x := range texts {
			n += 16 + len(x.Name) + len(x.Text)
		}
		if n != len(raw) {
			t.Errorf("%d bytes came out of %d", n, len(raw))
		}
	})
}

func TestLineDiff(t *testing.T) {
	for _, c := range [][3]string{
		{"a\nb\nc", "a\nx\nc", " a|-b|+x| c"},
		{"a", "a\nb", " a|+b"},
		{"a\nb", "b", "-a| b"},
		{"same", "same", " same"},
	} {
		if got := strings.Join(lineDiff(c[0], c[1]), "|"); got != c[2] {
			t.Errorf("%q to %q: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

func TestFindAction(t *testing.T) {
	for name, want := range map[string]string{"start": "StartWorkflowExecution", "Terminate": "TerminateWorkflowExecution", "signal": "SignalWorkflowExecution", "signalwithstart": "SignalWithStartWorkflowExecution",
		"listnamespaces": "ListNamespaces", "Operator.DeleteNamespace": "Operator.DeleteNamespace", "command.startchild": "Command.StartChildWorkflowExecution"} {
		if act, err := findAction(&cobra.Command{}, name); err != nil || act.Name != want {
			t.Errorf("%q: %v %v", name, act, err)
		}
	}
	for name, want := range map[string]string{"": "name the action", "fly": "see bailiwick policy schema", "Schedule": "did you mean one of ", "RegisterNames": "did you mean RegisterNamespace?"} {
		if _, err := findAction(&cobra.Command{}, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
