package feed

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKeyAndTokenFiles(t *testing.T) {
	dir := t.TempDir()
	keys, tokens := make([]string, 4), make([]string, 4)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := LoadOrCreateKey(filepath.Join(dir, "key.pem"))
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
			if tokens[i], err = LoadOrCreateToken(filepath.Join(dir, "token")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range keys {
		if keys[i] != keys[0] || tokens[i] != tokens[0] || len(tokens[i]) < 40 {
			t.Error("two that raced have different ones")
		}
	}
	for name, content := range map[string]string{"garbage": "hello", "public": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "key.pem")); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}
