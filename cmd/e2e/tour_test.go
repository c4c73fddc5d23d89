package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tourBlock is the README's tour as it is written.
func tourBlock(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(raw), "<!-- tour:")
	_, after, fenced := strings.Cut(after, "```sh\n")
	block, _, ended := strings.Cut(after, "```\n")
	if !found || !fenced || !ended {
		t.Fatal("README.md has no sh block after a comment that begins with \"tour:\"")
	}
	return strings.Split(strings.TrimRight(block, "\n"), "\n")
}

// TestTour runs the README's tour word for word in a clean directory and home, and signs in with a real browser meanwhile.
func TestTour(t *testing.T) {
	d := shared(t)
	tour := tourBlock(t)
	dir, home := t.TempDir(), t.TempDir()
	if err := os.Symlink(binaries(t), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	// A home of its own, with the contexts where they are by default: the tour's reader sets nothing.
	if err := os.CopyFS(filepath.Join(home, ".config", "bailiwick", "contexts"), os.DirFS(filepath.Join(d.home(), "contexts"))); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for i, line := range tour {
		fmt.Fprintf(&script, "echo '@@@ begin %d'\n%s\necho \"@@@ end %d $?\"\n", i, line, i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home}
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	page := browser(t)
	url, err := out.await(ctx, verification)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	code := url[strings.LastIndex(url, "user_code=")+len("user_code="):]
	do(t, page, "opening the page that login names", chromedp.Navigate(url))
	screenshot(t, page, "6-device-login")
	signInPage(t, page, "alice@acme.example")
	shows(t, page, code) // the page must show the code, for the person to compare
	screenshot(t, page, "7-device-approve")
	do(t, page, "approving", chromedp.Click(chromedp.CSS(`button[value="approve"]`)))
	shows(t, page, "Device connected")
	screenshot(t, page, "8-device-done")
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the tour ended with %v:\n%s", err, out.String())
	}
	secrets.expectNone(t, "the tour's output", []byte(out.String()))
	if err := (&user{login: "alice@acme.example", home: filepath.Join(home, ".config")}).rememberFrom(filepath.Join(home, ".config", "temporalio", "temporal.toml")); err != nil {
		t.Error(err)
	}

	outputs, codes := tourOutputs(t, tour, out.String())
	expect := func(prefix string, code string, facts ...string) {
		t.Helper()
		for i, line := range tour {
			if !strings.HasPrefix(line, prefix) {
				continue
			}
			if codes[i] != code {
				t.Errorf("%q ended with code %s, want %s:\n%s", line, codes[i], code, outputs[i])
			}
			for _, f := range facts {
				if !strings.Contains(outputs[i], f) {
					t.Errorf("%q does not say %q:\n%s", line, f, outputs[i])
				}
			}
			return
		}
		t.Errorf("the tour has no line that begins with %q", prefix)
	}
	const alice, reason = "alice@acme.example", "CHG-7: release 1.4.2"
	expect("bailiwick login", "0", "Logged in", alice)
	expect("bailiwick whoami", "0", alice, "deploy", "write", "payments", "read")
	expect("bailiwick run start deploy --id ship-142", "0", "ship-142", "Completed", `"started_by":"`+alice+`"`, `"phase":"live"`)
	expect("bailiwick run show ship-142", "0", alice, reason, "build", "push", "smoke-test", "verify", "policy", "verified")
	expect("bailiwick run start deploy --namespace payments", "3", "no_permission", "write in payments", alice)
	expect("bailiwick audit tail", "0", "StartWorkflowExecution", alice, reason, "payments")
	expect("bailiwick audit verify", "0")
}

// tourOutputs cuts the output into what each line printed, with its exit code.
func tourOutputs(t *testing.T, tour []string, all string) (outputs, codes []string) {
	t.Helper()
	for i := range tour {
		begin, end := fmt.Sprintf("@@@ begin %d\n", i), fmt.Sprintf("@@@ end %d ", i)
		_, after, ok := strings.Cut(all, begin)
		text, rest, ended := strings.Cut(after, end)
		if !ok || !ended {
			t.Fatalf("line %d of the tour did not end:\n%s", i, all)
		}
		code, _, _ := strings.Cut(rest, "\n")
		outputs, codes = append(outputs, text), append(codes, code)
	}
	return outputs, codes
}
