package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const base = "github.com/bailiwick-dev/bailiwick/"

// rules is the import table: for each package (and those below it) what it may import of ours, and why not more.
var rules = []struct {
	pkg string
	may []string
	why string
}{
	{"identity", nil, "identity is the bottom: it knows tokens and nothing else"},
	{"policy", []string{"internal/netaddr", "internal/durable", "identity"}, "policy decides on plain values and must run anywhere, the CLI and tests included"},
	{"attest", []string{"identity", "internal/durable"}, "workers import attest: it stays light"},
	{"audit/index", []string{"internal/database", "audit", "policy", "identity"}, "the index is a projection of the log"},
	{"audit/witness", []string{"internal/durable"}, "a witness knows checkpoints, of any log"},
	{"audit/tiles", []string{"internal/durable", "audit", "policy", "identity", "attest"}, "sealing knows entries and nothing of the gate; a proof bundle joins an entry and its attestation"},
	{"audit/ship", []string{"internal/netaddr", "internal/durable", "audit", "policy", "identity"}, "shipping carries entries and does not read them"},
	{"audit", []string{"internal/durable", "identity", "policy"}, "the log outlives everything that writes to it"},
	{"standing/feed", []string{"internal/database", "standing", "identity", "policy", "attest", "internal/durable"}, "the publisher of what gates follow; it runs in the control plane"},
	{"standing", []string{"internal/netaddr", "identity", "policy", "attest", "internal/durable"}, "grants and revocations as a gate knows them, however they came about"},
	{"gate", []string{"identity", "policy", "attest", "audit", "standing", "internal/durable"}, "the gate joins the four and nothing joins the gate but its mountings"},
	{"txntoken", nil, "services that take Transaction Tokens link txntoken: it knows tokens and HTTP, neither Temporal nor us"},
	{"sdkplugin", []string{"identity", "attest", "txntoken", "internal/login"}, "users link sdkplugin into their workers; internal/login is the file that a person's tokens are in"},
	{"serverplugin", []string{"internal/gatehouse", "gate", "identity", "policy", "attest", "audit", "standing", "internal/privacy", "bailiwicktest"}, "a mounting adds no judgement"},
	{"bailiwicktest", []string{"identity", "policy", "attest", "audit", "gate", "standing", "serverplugin"}, "the test kit runs the real thing"},
	{"internal/devorg", nil, "the development org stands in for Okta and must not share code with what it tests"},
	{"internal/oktasetup", []string{"internal/okta"}, "a plan is made of Okta's own documents: an interface of its own would say the same methods again"},
	{"internal/okta", nil, "the adapter speaks Okta's API in its own types"},
	{"internal/login", []string{"internal/netaddr", "internal/durable"}, "the login flows speak OIDC, to any issuer"},
	{"internal/runs", []string{"attest"}, "a run view reads histories and attestations"},
	{"internal/demo", []string{"sdkplugin", "attest"}, "the demo is what a user would write"},
	{"internal/replay", []string{"audit", "policy", "identity"}, "a replay asks policy again what the log says was asked"},
	{"internal/gatehouse", []string{"gate", "identity", "policy", "attest", "audit"}, "what every mounting of the gate is made of"},
	{"internal/control", []string{"internal/gatehouse", "internal/netaddr", "gate", "identity", "policy", "attest", "audit", "standing"}, "the control plane mounts the gate like a server does"},
	{"internal/exchange", []string{"internal/netaddr", "gate", "identity", "attest"}, "a third mounting of the gate, by RFC 8693"},
	{"internal/access", []string{"internal/netaddr", "identity", "policy", "audit", "standing", "sdkplugin", "internal/durable"}, "access workflows know grants and policies; Okta and the control plane come through interfaces they declare"},
	{"internal/revocation", []string{"internal/database", "identity", "policy", "audit", "standing", "internal/durable"}, "who lost access, as the identity provider says; Okta comes through interfaces"},
	{"internal/directory/orgsource", []string{"internal/directory", "internal/okta"}, "how the directory asks Okta: the one place where the two meet outside cmd"},
	{"internal/directory", []string{"identity", "policy", "standing", "internal/durable", "internal/database"}, "a copy of the org's people and groups; the org comes through an interface"},
	{"internal/rotation/oktakeys", []string{"internal/rotation", "internal/okta"}, "the join of rotations and Okta's adapter, which don't know each other"},
	{"internal/rotation", []string{"internal/database", "internal/durable", "internal/netaddr", "identity", "policy", "audit", "attest", "standing"}, "keys are replaced while they are in use, a log's by its own record; Okta and verifiers come through interfaces"},
	{"internal/export", []string{"internal/netaddr", "audit", "policy", "internal/durable"}, "exports read the record and write elsewhere"},
	{"internal/privacy", []string{"audit", "internal/durable"}, "protection stands between gates and journals and knows neither"},
	{"internal/reconcile", []string{"audit", "policy", "attest", "internal/runs"}, "a reconciliation holds histories, as a run's view reads them, against the record"},
	{"internal/correlate", []string{"audit", "policy", "internal/durable"}, "links between the record and the identity provider's own log, which comes through an interface"},
	{"internal/evidence", []string{"audit", "policy", "internal/privacy"}, "evidence is made from the record alone, opened by keys that stand in the pack"},
	{"internal/database", nil, "databases are opened alike, whatever is kept in them"},
	{"internal/netaddr", nil, "which addresses are this machine, and where a request came from: one rule each"},
	{"internal/durable", nil, "files, and nothing of what is in them"},
	{"internal/arch", nil, "tests only"},
}

