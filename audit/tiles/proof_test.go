package tiles

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/policy"
)

var update = flag.Bool("update", false, "write testdata/bundle-v1.json anew")

const goldenBundle = "testdata/bundle-v1.json"

// fixedKey is a log key made from a seed, so that a log is the same in every run.
func fixedKey(t testing.TB, name string, fill byte) (note.Signer, string) {
	t.Helper()
	seed := bytes.Repeat([]byte{fill}, ed25519.SeedSize)
	vkey, err := note.NewEd25519VerifierKey(name, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(vkey, "+")[1]
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{algorithmEd}, seed...)))
	if err != nil {
		t.Fatal(err)
	}
	return signer, vkey
}

// provable is a sealed log of a gate: its start, decisions (one of them attested), a restart with another key, and more decisions.
type provable struct {
	*testLog
	attested, other, unsealed int // indexes
	keys                      attest.KeySet
	signers                   [2]*attest.Signer
	jws                       string
	blobs                     string
}

const policyText = `@id("all") permit (principal, action, resource);` + "\n"

func newProvable(t testing.TB) *provable {
	t.Helper()
	p := &provable{testLog: newLog(t), attested: 300, other: 301}
	p.signer, p.verifier = fixedKey(t, origin, 7)
	p.blobs = blobs.Beside(p.journal)
	dir := t.TempDir()
	for name, text := range map[string]string{"all.cedar": policyText, "roles.yaml": "version: 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := policy.LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Not the real schema's text: it changes more often than this format.
	archive := joinPolicy([]PolicyText{{"schema", "entity User;\n"}, {"all.cedar", policyText}, {"roles.yaml", "version: 1\n"}})
	if real, err := splitPolicy(set.Archive()); err != nil || len(real) != 3 || real[0].Name != "schema" || real[1].Text != policyText || !bytes.Equal(joinPolicy(real), set.Archive()) {
		t.Fatalf("the archive of a real set splits into %v %v", real, err)
	}
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: p.journal, QueueEntries: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := blobs.Put(p.blobs, archive)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.signers {
		p.signers[i] = attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(20 + i)}, ed25519.SeedSize)))
		p.keys = p.keys.Merge(p.signers[i].PublicKeySet())
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	started := func(i int, gate string, s *attest.Signer) audit.Entry {
		return audit.Entry{ID: fmt.Sprint("e", i), Time: at.Add(time.Duration(i) * time.Second), Kind: audit.KindGate, Gate: gate,
			Actor: audit.Party{Principal: "gate:" + gate}, Detail: map[string]string{"event": "started", "policy_digest": digest, keyDetail: s.KeyID()}}
	}
	for i := range 700 {
		e := audit.Entry{ID: fmt.Sprint("e", i), Time: at.Add(time.Duration(i) * time.Second), Kind: audit.KindDecision, Gate: "test",
			Actor: audit.Party{Principal: "user:https://acme.example|00u1", Login: "alice@acme.example"}, Action: "StartWorkflowExecution", Access: "operate",
			Resource: policy.Resource{Namespace: "deploy", WorkflowType: "deploy", WorkflowID: fmt.Sprint("ship-", i)}, Reason: "CHG-7 <now>",
			Decision:      &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"all"}, PolicyDigest: digest},
			RequestDigest: fmt.Sprintf("%064d", i)}
		switch i {
		case 0:
			e = started(i, "test", p.signers[0])
		case 1:
			e = started(i, "elsewhere", p.signers[1])
		case 100:
			e = started(i, "test", p.signers[1])
		case 500:
			e = started(i, "test", p.signers[0])
		case p.attested:
			party := attest.Party{Principal: e.Actor.Principal, Login: e.Actor.Login, Profile: "user"}
			p.jws, err = p.signers[1].Sign(attest.Statement{Version: attest.Version, ID: e.ID, Issuer: "test", Audience: "bailiwick:test", Edge: attest.EdgeStart,
				Originator: party, Actor: party, Reason: e.Reason, Policies: e.Decision.Policies, GroupsDigest: fmt.Sprintf("%064d", 0),
				Binding: attest.Binding{Namespace: "deploy", WorkflowID: e.Resource.WorkflowID, WorkflowType: "deploy"}, RequestDigest: e.RequestDigest, IssuedAt: e.Time})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Enqueue(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	p.seal(t, 700)
	enqueue(t, p.journal, 700, 701)
	p.unsealed = 700
	return p
}

func (p *provable) config(index int) ProveConfig {
	return ProveConfig{Log: p.log, Journals: []string{p.journal}, VerifierKey: p.verifier, Index: uint64(index), Keys: p.keys, Blobs: p.blobs}
}

func (p *provable) full(t testing.TB) Bundle {
	t.Helper()
	cfg := p.config(p.attested)
	cfg.Attestation = p.jws
	b, err := Prove(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encoded(t testing.TB, b Bundle) []byte {
	t.Helper()
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestProve(t *testing.T) {
	p := newProvable(t)
	trust := Trust{LogKeys: []string{p.verifier}}
	for _, i := range []int{0, 1, 2, 99, 255, 256, 511, 512, 698, 699} {
		b, err := Prove(t.Context(), p.config(i))
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		r, err := VerifyBundle(encoded(t, b), trust)
		if err != nil || r.Index != uint64(i) || r.Entry.ID != fmt.Sprint("e", i) || r.Size != 700 || r.Origin != origin {
			t.Errorf("entry %d: %+v %v", i, r, err)
		}
		if !byHand(t, b) {
			t.Errorf("entry %d: the proof does not verify by RFC 9162", i)
		}
		want := []uint64{0} // the key history
		switch {
		case i == 0:
			want = nil
		case i == 1:
			want = nil // of another gate, and the first of it
		case i > 500:
			want = []uint64{500}
		case i > 100:
			want = []uint64{100}
		}
		var got []uint64
		for _, k := range r.Keys {
			got = append(got, k.Index)
		}
		if !slices.Equal(got, want) {
			t.Errorf("entry %d: key history %v, want %v", i, got, want)
		}
		if decided := i > 1; decided != (len(r.Policy) == 3) {
			t.Errorf("entry %d: %d policy texts", i, len(r.Policy))
		}
	}
	r, err := VerifyBundle(encoded(t, p.full(t)), trust)
	if err != nil || r.Attestation == nil || r.Attestation.Reason != "CHG-7 <now>" || r.AttestedBy != p.signers[1].KeyID() || r.KeyKnownBy != "log" || r.Policy[1].Text != policyText {
		t.Errorf("%+v %v", r, err)
	}

	byID := p.config(0)
	byID.ID, byID.KeyEntries = "e300", []uint64{500, 0, 100, 0} // one is later and left out
	b, err := Prove(t.Context(), byID)
	if err != nil || b.Entry.Index != 300 || len(b.KeyHistory) != 2 || b.KeyHistory[0].Index != 0 || b.KeyHistory[1].Index != 100 {
		t.Errorf("%+v %v", b, err)
	}
	if keys, err := attest.ParseKeySet(b.Keys); err != nil || keys.Len() != 2 {
		t.Errorf("keys %s %v", b.Keys, err)
	}

	byID.ID = "e700"
	if _, err := Prove(t.Context(), byID); !errors.Is(err, ErrNotSealed) {
		t.Errorf("an entry in the journal: %v", err)
	}
	if _, err := Prove(t.Context(), p.config(700)); !errors.Is(err, ErrNotSealed) {
		t.Errorf("an index in the journal: %v", err)
	}
	byID.ID = "e999"
	if _, err := Prove(t.Context(), byID); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such id: %v", err)
	}
	if _, err := Prove(t.Context(), p.config(701)); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such index: %v", err)
	}
	wrong := p.config(5)
	_, wrong.VerifierKey = fixedKey(t, origin, 8)
	if _, err := Prove(t.Context(), wrong); codeOf(err) != CodeCheckpointSignature {
		t.Errorf("another key: %v", err)
	}
	bad := p.config(300)
	bad.KeyEntries = []uint64{7}
	if _, err := Prove(t.Context(), bad); err == nil {
		t.Error("a decision was taken for key history")
	}
	// A cosignature in the log's checkpoint does not end up, unchecked, in the bundle.
	msg, err := os.ReadFile(filepath.Join(p.log, checkpointName))
	if err != nil {
		t.Fatal(err)
	}
	opened, _ := note.Open(msg, note.VerifierList(mustVerifier(t, p.verifier)))
	cosigned, err := note.Sign(opened, p.signer, otherSigner(t, "witness"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.log, checkpointName), cosigned, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Prove(t.Context(), p.config(5)); err != nil || strings.Contains(b.Checkpoint, "witness") {
		t.Errorf("%v %v", b.Checkpoint, err)
	}
	// An entry that was altered in the log can't be proven.
	path := logDir(p.log).path(entriesLevel, 0, tileWidth)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(path, 0o600)
	if err := os.WriteFile(path, bytes.Replace(data, []byte("ship-5\""), []byte("ship-6\""), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Prove(t.Context(), p.config(5)); codeOf(err) != CodeProofMismatch {
		t.Errorf("an altered entry: %v", err)
	}
}

func mustVerifier(t testing.TB, key string) note.Verifier {
	t.Helper()
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func codeOf(err error) Code {
	var refused *BundleError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// byHand verifies an inclusion proof by the steps of RFC 9162 section 2.1.3.2, with nothing but SHA-256.
func byHand(t testing.TB, b Bundle) bool {
	t.Helper()
	lines := strings.Split(b.Checkpoint, "\n")
	var size uint64
	if _, err := fmt.Sscan(lines[1], &size); err != nil {
		t.Fatal(err)
	}
	root, _ := base64.StdEncoding.DecodeString(lines[2])
	fn, sn := b.Entry.Index, size-1
	r := sha256.Sum256(append([]byte{0}, b.Entry.Raw...))
	node := func(left, right []byte) [32]byte { return sha256.Sum256(slices.Concat([]byte{1}, left, right)) }
	for _, s := range b.Entry.Proof {
		p, _ := base64.StdEncoding.DecodeString(s)
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			r = node(p, r[:])
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = node(r[:], p)
		}
		fn, sn = fn>>1, sn>>1
	}
	return sn == 0 && bytes.Equal(r[:], root)
}

// Each part swapped for another, each altered, each taken away: refused, by its name.
func TestBundleSwapped(t *testing.T) {
	p := newProvable(t)
	good := p.full(t)
	cfg := p.config(p.other)
	other, err := Prove(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	trust := Trust{LogKeys: []string{p.verifier}}
	if _, err := VerifyBundle(encoded(t, good), trust); err != nil {
		t.Fatal(err)
	}
	resign := func(change func(c *checkpoint), signer note.Signer) string {
		c, err := parseCheckpoint(mustText(t, good.Checkpoint))
		if err != nil {
			t.Fatal(err)
		}
		change(&c)
		msg, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", c.origin, c.size, c.root)}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(msg)
	}
	stranger, strangerKey := fixedKey(t, origin, 9)
	sign := func(s *attest.Signer, change func(*attest.Statement)) string {
		v, err := p.keys.Verify(p.jws, "bailiwick:test")
		if err != nil {
			t.Fatal(err)
		}
		st := v.Statement()
		change(&st)
		jws, err := s.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
	proveAll := p.config(p.attested)
	proveAll.KeyEntries = []uint64{0, 100}
	twoKeys, err := Prove(t.Context(), proveAll)
	if err != nil {
		t.Fatal(err)
	}
	foreign := p.config(2)
	foreign.KeyEntries = []uint64{}
	ofOther, err := Prove(t.Context(), ProveConfig{Log: p.log, VerifierKey: p.verifier, Index: 1, KeyEntries: []uint64{}})
	if err != nil {
		t.Fatal(err)
	}
	late, err := Prove(t.Context(), ProveConfig{Log: p.log, VerifierKey: p.verifier, Index: 500, KeyEntries: []uint64{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		want   Code
		change func(b *Bundle)
	}{
		{"type", CodeBundleMalformed, func(b *Bundle) { b.Type = "other" }},
		{"version", CodeBundleVersion, func(b *Bundle) { b.Version = 2 }},
		{"origin", CodeCheckpointOrigin, func(b *Bundle) { b.Origin = "bailiwick.test/other" }},
		{"key of another", CodeKeyUntrusted, func(b *Bundle) { b.VerifierKey = strangerKey }},
		{"key and checkpoint of another", CodeKeyUntrusted, func(b *Bundle) {
			b.VerifierKey, b.Checkpoint = strangerKey, resign(func(*checkpoint) {}, stranger)
		}},
		{"checkpoint signed by another", CodeCheckpointSignature, func(b *Bundle) { b.Checkpoint = resign(func(*checkpoint) {}, stranger) }},
		{"checkpoint of another origin", CodeCheckpointOrigin, func(b *Bundle) {
			b.Checkpoint = resign(func(c *checkpoint) { c.origin = "bailiwick.test/other" }, p.signer)
		}},
		{"checkpoint's size altered", CodeCheckpointSignature, func(b *Bundle) { b.Checkpoint = strings.Replace(b.Checkpoint, "\n700\n", "\n699\n", 1) }},
		{"checkpoint of another size", CodeProofMismatch, func(b *Bundle) { b.Checkpoint = resign(func(c *checkpoint) { c.size = 512 }, p.signer) }},
		{"checkpoint of a smaller tree", CodeProofMismatch, func(b *Bundle) { b.Checkpoint = resign(func(c *checkpoint) { c.size = 100 }, p.signer) }},
		{"checkpoint of another root", CodeProofMismatch, func(b *Bundle) { b.Checkpoint = resign(func(c *checkpoint) { c.root[3]++ }, p.signer) }},
		{"checkpoint empty", CodeCheckpointMalformed, func(b *Bundle) { b.Checkpoint = "" }},
		{"a second signature", CodeCheckpointSignature, func(b *Bundle) {
			opened, _ := note.Open([]byte(b.Checkpoint), note.VerifierList(mustVerifier(t, p.verifier)))
			msg, _ := note.Sign(opened, p.signer, stranger)
			b.Checkpoint = string(msg)
		}},
		{"entry", CodeProofMismatch, func(b *Bundle) { b.Entry.Raw = other.Entry.Raw }},
		{"entry altered", CodeProofMismatch, func(b *Bundle) { b.Entry.Raw = strings.Replace(b.Entry.Raw, "alice", "mallo", 1) }},
		{"index", CodeProofMismatch, func(b *Bundle) { b.Entry.Index++ }},
		{"index outside", CodeProofMismatch, func(b *Bundle) { b.Entry.Index = 1 << 63 }},
		{"proof", CodeProofMismatch, func(b *Bundle) { b.Entry.Proof = other.Entry.Proof }},
		{"proof cut", CodeProofMismatch, func(b *Bundle) { b.Entry.Proof = b.Entry.Proof[1:] }},
		{"proof longer", CodeProofMismatch, func(b *Bundle) { b.Entry.Proof = append(slices.Clone(b.Entry.Proof), b.Entry.Proof[0]) }},
		{"proof much longer", CodeProofMalformed, func(b *Bundle) { b.Entry.Proof = slices.Repeat(b.Entry.Proof, 20) }},
		{"proof not of hashes", CodeProofMalformed, func(b *Bundle) { b.Entry.Proof = slices.Concat([]string{"AA=="}, b.Entry.Proof[1:]) }},
		{"key history of another gate", CodeHistoryMismatch, func(b *Bundle) { b.KeyHistory, b.Keys, b.Attestation = []ProvenEntry{ofOther.Entry}, nil, "" }},
		{"key history from later", CodeHistoryMismatch, func(b *Bundle) { b.KeyHistory, b.Keys, b.Attestation = []ProvenEntry{late.Entry}, nil, "" }},
		{"key history a decision", CodeHistoryMismatch, func(b *Bundle) { b.KeyHistory, b.Keys, b.Attestation = []ProvenEntry{other.Entry}, nil, "" }},
		{"key history out of order", CodeHistoryMismatch, func(b *Bundle) {
			b.KeyHistory = []ProvenEntry{twoKeys.KeyHistory[1], twoKeys.KeyHistory[0]}
		}},
		{"key history twice", CodeHistoryMismatch, func(b *Bundle) { b.KeyHistory = slices.Repeat(b.KeyHistory, 2) }},
		{"key history altered", CodeProofMismatch, func(b *Bundle) {
			k := b.KeyHistory[0]
			k.Raw = strings.Replace(k.Raw, p.signers[1].KeyID(), p.signers[0].KeyID(), 1)
			b.KeyHistory = []ProvenEntry{k}
		}},
		{"key history gone", CodeAttestationKey, func(b *Bundle) { b.KeyHistory = nil }},
		{"keys gone", Code(attest.CodeKeyUnknown), func(b *Bundle) { b.Keys = nil }},
		{"keys of another", CodeAttestationKey, func(b *Bundle) { b.Keys = p.signers[0].PublicKeySet().JSON() }},
		{"keys with a validity", CodeAttestationKey, func(b *Bundle) {
			b.Keys = p.signers[1].PublicKeySet().Retire(p.signers[1].KeyID(), time.Now()).JSON()
		}},
		{"keys not a set", CodeBundleMalformed, func(b *Bundle) { b.Keys = []byte(`{"keys":{}}`) }},
		{"attestation by another key", Code(attest.CodeKeyUnknown), func(b *Bundle) { b.Attestation = sign(p.signers[0], func(*attest.Statement) {}) }},
		{"attestation altered", Code(attest.CodeSignature), func(b *Bundle) { b.Attestation = strings.Replace(b.Attestation, "CHG-7", "CHG-8", 1) }},
		{"attestation cut", Code(attest.CodeMalformed), func(b *Bundle) { b.Attestation = "x" }},
		{"attestation of another decision", CodeAttestationMismatch, func(b *Bundle) { b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.ID = "e301" }) }},
		{"attestation of another gate", CodeAttestationMismatch, func(b *Bundle) {
			b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Issuer = "elsewhere" })
		}},
		{"attestation of another person", CodeAttestationMismatch, func(b *Bundle) {
			b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Originator.Principal, s.Actor.Principal = "user:x|y", "user:x|y" })
		}},
		{"attestation with another reason", CodeAttestationMismatch, func(b *Bundle) { b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Reason = "none" }) }},
		{"attestation with a grant", CodeAttestationMismatch, func(b *Bundle) { b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Grant = "g1" }) }},
		{"attestation of another namespace", CodeAttestationMismatch, func(b *Bundle) {
			b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Binding.Namespace = "payments" })
		}},
		{"attestation of another workflow", CodeAttestationMismatch, func(b *Bundle) {
			b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Binding.WorkflowID = "ship-301" })
		}},
		{"attestation of another request", CodeAttestationMismatch, func(b *Bundle) {
			b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.RequestDigest = fmt.Sprintf("%064d", 301) })
		}},
		{"attestation by other policies", CodeAttestationMismatch, func(b *Bundle) {
			b.Attestation = sign(p.signers[1], func(s *attest.Statement) { s.Policies = []string{"none"} })
		}},
		{"policy altered", CodePolicyMismatch, func(b *Bundle) {
			b.Policy = slices.Clone(b.Policy)
			b.Policy[1].Text = strings.Replace(policyText, "permit", "forbid", 1)
		}},
		{"policy renamed", CodePolicyMismatch, func(b *Bundle) { b.Policy = slices.Clone(b.Policy); b.Policy[1].Name = "some.cedar" }},
		{"policy file gone", CodePolicyMismatch, func(b *Bundle) { b.Policy = b.Policy[:2] }},
		{"policy files swapped", CodePolicyMismatch, func(b *Bundle) { b.Policy = []PolicyText{b.Policy[0], b.Policy[2], b.Policy[1]} }},
		{"text moved from content to name", CodePolicyMismatch, func(b *Bundle) {
			b.Policy = slices.Clone(b.Policy)
			b.Policy[2] = PolicyText{"roles.yamlversion", ": 1\n"}
		}},
	} {
		b := good
		c.change(&b)
		if r, err := VerifyBundle(encoded(t, b), trust); codeOf(err) != c.want {
			t.Errorf("%s: %v, want %s (%+v)", c.name, err, c.want, r)
		}
	}

	raw := string(encoded(t, good))
	for name, changed := range map[string]string{
		"trailing data":    raw + "{}",
		"unknown field":    strings.Replace(raw, "{\n", "{\n\"x\":1,", 1),
		"repeated field":   strings.Replace(raw, "{\n", "{\n\"type\":\"x\",", 1),
		"reordered":        strings.Replace(strings.Replace(raw, `"v": 1,`, "", 1), `"origin"`, `"v": 1, "origin"`, 1) + "", // back to itself but for spaces
		"field's case":     strings.Replace(raw, `"origin"`, `"Origin"`, 1),
		"escaped spelling": strings.Replace(raw, `"bailiwick-proof-bundle"`, `"\u0062ailiwick-proof-bundle"`, 1),
		"null field":       strings.Replace(raw, "{\n", "{\n\"x\":null,", 1),
		"empty":            "", "null": "null", "array": "[]", "number": "1",
	} {
		_, err := VerifyBundle([]byte(changed), trust)
		if name == "reordered" {
			if err != nil {
				t.Errorf("white space alone: %v", err)
			}
			continue
		}
		if codeOf(err) != CodeBundleMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}

	// What the verifier brings.
	if _, err := VerifyBundle([]byte(raw), Trust{}); err == nil || codeOf(err) != "" {
		t.Errorf("no key is trusted: %v", err)
	}
	if _, err := VerifyBundle([]byte(raw), Trust{LogKeys: []string{"rubbish"}}); err == nil || codeOf(err) != "" {
		t.Errorf("rubbish is trusted: %v", err)
	}
	if _, err := VerifyBundle([]byte(raw), Trust{LogKeys: []string{strangerKey}}); codeOf(err) != CodeKeyUntrusted {
		t.Errorf("another log is trusted: %v", err)
	}
	if _, err := VerifyBundle([]byte(raw), Trust{LogKeys: []string{strangerKey, p.verifier}, Audience: "bailiwick:prod"}); codeOf(err) != Code(attest.CodeAudience) {
		t.Errorf("another environment: %v", err)
	}
	if _, err := VerifyBundle([]byte(raw), Trust{LogKeys: []string{p.verifier}, AttestationKeys: p.signers[0].PublicKeySet()}); codeOf(err) != Code(attest.CodeKeyUnknown) {
		t.Errorf("another attestation key is trusted: %v", err)
	}
	bare := good
	bare.KeyHistory, bare.Keys = nil, nil
	if r, err := VerifyBundle(encoded(t, bare), Trust{LogKeys: []string{p.verifier}, AttestationKeys: p.keys}); err != nil || r.KeyKnownBy != "trust" {
		t.Errorf("the verifier knows the key: %+v %v", r, err)
	}
}

