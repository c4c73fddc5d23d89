package e2e

import (
	"bufio"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// workerToken is a token of the demo worker's own, by its private key.
func (d *dev) workerToken(t *testing.T) string {
	t.Helper()
	file := filepath.Join(d.state(), "keys", "worker.pem")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	pub := parsed.(*rsa.PrivateKey).PublicKey
	thumbprint := sha256.Sum256([]byte(fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, b64(big.NewInt(int64(pub.E)).Bytes()), b64(pub.N.Bytes())))) // RFC 7638
	creds, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{
		TokenURL: d.context.Issuer + "/v1/token", ClientID: devorg.DeployWorker, Scopes: []string{"temporal.worker"},
		PrivateKeyFile: file, KeyID: b64(thumbprint[:]), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := creds.Token(patience(t))
	if err != nil {
		t.Fatal(err)
	}
	secrets.add("the npm worker's token", token)
	return token
}

// TestNPMWorker: neither client nor worker knows of Bailiwick, and still every act of the run has its actor, in the run and on record.
func TestNPMWorker(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]

	worker := node(t, d, "worker.mjs", d.workerToken(t), "deploy", "TASK_QUEUE=npm")
	var stderr strings.Builder
	worker.Stderr = &stderr
	stop, err := worker.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop.Close()
		if err := worker.Wait(); err != nil {
			t.Errorf("the npm worker: %v\n%s", err, stderr.String())
		}
		secrets.expectNone(t, "the npm worker's output", []byte(stderr.String()))
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the npm worker says %q (%v)\n%s", line, err, stderr.String())
	}

	const id, reason = "npm-order", "CHG-10: an order"
	if r := npm(t, d, alice.token(t), "deploy", "WORKFLOW_ID="+id, "REASON="+reason, "TYPE=order", "TASK_QUEUE=npm", `INPUT="tea"`); r.Error != nil {
		t.Fatalf("alice can't start: %+v", *r.Error)
	}
	r := npm(t, d, carol.token(t), "deploy", "WORKFLOW_ID="+id, "WAIT=1", `UPDATE={"name":"address","args":["Rome"]}`, `SIGNAL={"name":"release","args":[]}`)
	if r.Error != nil || string(r.Result) != `"packed tea to Rome"` {
		t.Fatalf("the run ends with %s, %+v", r.Result, r.Error)
	}

	by := func(run string, kind runs.Kind, name string) string {
		var tl runs.Timeline
		alice.json(t, &tl, "run", "show", run, "--namespace", "deploy")
		i := slices.IndexFunc(tl.Steps, func(s runs.Step) bool { return s.Kind == kind && (name == "" || s.Name == name) })
		switch {
		case i < 0:
			return "not there"
		case tl.Steps[i].Verdict != runs.Verified || tl.Steps[i].Attestation == nil:
			return string(tl.Steps[i].Verdict) + " " + tl.Steps[i].Problem
		}
		return tl.Steps[i].Attestation.Actor.Login
	}
	for _, want := range []struct {
		run       string
		kind      runs.Kind
		name, who string
	}{
		{id, runs.KindStart, "order", alice.login}, {id, runs.KindUpdate, "address", carol.login}, {id, runs.KindSignal, "release", carol.login},
		{id, runs.KindActivity, "pack", alice.login}, {id, runs.KindChild, "send", alice.login},
		{"tea-send", runs.KindStart, "send", alice.login}, {"tea-send", runs.KindActivity, "pack", alice.login},
	} {
		if got := by(want.run, want.kind, want.name); got != want.who {
			t.Errorf("%s of %s is by %q, want %s", want.kind, want.run, got, want.who)
		}
	}

	// On record: who did it, and for the worker's commands on whose behalf.
	type act struct{ action, run, who, behalf string }
	recorded := map[act]bool{}
	for _, e := range auditEntries(t, alice) {
		if e.Decision == nil || !e.Decision.Allow {
			continue
		}
		recorded[act{e.Action, e.Resource.WorkflowID, e.Actor.Login, e.Detail["originator"]}] = true
		for _, a := range e.Acts {
			recorded[act{a.Action, a.Resource.WorkflowID, e.Actor.ClientID, e.Detail["originator_login"]}] = true
		}
	}
	for _, want := range []act{
		{"StartWorkflowExecution", id, alice.login, ""}, {"SignalWorkflowExecution", id, carol.login, ""}, {"UpdateWorkflowExecution", id, carol.login, ""},
		{"Command.StartChildWorkflowExecution", "tea-send", devorg.DeployWorker, alice.login},
	} {
		if !recorded[want] {
			t.Errorf("the log has no %+v", want)
		}
	}
}
