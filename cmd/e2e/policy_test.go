package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// eventually tries until the function returns "", for at most 20 s; else it fails the test with what the function returned last.
func eventually(t testing.TB, what string, try func() string) {
	t.Helper()
	said := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if said = try(); said == "" {
			return
		}
	}
	t.Fatalf("waited 20 s for this, in vain: %s: %s", what, said)
}

// TestBrokenPolicy breaks the policy of a running server in two ways. The last good set stays in force, `policy status` says what is wrong and
// where, and a mended file takes over without a restart.
func TestBrokenPolicy(t *testing.T) {
	d := shared(t)
	carol := d.user(t, "carol@acme.example")
	file := filepath.Join(d.context.PolicyDir, "e2e.cedar")
	t.Cleanup(func() { _ = os.Remove(file) }) // gone already is fine
	// Replaced as an editor does it, whole.
	write := func(text string) {
		t.Helper()
		tmp := filepath.Join(t.TempDir(), "e2e.cedar")
		if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, file); err != nil {
			t.Fatal(err)
		}
	}
	try := func(id string) result {
		return carol.run(t, "run", "start", "e2e-banned", "--namespace", "deploy", "--task-queue", "nobody", "--id", id)
	}
	const ban = `@id("e2e-ban")
@reason("banned by the test")
forbid (principal, action == Action::"StartWorkflowExecution", resource)
when { resource is Workflow && resource has type && resource.type == "e2e-banned" };
`
	if r := try("policy-before"); r.code != 0 {
		t.Fatalf("starting before the ban: %v", r)
	}
	write(ban)
	inForce := func() string {
		r := try("policy-banned-" + time.Now().Format("150405.000"))
		if r.code == 3 && strings.Contains(r.stderr, "forbidden") && strings.Contains(r.stderr, "banned by the test") {
			return ""
		}
		return r.String()
	}
	eventually(t, "the ban comes into force", inForce)

	for _, broken := range []struct{ name, text, line, says string }{
		{"syntax error", ban + "\npermit (principal, action, resource\n  when;\n", "e2e.cedar:7", ""},
		{"type error", ban + "\n@id(\"e2e-typo\")\npermit (principal, action, resource)\nwhen { principal.nosuchattribute == 3 };\n", "e2e.cedar", "nosuchattribute"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			write(broken.text)
			eventually(t, "policy status tells the error", func() string {
				r := carol.run(t, "policy", "status")
				all := r.stdout + r.stderr
				if strings.Contains(all, broken.line) && strings.Contains(all, broken.says) && (strings.Contains(all, "last good") || strings.Contains(all, "stays in force")) {
					return ""
				}
				return r.String()
			})
			if said := inForce(); said != "" {
				t.Errorf("with a broken file, the last good policy is not in force: %s", said)
			}
			r := carol.run(t, "policy", "check", d.context.PolicyDir)
			if r.code == 0 || !strings.Contains(r.stdout+r.stderr, broken.line) {
				t.Errorf("policy check does not name %s: %v", broken.line, r)
			}
		})
	}
	write("@id(\"e2e-mended\")\npermit (principal, action == Action::\"StartWorkflowExecution\", resource) when { false };\n")
	eventually(t, "the mended policy takes over", func() string {
		if r := try("policy-after-" + time.Now().Format("150405.000")); r.code != 0 {
			return r.String()
		}
		return ""
	})
	eventually(t, "policy status is good again", func() string {
		if r := carol.run(t, "policy", "status"); r.code != 0 || strings.Contains(r.stdout, "e2e.cedar:") {
			return r.String()
		}
		return ""
	})
}
