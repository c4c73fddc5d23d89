package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds one policy file, in bytes: larger is a mistake, or someone filling the gate's memory.
const maxFile = 32 << 20

// source is one reading of a policy directory.
type source struct {
	files  []file // sorted by name
	digest string // SHA-256 (hex) over schema, names and contents
}

type file struct {
	name string
	data []byte
}

func (s *source) names() []string {
	names := make([]string, len(s.files))
	for i, f := range s.files {
		names[i] = f.name
	}
	return names
}

// readSource reads roles.yaml and every *.cedar of a directory. It resolves the directory's own links once, so that a swap of the
// link in the middle of reading can't mix two versions.
func readSource(dir string) (*source, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the policy directory: %w", err)
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return nil, fmt.Errorf("reading the policy directory: %w", err)
	}
	var files []file
	for _, e := range entries { // sorted by ReadDir
		name := e.Name()
		// A hidden file is an editor's or a volume's own.
		if strings.HasPrefix(name, ".") || name != RolesFile && filepath.Ext(name) != ".cedar" {
			continue
		}
		data, err := readRegular(filepath.Join(real, name))
		if err != nil {
			return nil, fmt.Errorf("reading policy file %s: %w", name, err)
		}
		files = append(files, file{name, data})
	}
	return newSource(files), nil
}

// newSource takes files that are sorted by name.
func newSource(files []file) *source {
	hash := sha256.New()
	addToHash(hash, "schema", []byte(schemaText))
	for _, f := range files {
		addToHash(hash, f.name, f.data)
	}
	return &source{files, hex.EncodeToString(hash.Sum(nil))}
}

// addToHash puts lengths before parts, so that no two directories hash alike by moving bytes between a name and its content.
func addToHash(w io.Writer, name string, data []byte) {
	var lengths [16]byte
	binary.BigEndian.PutUint64(lengths[:8], uint64(len(name)))
	binary.BigEndian.PutUint64(lengths[8:], uint64(len(data)))
	w.Write(lengths[:])
	io.WriteString(w, name)
	w.Write(data)
}

// readRegular refuses pipes and devices, which could make the reader wait for ever.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a regular file (%s)", info.Mode().Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d MiB: split it", maxFile>>20)
	}
	return data, nil
}