func mustText(t testing.TB, msg string) string {
	t.Helper()
	text, err := signedText([]byte(msg))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The golden bundle is of version 1 for ever: it must verify, and be what Prove makes of the same log.
func TestGoldenBundle(t *testing.T) {
	p := newProvable(t)
	made := encoded(t, p.full(t))
	if *update {
		if err := os.WriteFile(goldenBundle, made, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenBundle)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, made) {
		t.Errorf("Prove makes another bundle now:\n%s", made)
	}
	r, err := VerifyBundle(golden, Trust{LogKeys: []string{p.verifier}, Audience: "bailiwick:test"})
	if err != nil || r.Entry.Resource.WorkflowID != "ship-300" || r.Attestation == nil || len(r.Policy) != 3 || len(r.Keys) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	// No byte of it can be changed.
	for i := range golden {
		for _, flip := range []byte{1, 0x20, 0x80} {
			changed := bytes.Clone(golden)
			changed[i] ^= flip
			if _, err := VerifyBundle(changed, Trust{LogKeys: []string{p.verifier}}); err == nil && !bytes.Equal(compact(changed), compact(golden)) {
				t.Errorf("byte %d %q may be %q", i, golden[i], changed[i])
			}
		}
	}
}

func FuzzVerifyBundle(f *testing.F) {
	golden, err := os.ReadFile(goldenBundle)
	if err != nil {
		f.Fatal(err)
	}
	_, vkey := fixedKey(f, origin, 7)
	var want Bundle
	if err := json.Unmarshal(golden, &want); err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"type":"bailiwick-proof-bundle","v":1}`))
	f.Add(bytes.Replace(golden, []byte(`"proof": [`), []byte(`"proof": null, "x": [`), 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := VerifyBundle(raw, Trust{LogKeys: []string{vkey}})
		if err != nil {
			if codeOf(err) == "" {
				t.Errorf("a refusal without a code: %v", err)
			}
			return
		}
		// Only parts of the golden one can be signed by its key.
		var got Bundle
		if err := json.Unmarshal(raw, &got); err != nil || got.Checkpoint != want.Checkpoint {
			t.Errorf("accepted %s", raw)
		}
		known := got.Entry.Raw == want.Entry.Raw || got.Entry.Raw == want.KeyHistory[0].Raw
		if !known || r.Attestation != nil && got.Attestation != want.Attestation {
			t.Errorf("accepted %s", raw)
		}
	})
}

func BenchmarkProve(b *testing.B) {
	p := newProvable(b)
	cfg := p.config(p.attested)
	cfg.KeyEntries = []uint64{100}
	for b.Loop() {
		if _, err := Prove(b.Context(), cfg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyBundle(b *testing.B) {
	p := newProvable(b)
	raw := encoded(b, p.full(b))
	for b.Loop() {
		if _, err := VerifyBundle(raw, Trust{LogKeys: []string{p.verifier}}); err != nil {
			b.Fatal(err)
		}
	}
}
