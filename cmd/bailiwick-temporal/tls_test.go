package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestInternodeCertificates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	clock := time.Now()
	now := func() time.Time { return clock }
	n, err := openInternode(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	read := func() (ca, node []byte) {
		t.Helper()
		ca, err := os.ReadFile(n.caFile)
		if err != nil {
			t.Fatal(err)
		}
		node, err = os.ReadFile(n.nodeFile)
		if err != nil {
			t.Fatal(err)
		}
		return ca, node
	}
	for _, f := range []string{n.caFile, n.caKey, n.nodeFile} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
	ca, node := read()

	if _, err := openInternode(dir, now); err != nil {
		t.Fatal(err)
	}
	if ca2, node2 := read(); !bytes.Equal(ca, ca2) || !bytes.Equal(node, node2) {
		t.Error("a second start replaced good certificates")
	}

	clock = clock.Add(nodeLife - renewWith + time.Minute)
	if renewed, err := n.renew(); err != nil || !renewed {
		t.Fatalf("near the certificate's end: renewed %v, %v", renewed, err)
	}
	ca3, node3 := read()
	if !bytes.Equal(ca, ca3) || bytes.Equal(node, node3) {
		t.Error("near the certificate's end only the certificate should change")
	}

	// A CA that lost its key, or whose files do not fit, is replaced together with what it signed.
	if err := os.Remove(n.caKey); err != nil {
		t.Fatal(err)
	}
	if renewed, err := n.renew(); err != nil || !renewed {
		t.Fatalf("without the CA's key: renewed %v, %v", renewed, err)
	}
	ca4, node4 := read()
	if bytes.Equal(ca3, ca4) || bytes.Equal(node3, node4) {
		t.Error("a CA without key stayed")
	}
	if err := os.WriteFile(n.nodeFile, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if renewed, err := n.renew(); err != nil || !renewed {
		t.Fatalf("with a torn certificate: renewed %v, %v", renewed, err)
	}
	clock = clock.Add(caLife)
	if renewed, err := n.renew(); err != nil || !renewed {
		t.Fatalf("after the CA's end: renewed %v, %v", renewed, err)
	}
	if ca5, _ := read(); bytes.Equal(ca4, ca5) {
		t.Error("an expired CA stayed")
	}
}
