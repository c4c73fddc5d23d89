package e2e

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script against the real command line: what needs no environment.
func TestScripts(t *testing.T) {
	bin := binaries(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+":/usr/local/bin:/usr/bin:/bin")
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("BAILIWICK_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(e.WorkDir, "temporal.toml"))
			return nil
		},
	})
}
