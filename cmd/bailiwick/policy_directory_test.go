package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/directory"
	"github.com/bailiwick-dev/bailiwick/internal/directory/orgsource"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// listedEnv is a control plane with a copy of the development org, and its commands.
type listedEnv struct {
	*privateEnv
	*directory.Directory
	t     *testing.T
	admin *okta.Client
}

func newListedEnv(t *testing.T) *listedEnv {
	t.Helper()
	e := &listedEnv{t: t}
	org, admin := testDirectory(t)
	e.privateEnv, e.admin = newPrivateEnv(t), admin
	var err error
	if e.Directory, err = directory.Open(t.Context(), directory.Config{File: filepath.Join(t.TempDir(), "directory.db"), Source: orgsource.Source{Client: org.client}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Directory.Close() })
	e.c.servePeople(e.Directory, e.issuer.URL, slog.New(slog.DiscardHandler))
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "temporal.toml"))
	e.context(e.url)
	return e
}

// context makes the commands' context one with the control plane at url.
func (e *listedEnv) context(url string) {
	e.t.Helper()
	where := login.Context{Name: "test", Issuer: e.issuer.URL, ClientID: "cli", Address: "127.0.0.1:1", ControlURL: url, LogDir: e.c.sealed, JournalDir: e.c.journals[0],
		PolicyDir: e.state.path("policy"), Profile: "test"}
	if err := where.Save(); err != nil {
		e.t.Fatal(err)
	}
}

