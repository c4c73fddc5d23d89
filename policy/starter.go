package policy

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed starter
var starterFiles embed.FS

// WriteStarter makes the directory if needed and writes roles.yaml, roles.cedar, access.cedar and guardrails.cedar into it where they are absent.
// A file that exists is left as it is. Each file appears whole or not at all.
func WriteStarter(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the policy directory: %w", err)
	}
	entries, err := starterFiles.ReadDir("starter")
	if err != nil {
		return fmt.Errorf("reading the embedded starter set: %w", err)
	}
	for _, entry := range entries {
		data, err := starterFiles.ReadFile("starter/" + entry.Name())
		if err != nil {
			return fmt.Errorf("reading the embedded starter set: %w", err)
		}
		if err := writeIfAbsent(filepath.Join(dir, entry.Name()), data); err != nil {
			return fmt.Errorf("writing starter policies: %w", err)
		}
	}
	return nil
}

// writeIfAbsent links a finished temporary file into place: a crash leaves a hidden leftover, never half a policy, and a file that
// someone else wrote meanwhile wins.
func writeIfAbsent(path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".starter-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Chmod(0o644)
	}
	if err == nil {
		err = temp.Sync()
	}
	if closing := temp.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
