package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
)

// oktaOrg is a development org; the commands ask it with its token, from the environment.
func oktaOrg(t *testing.T) string {
	t.Helper()
	base, _ := orgtest.Start(t, devorg.Config{})
	t.Setenv(oktaTokenEnv, devorg.APIToken)
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	return base
}

// okta runs `bailiwick okta …`.
func oktaRun(t *testing.T, in io.Reader, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"okta"}, args...), in, &o, &e)
	return code, o.String(), e.String()
}

func TestOktaSetupCommand(t *testing.T) {
	org, dir := oktaOrg(t), filepath.Join(t.TempDir(), "out")
	args := []string{"setup", "--org", org, "--name", "test", "--namespace", "payments", "--worker", "deploy", "--console", "https://temporal.acme.com", "--out", dir}
	code, out, errs := oktaRun(t, nil, append(args, "--dry-run")...)
	if code != exitOK || !strings.Contains(out, "+ Bailiwick Temporal (test)") || !strings.Contains(out, " to create") || exists(dir) {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	if code, out, errs := oktaRun(t, strings.NewReader("n\n"), args...); code != exitOK || !strings.Contains(errs, "Nothing was changed") || strings.Contains(out, "done ") {
		t.Errorf("no: %d\n%s\n%s", code, out, errs)
	}
	if code, _, errs := oktaRun(t, strings.NewReader(""), args...); code != exitUsage || !strings.Contains(errs, "--yes") {
		t.Errorf("nobody there: %d\n%s", code, errs)
	}
	code, out, errs = oktaRun(t, strings.NewReader("y\n"), args...)
	if code != exitOK || !strings.Contains(out, "test is set up") {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	result, err := loadOktaResult(filepath.Join(dir, "okta.json"))
	if err != nil || result.Console == nil || result.Console.SecretFile == "" || result.Services[1].KeyFile == "" || result.Services[1].KeyID == "" {
		t.Fatalf("%+v, %v", result, err)
	}
	secret, err := os.ReadFile(result.Console.SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{result.Console.SecretFile, result.Services[1].KeyFile, filepath.Join(dir, "okta.json")} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "okta.json")); bytes.Contains(raw, bytes.TrimSpace(secret)) || strings.Contains(out+errs, strings.TrimSpace(string(secret))) {
		t.Error("the secret is told")
	}
	code, out, errs = oktaRun(t, nil, append(args, "--yes", "--json")...)
	var again struct {
		Done int `json:"done"`
		Plan struct {
			Items []struct{ Action string }
		} `json:"plan"`
	}
	if err := json.Unmarshal([]byte(out), &again); err != nil || code != exitOK || again.Done != 0 || len(again.Plan.Items) < 20 {
		t.Errorf("again: %d, %v\n%s\n%s", code, err, out, errs)
	}
	code, out, errs = oktaRun(t, nil, "doctor", "--config", filepath.Join(dir, "okta.json"), "--all")
	if code != exitOK || !strings.Contains(out, "0 wrong") || !strings.Contains(out, "its app may make all 6 calls") {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	more := result.Wanted
	more.Namespaces = append(more.Namespaces, "orders")
	result.Wanted = more
	raw, _ := json.Marshal(result)
	file := filepath.Join(t.TempDir(), "okta.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := oktaRun(t, nil, "doctor", "--config", file, "--json"); code != exitError || !strings.Contains(out, `"group_missing"`) || !strings.Contains(out, `"ok":false`) {
		t.Errorf("%d\n%s", code, out)
	}
}

func TestOktaCommandsRefuse(t *testing.T) {
	org := oktaOrg(t)
	none := filepath.Join(t.TempDir(), "none")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no org":          {[]string{"setup"}, exitUsage, "--org"},
		"admin console":   {[]string{"setup", "--org", "https://acme-admin.okta.com"}, exitUsage, "-admin"},
		"plain http":      {[]string{"setup", "--org", "http://acme.okta.com"}, exitUsage, "https"},
		"name":            {[]string{"setup", "--org", org, "--name", "Prod!"}, exitUsage, "lower-case"},
		"key alone":       {[]string{"setup", "--org", org, "--key", "x.pem"}, exitUsage, "client-id"},
		"no key file":     {[]string{"setup", "--org", org, "--client-id", "0oax", "--key", none}, exitError, "key_unreadable"},
		"hook, no secret": {[]string{"setup", "--org", org, "--hook", "https://control.acme.com"}, exitUsage, "--hook-secret"},
		"no config":       {[]string{"doctor", "--config", none}, exitError, "config_unreadable"},
		"no such group":   {[]string{"setup", "--org", org, "--people", "Nobody", "--dry-run"}, exitError, "setup_missing"},
	} {
		if code, _, errs := oktaRun(t, nil, test.args...); code != test.code || !strings.Contains(errs, test.says) {
			t.Errorf("%s: %d\n%s", name, code, errs)
		}
	}
	if exists(none) {
		t.Error("a key was made where one should have been read")
	}
	t.Setenv(oktaTokenEnv, "")
	if code, _, errs := oktaRun(t, nil, "setup", "--org", org); code != exitError || !strings.Contains(errs, "no_credentials") {
		t.Errorf("%d\n%s", code, errs)
	}
	t.Setenv(oktaTokenEnv, "wrong")
	if code, _, errs := oktaRun(t, nil, "setup", "--org", org, "--dry-run"); code != exitDenied || !strings.Contains(errs, "okta_forbidden") || strings.Contains(errs, "wrong\"") {
		t.Errorf("%d\n%s", code, errs)
	}
}

// What is written for Terraform is HCL in the layout of terraform fmt, names each thing once, refers to what it defines, and imports what is there.
func TestOktaTerraform(t *testing.T) {
	org, dir := oktaOrg(t), t.TempDir()
	base := []string{"setup", "--org", org, "--name", "test", "--namespace", "payments", "--namespace", "a_b.c", "--worker", "deploy", "--console", "https://temporal.acme.com", "--carry", "security", "--rotation", "--membership"}
	if code, _, errs := oktaRun(t, nil, append(base, "--terraform", dir)...); code != exitOK {
		t.Fatal(errs)
	}
	fresh, defined := checkHCL(t, dir)
	if fresh["import"] != 0 || fresh["okta_app_oauth"] != 5 || fresh["okta_auth_server_policy_rule"] != 4 || fresh["okta_group"] < 5 || !defined["okta_app_oauth_api_scope.control"] {
		t.Errorf("%v", fresh)
	}
	if code, _, errs := oktaRun(t, nil, append(base, "--yes", "--out", dir)...); code != exitOK {
		t.Fatal(errs)
	}
	after := filepath.Join(t.TempDir(), "after")
	if code, _, errs := oktaRun(t, nil, append(base, "--terraform", after)...); code != exitOK {
		t.Fatal(errs)
	}
	there, _ := checkHCL(t, after)
	resources := 0
	for kind, n := range there {
		if strings.HasPrefix(kind, "okta_") {
			resources += n
		}
	}
	if there["import"] != resources {
		t.Errorf("%d imports for %d resources: %v", there["import"], resources, there)
	}
}

// checkHCL parses a directory; it counts resources by type, and import blocks.
func checkHCL(t *testing.T, dir string) (count map[string]int, defined map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	count, defined = map[string]int{}, map[string]bool{}
	var bodies []*hclsyntax.Body
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if formatted := hclwrite.Format(raw); !bytes.Equal(formatted, raw) {
			t.Errorf("%s is not formatted:\n%s\nwant\n%s", filepath.Base(file), raw, formatted)
		}
		parsed, problems := hclparse.NewParser().ParseHCL(raw, file)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		body := parsed.Body.(*hclsyntax.Body)
		bodies = append(bodies, body)
		for _, b := range body.Blocks {
			switch b.Type {
			case "resource", "data":
				address := strings.Join(b.Labels, ".")
				if b.Type == "resource" {
					count[b.Labels[0]]++
				} else {
					address = "data." + address
				}
				if defined[address] {
					t.Errorf("%s is defined twice", address)
				}
				defined[address] = true
			case "variable":
				defined["var."+b.Labels[0]] = true
			case "import":
				count["import"]++
			}
		}
	}
	for _, body := range bodies {
		_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
			scope, is := n.(*hclsyntax.ScopeTraversalExpr)
			if !is {
				return nil
			}
			var names []string
			for _, part := range scope.Traversal {
				switch p := part.(type) {
				case hcl.TraverseRoot:
					names = append(names, p.Name)
				case hcl.TraverseAttr:
					names = append(names, p.Name)
				}
			}
			parts := 2
			if names[0] == "data" {
				parts = 3
			}
			if strings.HasPrefix(names[0], "okta_") || names[0] == "data" || names[0] == "var" {
				if address := strings.Join(names[:min(parts, len(names))], "."); !defined[address] {
					t.Errorf("%s is not defined", address)
				}
			}
			return nil
		})
	}
	return count, defined
}
