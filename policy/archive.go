package policy

import "bytes"

// archive is what the digest is the SHA-256 of: the schema (named "schema") and the files, each as addToHash writes it.
func (s *source) archive() []byte {
	var b bytes.Buffer
	addToHash(&b, "schema", []byte(schemaText))
	for _, f := range s.files {
		addToHash(&b, f.name, f.data)
	}
	return b.Bytes()
}

// Archive returns the texts that the set was made from, in the form that Digest is the SHA-256 of: the schema (named "schema") and
// then the files by name, each as the lengths of name and content (big-endian uint64), name and content. Kept under that digest,
// they show later what decided. The result must not be changed.
func (s *Set) Archive() []byte { return s.archive }

// Archive returns the texts of the set in force, as Set.Archive does.
func (e *Engine) Archive() []byte { return e.current.Load().archive }