// as logs the commands in.
func (e *listedEnv) as(token string) {
	e.t.Helper()
	store, err := login.OpenStore(login.StoreConfig{Profile: "test"})
	if err != nil {
		e.t.Fatal(err)
	}
	if err := store.Save(e.t.Context(), login.Profile{Address: "127.0.0.1:1", ClientID: "cli", TokenURL: e.issuer.URL + "/token", AccessToken: token, TokenType: "Bearer", Expires: time.Now().Add(time.Hour)}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *listedEnv) run(args ...string) (int, string) {
	e.t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(e.t.Context(), append([]string{"--context", "test"}, args...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// Who can is answered with people of the org, for who may read the log, with the copy's age; never from a copy that is not whole.
func TestPeopleOfTheDirectoryWhoCan(t *testing.T) {
	e := newListedEnv(t)
	ask := []string{"policy", "who-can", "start", "-n", "deploy", "--type", "deploy", "--directory"}
	e.as(e.issuer.User("alice@acme.example", "temporal:deploy:admin"))
	if code, out := e.run(ask...); code != exitDenied || !strings.Contains(out, "no_permission") {
		t.Errorf("alice: %d %s", code, out)
	}
	e.as(e.issuer.User("carol@acme.example", "security"))
	if code, out := e.run(ask...); code == exitOK || !strings.Contains(out, "directory_incomplete") || !strings.Contains(out, "bailiwick directory sync") {
		t.Errorf("before the first full sync: %d %s", code, out)
	}
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := e.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The copy says who is in the groups that may.
	var want []string
	for _, who := range []string{"alice@acme.example", "bob@acme.example", "carol@acme.example", "dave@acme.example", "erin@acme.example"} {
		f, has, err := e.Copy(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		if has && f.User.Active && slices.ContainsFunc(f.Groups, func(g directory.Group) bool {
			return g.Name == "temporal:deploy:write" || g.Name == "temporal:deploy:admin"
		}) {
			want = append(want, who)
		}
	}
	people := func() []string {
		t.Helper()
		code, out := e.run(append(ask, "--json")...)
		var answer whoCan
		if err := json.Unmarshal([]byte(out), &answer); code != exitOK || err != nil || answer.Directory == nil {
			t.Fatalf("%d %s", code, out)
		}
		if d := answer.Directory; !d.AsOf.Equal(status.AsOf) || d.Issuer != e.issuer.URL || int64(d.Of) != status.Active || answer.People != nil {
			t.Errorf("%+v, want as of %v, %d people", d, status.AsOf, status.Active)
		}
		var names []string
		for _, p := range answer.Directory.People {
			names = append(names, p.Login)
			if len(p.Policies) == 0 || !strings.HasPrefix(p.Principal, "user:"+e.issuer.URL+"|") {
				t.Errorf("%+v", p)
			}
		}
		return names
	}
	if got := people(); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%v may, want %v", got, want)
	}
	if code, out := e.run(ask...); code != exitOK || !strings.Contains(out, "people in the directory, as it was "+status.AsOf.Local().Format("2006-01-02 15:04:05")) || !strings.Contains(out, want[0]) {
		t.Errorf("%d %s", code, out)
	}
	// Who may not sign in any more may nothing.
	f, _, err := e.Copy(t.Context(), want[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := e.admin.Suspend(t.Context(), f.User.ID); err != nil {
		t.Fatal(err)
	}
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err = e.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := people(); !slices.Equal(got, want[1:]) {
		t.Errorf("after a suspension %v may, want %v", got, want[1:])
	}
}

// What is handed out is on record if asked for, and what does not arrive whole is refused.
func TestListingsOfTheDirectory(t *testing.T) {
	e := newListedEnv(t)
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	carol := e.issuer.User("carol@acme.example", "security")
	for body, want := range map[string]string{`{"groups":"("}`: "groups", `{"color":1}`: "color", `{"groups":"` + strings.Repeat("a", 1001) + `"}`: "longer"} {
		if status, answer := e.post(t, directoryPath+"/people", carol, body); status != http.StatusBadRequest || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, _ := e.post(t, directoryPath+"/people", "", `{}`); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
	status, listing := e.post(t, directoryPath+"/people", carol, `{"groups":"^temporal:","record":true}`)
	lines := strings.SplitAfter(strings.TrimSuffix(listing, "\n"), "\n")
	var end listingEnd
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); status != http.StatusOK || err != nil || end.People != len(lines)-2 || end.People == 0 || end.Entry == "" {
		t.Fatalf("%d %v %s", status, err, listing)
	}
	if strings.Contains(listing, `"security"`) {
		t.Error("a group that was not asked for is told")
	}
	var on []audit.Entry
	for _, entry := range bailiwicktest.Entries(t, e.c.journals[0]) {
		if entry.Detail["event"] == "directory_listed" {
			on = append(on, entry)
		}
	}
	if len(on) != 1 || on[0].ID != end.Entry || on[0].Detail["sha256"] != end.SHA256 || on[0].Detail["groups"] != "^temporal:" {
		t.Errorf("on record: %+v", on)
	}
	broken := map[string]string{
		"cut short": strings.Join(lines[:len(lines)-1], ""), "one left out": lines[0] + strings.Join(lines[2:], ""), "another version": strings.Replace(listing, `"v":1`, `"v":2`, 1),
		"empty": "", "altered": strings.Replace(listing, "alice@", "mallory@", 1), "no JSON": lines[0] + "x\n",
	}
	e.as(carol)
	for what, text := range broken {
		if text == listing {
			t.Fatal(what, "is not broken")
		}
		other := answering(t, text)
		e.context(other)
		if code, out := e.run("policy", "who-can", "start", "-n", "deploy", "--directory"); code == exitOK || strings.Contains(out, "alice@") {
			t.Errorf("%s: %d %s", what, code, out)
		}
	}
	e.context(answering(t, "404"))
	if code, out := e.run("policy", "who-can", "start", "-n", "deploy", "--directory"); code == exitOK || !strings.Contains(out, "directory_absent") {
		t.Errorf("a control plane without a directory: %d %s", code, out)
	}
}

// answering answers everything with a text, or as a control plane does that has no such path.
func answering(t *testing.T, text string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if text == "404" {
			control.Problem(w, http.StatusNotFound, "not_found", "there is nothing", "")
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
