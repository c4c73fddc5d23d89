package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// common is the environment that most tests share. Each test uses workflow ids of its own in it.
var common struct {
	once sync.Once
	dev  *dev
}

// shared returns the common environment, which the first caller starts.
func shared(t *testing.T) *dev {
	t.Helper()
	common.once.Do(func() { common.dev = start(t, lastingSettings(t)) })
	if common.dev == nil {
		t.Fatal("the shared environment did not start; see the test that tried")
	}
	return common.dev
}

func TestMain(m *testing.M) {
	code := m.Run()
	if d := common.dev; d != nil && !closeShared(d) {
		code = 1
	}
	os.Exit(code)
}

// closeShared stops the common environment as Ctrl-C would and makes the checks that come last: it ended cleanly, nothing outlived it, and
// no token that any test used is in anything it wrote.
func closeShared(d *dev) bool {
	var problems []string
	if err := d.interrupt(); err != nil {
		problems = append(problems, err.Error())
	}
	for _, p := range gone(d.tree(), 0) {
		problems = append(problems, fmt.Sprintf("%s (pid %d) outlived bailiwick dev", p.name, p.pid))
	}
	problems = append(problems, secrets.sweep(d.settings)...)
	if len(problems) > 0 {
		fmt.Printf("FAIL: closing the shared environment (kept in %s):\n%s\n", d.dir, strings.Join(problems, "\n"))
		return false
	}
	_ = os.RemoveAll(d.dir) // a temporary directory that stays is no failure
	return true
}
