package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// TestRunShowTellsWhoEnded: Temporal keeps no header of a cancellation or termination; the identity that it keeps names the decision, and
// the audit log who made it and why.
func TestRunShowTellsWhoEnded(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]
	asAlice, asCarol := pluginClient(t, d, alice.token(t), "deploy"), pluginClient(t, d, carol.token(t), "deploy")
	defer asAlice.Close()
	defer asCarol.Close()
	ctx := patience(t)
	const id = "ended-1"
	if _, err := asAlice.ExecuteWorkflow(sdkplugin.WithReason(ctx, "CHG-40"), client.StartWorkflowOptions{ID: id, TaskQueue: demo.TaskQueue}, demo.WorkflowDeploy,
		demo.DeployInput{Service: "checkout", Version: "2.0.0", Approval: true}); err != nil {
		t.Fatal(err)
	}
	if err := asCarol.TerminateWorkflow(sdkplugin.WithReason(ctx, "CHG-41: wrong version"), id, "", "never mind"); err != nil {
		t.Fatal(err)
	}
	var tl runs.Timeline
	find := func() int {
		tl = runs.Timeline{}
		alice.json(t, &tl, "run", "show", id, "--namespace", "deploy")
		return slices.IndexFunc(tl.Steps, func(s runs.Step) bool { return s.Kind == runs.KindTerminate })
	}
	i := find()
	for end := time.Now().Add(10 * time.Second); i >= 0 && tl.Steps[i].Decided == nil && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		i = find() // the log's index may be a moment behind
	}
	if i < 0 {
		t.Fatalf("the run was not terminated: %+v", tl)
	}
	s := tl.Steps[i]
	if s.Decided == nil || s.Decided.Actor.Login != carol.login || s.Decided.Reason != "CHG-41: wrong version" || s.Name != "never mind" || s.Problem != "" {
		t.Errorf("the termination is told as %+v, decided %+v", s, s.Decided)
	}
	shown := alice.ok(t, "run", "show", id, "--namespace", "deploy")
	for _, want := range []string{"terminated: “never mind”", carol.login, "CHG-41: wrong version", s.Decision} {
		if !strings.Contains(shown, want) {
			t.Errorf("run show does not tell %q:\n%s", want, shown)
		}
	}
	t.Log("\n" + shown)
}

// TestNextKeyIsPublished: a key file that is put into the running gate's directory is in the published set some seconds later, and signs nothing
// yet.
func TestNextKeyIsPublished(t *testing.T) {
	d := shared(t)
	dir := filepath.Join(d.state(), "keys", "attestation")
	next := filepath.Join(t.TempDir(), "next.pem")
	signer, err := attest.LoadOrCreateSigner(next)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "next.tmp"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "next.tmp"), filepath.Join(dir, "next.pem")); err != nil {
		t.Fatal(err)
	}
	published := func() (key attest.Key, ok bool) {
		_, body := get(d.context.ControlURL + "/.well-known/bailiwick/keys")
		set, err := attest.ParseKeySet([]byte(body))
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, k := range set.Keys() {
			if k.ID == signer.KeyID() {
				return k, true
			}
		}
		return attest.Key{}, false
	}
	key, ok := published()
	for end := time.Now().Add(30 * time.Second); !ok && time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		key, ok = published()
	}
	if !ok || time.Until(key.NotBefore) < 5*time.Minute {
		t.Errorf("published %v, signs from %s", ok, key.NotBefore)
	}
	// Changing one's mind takes it back, so that other tests meet one key.
	if err := os.Remove(filepath.Join(dir, "next.pem")); err != nil {
		t.Fatal(err)
	}
}
