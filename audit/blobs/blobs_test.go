package blobs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPutGet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal", "blobs")
	// The digest is a test vector of FIPS 180-2 appendix B.1.
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if _, err := Get(dir, abc); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it is put: %v", err)
	}
	for range 2 {
		if d, err := Put(dir, []byte("abc")); err != nil || d != abc {
			t.Fatalf("%s %v", d, err)
		}
	}
	if data, err := Get(dir, abc); err != nil || string(data) != "abc" {
		t.Errorf("%q %v", data, err)
	}
	if err := os.WriteFile(filepath.Join(dir, abc), []byte("abd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Get(dir, abc); !errors.Is(err, ErrAltered) {
		t.Errorf("altered: %v", err)
	}
	if _, err := Put(dir, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if data, err := Get(dir, abc); err != nil || string(data) != "abc" {
		t.Errorf("putting again does not mend: %q %v", data, err)
	}
	for _, name := range []string{"", "../key", strings.ToUpper(abc), abc[:62], abc + "00", "/etc/passwd"} {
		if _, err := Get(dir, name); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q was looked for: %v", name, err)
		}
	}
}
