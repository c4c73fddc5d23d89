package login

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/contrib/envconfig"
)

func testStore(t *testing.T, content string) *Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "conf")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "temporal.toml")
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenStore(StoreConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var sample = Profile{Address: "127.0.0.1:7233", Namespace: "deploy", TLSDisabled: true, ClientID: "cli", AuthURL: "http://127.0.0.1:1/authorize",
	TokenURL: "http://127.0.0.1:1/token", Scopes: []string{"openid", "offline_access"}, AccessToken: "A", RefreshToken: "R", TokenType: "Bearer",
	Expires: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}

const others = `# my settings, with care
[profile.prod]   # keep
address = "prod.example:7233"
api_key = "k"

[profile.prod.tls]
server_name = "x"  # why

# about bailiwick
[profile.bailiwick]
address = "old:1" # stale
codec = { endpoint = "http://codec" }

[profile.bailiwick.oauth]
client_id = "old"
access_token = "old"

# about the last
[profile.zz]
note = """
[profile.bailiwick.oauth]
"""
`

func TestSaveKeepsEverythingElse(t *testing.T) {
	s := testStore(t, others)
	if err := s.Save(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessToken != "A" || got.RefreshToken != "R" || !got.Expires.Equal(sample.Expires) || !got.TLSDisabled || got.Address != sample.Address ||
		got.Namespace != "deploy" || len(got.Scopes) != 2 || got.TokenURL != sample.TokenURL || got.AuthURL != sample.AuthURL {
		t.Errorf("loaded %+v", got)
	}
	raw, _ := os.ReadFile(s.Path())
	for _, keep := range []string{"# my settings, with care", "[profile.prod]   # keep", `server_name = "x"  # why`, "# about bailiwick", "# about the last", `codec = { endpoint = "http://codec" }`, "note = \"\"\"\n[profile.bailiwick.oauth]\n\"\"\""} {
		if !strings.Contains(string(raw), keep) {
			t.Errorf("lost %q in:\n%s", keep, raw)
		}
	}
	if strings.Contains(string(raw), "old") {
		t.Errorf("old values survive:\n%s", raw)
	}
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Load(); !errors.Is(err, ErrNotLoggedIn) || p.Address != sample.Address {
		t.Errorf("after clearing: %v, %v", p, err)
	}
	raw, _ = os.ReadFile(s.Path())
	if strings.Contains(string(raw), "access_token") || !strings.Contains(string(raw), "# about the last") {
		t.Errorf("after clearing:\n%s", raw)
	}
}

// The SDKs' and the stock CLI's own reader must find address, namespace and plaintext in what we write, beside the table that is the CLI's.
func TestStockReaderUnderstands(t *testing.T) {
	s := testStore(t, others)
	if err := s.Save(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	p, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{ConfigFilePath: s.Path(), ConfigFileProfile: DefaultProfile, DisableEnv: true})
	if err != nil || p.Address != sample.Address || p.Namespace != "deploy" || p.TLS == nil || !p.TLS.Disabled {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSaveIntoAwkwardFiles(t *testing.T) {
	for name, content := range map[string]string{
		"absent":         "",
		"empty line":     "\n",
		"no newline":     `x = 1`,
		"inline profile": "[profile]\nbailiwick = { address = \"a:1\", oauth = { access_token = \"old\" } }\nkeep = { address = \"b:2\" }\n",
		"dotted keys":    "profile.bailiwick.address = \"a:1\"\nprofile.keep.address = \"b:2\"\n",
		"only oauth":     "[profile.bailiwick.oauth]\naccess_token = \"old\"\n[profile.keep]\naddress = \"b:2\"\n",
		"quoted":         "[profile.\"bailiwick\"]\naddress = \"a:1\"\n[profile.keep]\naddress = \"b:2\"\n",
		"crlf":           "[profile.keep]\r\naddress = \"b:2\"\r\n",
		"fake header":    "[profile.keep]\naddress = \"b:2\"\nnote = '''\n[profile.bailiwick]\naddress = \"no\"\n'''\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t, content)
			for range 2 {
				if err := s.Save(t.Context(), sample); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Load()
			if err != nil || got.AccessToken != "A" || got.Address != sample.Address || !got.TLSDisabled {
				t.Fatalf("%+v, %v", got, err)
			}
			raw, _ := os.ReadFile(s.Path())
			if strings.Contains(content, "keep") && !strings.Contains(string(raw), "b:2") || strings.Contains(content, "x = 1") && !strings.Contains(string(raw), "x = 1") {
				t.Errorf("lost something:\n%s", raw)
			}
		})
	}
}

func TestStoreIsPrivate(t *testing.T) {
	s := testStore(t, others)
	var notices []string
	s.notice = func(m string) { notices = append(notices, m) }
	if err := os.Chmod(s.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err != nil {
		t.Fatal(err)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "0644") || !strings.Contains(notices[0], "0600") {
		t.Errorf("notices: %q", notices)
	}
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if m := mode(s.Path()); m != 0o600 {
		t.Errorf("not repaired: %04o", m)
	}
	if err := s.Save(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{s.Path(), s.Path() + ".lock"} {
		if m := mode(p); m != 0o600 {
			t.Errorf("%s: %04o", p, m)
		}
	}
	left, _ := filepath.Glob(s.Path() + ".*.tmp")
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(filepath.Dir(s.Path()), 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a directory that others can write: %v", err)
	}
	fresh, err := OpenStore(StoreConfig{Path: filepath.Join(t.TempDir(), "a", "b", "temporal.toml")})
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Save(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	if m := mode(filepath.Dir(fresh.Path())); m != 0o700 {
		t.Errorf("made directory: %04o", m)
	}
}

func TestBrokenFileIsLeftAlone(t *testing.T) {
	const bad = "[profile.bailiwick]\naddress = \"x\n[oops\n"
	s := testStore(t, bad)
	for what, err := range map[string]error{"save": s.Save(t.Context(), sample), "clear": s.Clear(t.Context()), "load": func() error { _, err := s.Load(); return err }()} {
		if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), s.Path()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if raw, _ := os.ReadFile(s.Path()); string(raw) != bad {
		t.Errorf("the file was changed:\n%s", raw)
	}
	s = testStore(t, "[profile.bailiwick.oauth]\naccess_token = \"A\"\nexpires_at = \"soon\"\n")
	if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "expires_at") {
		t.Errorf("bad expires_at: %v", err)
	}
	s = testStore(t, "profile = 3\n")
	if err := s.Save(t.Context(), sample); err == nil || !strings.Contains(err.Error(), "profile") {
		t.Errorf("profile is no table: %v", err)
	}
}

func TestLinkedStoreKeepsTheLink(t *testing.T) {
	s := testStore(t, others)
	link := filepath.Join(t.TempDir(), "link.toml")
	if err := os.Symlink(s.Path(), link); err != nil {
		t.Fatal(err)
	}
	linked, err := OpenStore(StoreConfig{Path: link})
	if err != nil {
		t.Fatal(err)
	}
	if err := linked.Save(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", info, err)
	}
	if p, err := s.Load(); err != nil || p.AccessToken != "A" {
		t.Errorf("%v %v", p, err)
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"a.b", "../x", "a b", "a]", "ü", strings.Repeat("x", 65)} {
		if _, err := OpenStore(StoreConfig{Path: "x", Profile: bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzEdit(f *testing.F) {
	f.Add(others)
	f.Add("[profile]\nbailiwick = {}\n")
	f.Add("a = '''\n[profile.bailiwick.oauth]\n'''\n")
	f.Fuzz(func(t *testing.T, content string) {
		before, err := decode([]byte(content))
		if err != nil {
			return
		}
		out, err := edit([]byte(content), "bailiwick", change{keys: map[string]any{"address": "new:1"}, oauth: sample.oauthTable()})
		if err != nil {
			return
		}
		after, err := decode(out)
		if err != nil {
			t.Fatalf("edited file does not parse: %v\n%s", err, out)
		}
		for k := range before {
			if _, ok := after[k]; !ok {
				t.Errorf("lost %q", k)
			}
		}
		p := after["profile"].(map[string]any)["bailiwick"].(map[string]any)
		if p["address"] != "new:1" || p["oauth"].(map[string]any)["access_token"] != "A" {
			t.Errorf("not applied:\n%s", out)
		}
	})
}
