package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// documented is the public key of the golden vector, as the documentation prints it.
func documented(t *testing.T) (key, script string) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "docs", "attestation.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "Its public key is `x` `")
	key, rest, ok2 := strings.Cut(rest, "`")
	_, rest, ok3 := strings.Cut(rest, "```\n")
	script, _, ok4 := strings.Cut(rest, "```\n")
	if !ok || !ok2 || !ok3 || !ok4 {
		t.Fatal("the documentation has no vector")
	}
	return key, script
}

// What an independent implementer does: the documented steps, an Ed25519 library, and nothing of this package.
func TestVectorByTheDocumentedSteps(t *testing.T) {
	x, script := documented(t)
	key, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil || len(key) != ed25519.PublicKeySize {
		t.Fatalf("the documented key: %v", err)
	}
	raw, err := os.ReadFile("testdata/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	statement := bytes.TrimSuffix(raw, []byte("\n"))
	payload, tail := append(bytes.Clone(statement[:len(statement)-113]), '}'), string(statement[len(statement)-113:])
	kid, sig := tail[8:24], tail[25:111]
	header := `{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"` + kid + `","typ":"bailiwick-attestation"}`
	signature, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	input := append([]byte(base64.RawURLEncoding.EncodeToString([]byte(header))+"."), payload...)
	if !ed25519.Verify(key, input, signature) {
		t.Error("the golden vector does not verify as documented")
	}
	input[len(input)-3]++
	if ed25519.Verify(key, input, signature) {
		t.Error("an altered one does")
	}

	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	if v, _ := exec.Command(openssl, "version").Output(); !bytes.HasPrefix(v, []byte("OpenSSL 3")) {
		t.Skipf("openssl is %s", v)
	}
	verify := func(statement []byte) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "v1.json"), append(bytes.Clone(statement), '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-c", "x="+x+"\n"+script)
		c.Dir = dir
		out, _ := c.CombinedOutput()
		return string(out)
	}
	if out := verify(statement); !strings.Contains(out, "Signature Verified Successfully") {
		t.Errorf("the documented commands say %s", out)
	}
	if out := verify(bytes.Replace(statement, []byte(`"deploy"`), []byte(`"destroy"`), 1)); strings.Contains(out, "Successfully") {
		t.Errorf("of an altered vector they say %s", out)
	}
}

// Values of a Nexus header are anybody's until they are verified.
func TestNexusHeader(t *testing.T) {
	raw := mustSign(t, attest.NewSigner(fixedKey("a")), typical())
	if got, ok := attest.FromNexus(attest.ToNexus(raw)); !ok || got != raw {
		t.Errorf("read back %q, %v", got, ok)
	}
	for name, value := range map[string]string{"empty": "", "JSON": raw, "padded": "eyI=", "newline": "ey\nI", "large": strings.Repeat("A", 2*attest.MaxSize)} {
		if got, ok := attest.FromNexus(value); ok {
			t.Errorf("%s: read %q", name, got)
		}
	}
	h := map[string]string{attest.HeaderKey: "x", "Bailiwick-Attestation": "x", "bailiwic\u212a-attestation": "x", "trace": "1"}
	if n := attest.StripNexus(h); n != 3 || len(h) != 1 {
		t.Errorf("removed %d, left %v", n, h)
	}
}

// The cause of a statement is signed like the rest.
func TestCause(t *testing.T) {
	st := typical()
	st.Cause = "01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c00"
	st.Actor = attest.Party{Principal: "client:https://acme.okta.com/oauth2/default|0oahandler", Profile: "client"}
	s := attest.NewSigner(fixedKey("a"))
	v := mustVerify(t, s, st)
	if v.Statement().Cause != st.Cause || mustSign(t, s, v.Statement()) != v.Raw() {
		t.Errorf("read back %+v", v.Statement())
	}
	_, err := s.Verify(strings.Replace(v.Raw(), st.Cause, "01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c01", 1), audience)
	wantCode(t, err, attest.CodeSignature)
}
