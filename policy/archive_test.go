package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestArchiveHasTheDigest(t *testing.T) {
	dir := t.TempDir()
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	e, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(e.Archive()); hex.EncodeToString(sum[:]) != e.Status().Digest {
		t.Errorf("the archive of %d bytes does not have the digest %s", len(e.Archive()), e.Status().Digest)
	}
}