type pkg struct {
	ImportPath   string
	Doc          string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Dir,GoFiles,Imports,TestImports,XTestImports,Deps"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no packages: this test would check nothing")
	}
	return pkgs
}

func ours(t *testing.T) []pkg {
	return list(t, base+"...")
}

// below reports whether path is pkg or lies below it.
func below(path, pkg string) bool { return path == pkg || strings.HasPrefix(path, pkg+"/") }

func TestImportTable(t *testing.T) {
	for _, p := range ours(t) {
		rel := strings.TrimPrefix(p.ImportPath, base)
		if below(rel, "cmd") {
			continue // the only wiring: it may import all
		}
		i := slices.IndexFunc(rules, func(r struct {
			pkg string
			may []string
			why string
		}) bool {
			return below(rel, r.pkg)
		})
		if i < 0 {
			t.Errorf("package %s has no row in the import table: add one with its reason", rel)
			continue
		}
		rule := rules[i]
		for _, imp := range p.Imports {
			dep, own := strings.CutPrefix(imp, base)
			if !own || below(dep, rule.pkg) || slices.ContainsFunc(rule.may, func(m string) bool { return below(dep, m) }) {
				continue
			}
			t.Errorf("%s imports %s: %s", rel, dep, rule.why)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range ours(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 20 {
			t.Errorf("package %s does not say what it owns and what it refuses to know", p.ImportPath)
		}
	}
}

// What users link into their workers must stay small.
func TestWorkersLinkNothingHeavy(t *testing.T) {
	heavy := []string{"go.temporal.io/server", "github.com/cedar-policy", "modernc.org/sqlite", "github.com/jackc/pgx", "github.com/transparency-dev/tessera", "github.com/spf13/cobra"}
	for _, p := range list(t, base+"sdkplugin", base+"attest", base+"identity", base+"txntoken") {
		for _, dep := range p.Deps {
			for _, h := range heavy {
				if below(dep, h) {
					t.Errorf("%s drags in %s", p.ImportPath, dep)
				}
			}
		}
	}
}

// Tessera panics in its own goroutines on lock errors: it must never run in the authorizer's process.
func TestGateLinksNoSealer(t *testing.T) {
	for _, p := range list(t, base+"gate", base+"serverplugin", base+"cmd/bailiwick-temporal") {
		for _, dep := range p.Deps {
			if below(dep, "github.com/transparency-dev/tessera") {
				t.Errorf("%s links %s: the sealer belongs to the control plane's process", p.ImportPath, dep)
			}
		}
	}
}

// The command stays quick to build and small to carry.
func TestCommandLinksNoServer(t *testing.T) {
	for _, p := range list(t, base+"cmd/bailiwick") {
		for _, dep := range p.Deps {
			if below(dep, "go.temporal.io/server") {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
}
