package policy

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func bundleKey(seed byte) (ed25519.PublicKey, ed25519.PrivateKey) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return key.Public().(ed25519.PublicKey), key
}

var bundleNow = time.Date(2026, time.November, 25, 12, 0, 0, 0, time.UTC)

func smallDir(t testing.TB, cedar string) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, RolesFile), okRoles)
	write(t, filepath.Join(dir, "ok.cedar"), cedar)
	return dir
}

func build(t testing.TB, dir string, key ed25519.PrivateKey, serial uint64, expires time.Time) []byte {
	t.Helper()
	raw, err := BuildBundle(dir, key, serial, expires)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The bytes of a bundle are fixed: other builds must read them.
func TestBundleGolden(t *testing.T) {
	public, key := bundleKey(7)
	raw := build(t, smallDir(t, okCedar), key, 3, bundleNow.Add(time.Hour))
	golden := filepath.Join("testdata", "bundle.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, golden, string(raw)+"\n")
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(raw)+"\n" != string(want) {
		t.Errorf("got\n%s\nwant\n%s %v", raw, want, err)
	}
	s, m, err := OpenBundle(raw, []ed25519.PublicKey{public}, 3, bundleNow)
	if err != nil {
		t.Fatal(err)
	}
	direct, err := LoadSet(smallDir(t, okCedar))
	if err != nil || s.Digest() != direct.Digest() || m.Digest != s.Digest() || m.Serial != 3 || !m.Expires.Equal(bundleNow.Add(time.Hour)) ||
		strings.Join(m.Files, " ") != "ok.cedar roles.yaml" || m.KeyID != BundleKeyID(public) || m.Version != 1 {
		t.Errorf("%+v %v", m, err)
	}
	if d := s.Decide(ask(erin, "ListWorkflowExecutions", "n", "")); !d.Allow {
		t.Errorf("%+v", d)
	}
}

func TestBundleRefusals(t *testing.T) {
	public, key := bundleKey(7)
	otherPublic, otherKey := bundleKey(8)
	dir := smallDir(t, okCedar)
	raw := build(t, dir, key, 3, bundleNow.Add(time.Hour))
	parts := strings.Split(string(raw), ".")
	signed := func(header, payload string) string {
		head := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		return head + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(head)))
	}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if signed(string(header), string(payload)) != string(raw) {
		t.Fatal("the test does not sign as BuildBundle does")
	}
	with := func(old, new string) string {
		changed := strings.Replace(string(payload), old, new, 1)
		if changed == string(payload) {
			t.Fatalf("no %s in %s", old, payload)
		}
		return signed(string(header), changed)
	}
	flipped := []byte(parts[2])
	flipped[3] ^= 1
	for name, c := range map[string]struct {
		raw    string
		keys   []ed25519.PublicKey
		serial uint64
		now    time.Time
		want   string
	}{
		"unsigned":                 {parts[0] + "." + parts[1] + ".", nil, 0, bundleNow, BundleSignature},
		"no signature part":        {parts[0] + "." + parts[1], nil, 0, bundleNow, BundleMalformed},
		"plain files":              {"version: 1\n", nil, 0, bundleNow, BundleMalformed},
		"empty":                    {"", nil, 0, bundleNow, BundleMalformed},
		"a flipped bit":            {parts[0] + "." + parts[1] + "." + string(flipped), nil, 0, bundleNow, BundleSignature},
		"another payload":          {parts[0] + "." + base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte(`"serial":3`), []byte(`"serial":4`), 1)) + "." + parts[2], nil, 0, bundleNow, BundleSignature},
		"another key":              {string(build(t, dir, otherKey, 3, bundleNow.Add(time.Hour))), nil, 0, bundleNow, BundleKeyUnknown},
		"no keys":                  {string(raw), []ed25519.PublicKey{}, 0, bundleNow, BundleKeyUnknown},
		"the other key alone":      {string(raw), []ed25519.PublicKey{otherPublic}, 0, bundleNow, BundleKeyUnknown},
		"alg none":                 {signed(`{"alg":"none","kid":"`+BundleKeyID(public)+`","typ":"`+BundleType+`"}`, string(payload)), nil, 0, bundleNow, BundleMalformed},
		"another typ":              {signed(`{"alg":"EdDSA","kid":"`+BundleKeyID(public)+`","typ":"bailiwick-attestation+jwt"}`, string(payload)), nil, 0, bundleNow, BundleMalformed},
		"crit":                     {signed(`{"alg":"EdDSA","kid":"`+BundleKeyID(public)+`","typ":"`+BundleType+`","crit":["x"]}`, string(payload)), nil, 0, bundleNow, BundleMalformed},
		"older":                    {string(raw), nil, 4, bundleNow, BundleRollback},
		"expired":                  {string(raw), nil, 0, bundleNow.Add(time.Hour), BundleExpired},
		"a later version":          {with(`"version":1`, `"version":2`), nil, 0, bundleNow, BundleVersion},
		"a key twice":              {with(`"serial":3`, `"serial":9,"serial":3`), nil, 0, bundleNow, BundleMalformed},
		"another case":             {with(`"serial":3`, `"Serial":3`), nil, 0, bundleNow, BundleMalformed},
		"an unknown key":           {with(`"serial":3`, `"serial":3,"extra":1`), nil, 0, bundleNow, BundleMalformed},
		"trailing":                 {signed(string(header), string(payload)+"{}"), nil, 0, bundleNow, BundleMalformed},
		"a path":                   {with(`"roles.yaml"`, `"../roles.yaml"`), nil, 0, bundleNow, BundleMalformed},
		"another kind of file":     {with(`"roles.yaml"`, `"roles.yml"`), nil, 0, bundleNow, BundleMalformed},
		"a file twice":             {with(`"roles.yaml"`, `"ok.cedar"`), nil, 0, bundleNow, BundleMalformed},
		"policies that don't load": {with(base64.StdEncoding.EncodeToString([]byte(okCedar)), base64.StdEncoding.EncodeToString([]byte("permt"))), nil, 0, bundleNow, BundlePolicies},
		"padding":                  {string(raw) + "=", nil, 0, bundleNow, BundleMalformed},
		"a line end":               {string(raw) + "\n", nil, 0, bundleNow, BundleMalformed},
	} {
		if c.keys == nil {
			c.keys = []ed25519.PublicKey{public}
		}
		s, _, err := OpenBundle([]byte(c.raw), c.keys, c.serial, c.now)
		var bad *BundleError
		if s != nil || !errors.As(err, &bad) || bad.Code != c.want || bad.Error() == "" {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if _, _, err := OpenBundle(raw, []ed25519.PublicKey{otherPublic, public}, 0, bundleNow); err != nil {
		t.Errorf("one of two keys: %v", err)
	}
}

func TestBuildBundleRefusals(t *testing.T) {
	_, key := bundleKey(7)
	later := bundleNow.Add(time.Hour)
	bad := smallDir(t, "permt")
	if _, err := BuildBundle(bad, key, 1, later); err == nil || !strings.Contains(err.Error(), "ok.cedar:1: not Cedar") {
		t.Errorf("got %v", err)
	}
	good := smallDir(t, okCedar)
	for name, build := range map[string]func() ([]byte, error){
		"no key":    func() ([]byte, error) { return BuildBundle(good, nil, 1, later) },
		"serial 0":  func() ([]byte, error) { return BuildBundle(good, key, 0, later) },
		"no expiry": func() ([]byte, error) { return BuildBundle(good, key, 1, time.Time{}) },
		"no dir":    func() ([]byte, error) { return BuildBundle(filepath.Join(good, "none"), key, 1, later) },
	} {
		if raw, err := build(); err == nil || raw != nil {
			t.Errorf("%s was built", name)
		}
	}
}

// FuzzBundle: nothing but a signed bundle opens, and nothing panics.
func FuzzBundle(f *testing.F) {
	public, key := bundleKey(7)
	raw := build(f, smallDir(f, okCedar), key, 3, bundleNow.Add(time.Hour))
	f.Add(raw)
	f.Add([]byte("e30.e30."))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, _, err := OpenBundle(data, []ed25519.PublicKey{public}, 0, bundleNow); (s != nil) != (err == nil) || s != nil && !bytes.Equal(data, raw) {
			t.Errorf("%q opened", data)
		}
	})
}

// What a gate's entry says of a bundle reads back.
func TestBundleOf(t *testing.T) {
	at := time.Date(2026, 12, 23, 18, 0, 0, 0, time.UTC)
	if serial, expires := BundleOf(Status{Digest: "d", Serial: 7, Expires: at}.Detail()); serial != 7 || !expires.Equal(at) {
		t.Errorf("got %d %v", serial, expires)
	}
	for _, d := range []map[string]string{nil, Status{Digest: "d"}.Detail(), {"bundle_serial": "x", "bundle_expires": "2026-12-23T18:00:00Z"}, {"bundle_serial": "7"}} {
		if serial, expires := BundleOf(d); serial != 0 || !expires.IsZero() {
			t.Errorf("%v: got %d %v", d, serial, expires)
		}
	}
}
