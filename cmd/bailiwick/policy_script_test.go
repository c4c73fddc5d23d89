package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// makeTraffic JOURNAL POLICIES writes a real journal of calls that the policies decided, keeps these beside it, and makes a context "here" of
// the two. The calls lie in the last two days.
func makeTraffic() {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "mktraffic:", err)
			os.Exit(1)
		}
	}
	dir, policies := os.Args[1], os.Args[2]
	set, err := policy.LoadSet(policies)
	check(err)
	journal, err := audit.OpenJournal(audit.JournalConfig{Dir: dir})
	check(err)
	_, err = blobs.Put(blobs.Beside(dir), set.Archive())
	check(err)
	n := 0
	write := func(e audit.Entry) {
		n++
		e.Version, e.ID, e.Gate = audit.EntryVersion, fmt.Sprintf("0193%04d-0000-7000-8000-000000000000", n), "dev"
		_, err := journal.Append(context.Background(), e)
		check(err)
	}
	begin := time.Now().UTC().Add(-48 * time.Hour).Truncate(time.Second)
	write(audit.Entry{Time: begin, Kind: audit.KindGate, Actor: audit.Party{Principal: "gate:dev"}, Detail: map[string]string{"event": "started", "policy_digest": set.Digest()}})

	call := func(hours int, who identity.Claims, action, reason string, r policy.Resource) {
		at := begin.Add(time.Duration(hours) * time.Hour)
		if who.Kind == "" {
			who.Kind, who.Issuer, who.ClientID = identity.User, "https://idp.example", "cli"
			who.ID, who.AuthTime = "00u-"+who.Login, at.Add(-10*time.Minute)
		}
		d := set.Decide(policy.Request{Principal: &who, Action: action, Resource: r, Context: policy.Context{Now: at, Reason: reason}})
		act, _ := policy.LookupAction(action)
		write(audit.Entry{Time: at, Kind: audit.KindDecision, Action: action, Access: string(act.Access), Resource: r, Reason: reason, Decision: &d,
			Actor: audit.Party{Principal: who.Principal(), Login: who.Login, ClientID: who.ClientID, Groups: who.Groups, AuthTime: who.AuthTime}})
	}
	alice := identity.Claims{Login: "alice@acme.example", Groups: []string{"temporal:deploy:write", "temporal:payments:read"}}
	bob := identity.Claims{Login: "bob@acme.example", Groups: []string{"temporal:payments:write"}}
	erin := identity.Claims{Login: "erin@acme.example"}
	agent := identity.Claims{Kind: identity.Client, Issuer: "https://idp.example", ID: "0oareleaseagent00001", ClientID: "0oareleaseagent00001", Login: "0oareleaseagent00001"}
	evil := identity.Claims{Login: "mallory\x1b]0;owned\x07@acme.example", Groups: []string{"temporal:deploy:write", "red\x1b[31m"}}
	run := func(ns, id string) policy.Resource {
		return policy.Resource{Namespace: ns, WorkflowID: id, WorkflowType: "deploy", TaskQueue: "deploy"}
	}
	call(1, alice, "StartWorkflowExecution", "CHG-7", run("deploy", "ship-1"))  // 3
	call(2, alice, "StartWorkflowExecution", "", run("payments", "pay-1"))      // refused
	call(3, bob, "TerminateWorkflowExecution", "", run("payments", "pay-2"))    // refused: no reason
	call(4, bob, "TerminateWorkflowExecution", "dup", run("payments", "pay-2")) // allowed
	call(5, erin, "ListWorkflowExecutions", "", policy.Resource{Namespace: "deploy"})
	call(30, agent, "StartWorkflowExecution", "", run("deploy", "ship-2"))
	call(31, alice, "StartWorkflowExecution", "CHG-8", run("deploy", "ship-3"))
	call(32, evil, "StartWorkflowExecution", "", run("deploy", "evil-\x1b[2J\u202egnp"))
	write(audit.Entry{Time: begin.Add(33 * time.Hour), Kind: audit.KindDecision, Action: "StartWorkflowExecution", Access: "operate",
		Decision: &policy.Decision{Code: "token_expired", Reasons: []string{"it expired"}}})
	// A start that may terminate what is under way is two acts.
	d := set.Decide(policy.Request{Principal: &identity.Claims{Kind: identity.User, Issuer: "i", ID: "x", Groups: alice.Groups}, Action: "StartWorkflowExecution", Resource: run("deploy", "ship-4")})
	write(audit.Entry{Time: begin.Add(34 * time.Hour), Kind: audit.KindDecision, Action: "StartWorkflowExecution", Access: "operate", Resource: run("deploy", "ship-4"), Reason: "CHG-9",
		Actor: audit.Party{Principal: "user:https://idp.example|00u-" + alice.Login, Login: alice.Login, Groups: alice.Groups}, Decision: &d,
		Acts: []audit.Act{{Action: "TerminateWorkflowExecution", Resource: run("deploy", "ship-4")}}})
	check(journal.Close())

	abs, err := filepath.Abs(policies)
	check(err)
	c := login.Context{Name: "here", Issuer: "https://idp.example", ClientID: "cli", Address: "127.0.0.1:7233", JournalDir: dir, PolicyDir: abs, DefaultNamespace: "deploy",
		Namespaces: []string{"deploy", "payments"}}
	check(c.Save())
}

// recordRefusal appends what the server plugin records when the policies in force stay because new ones don't load.
func recordRefusal(journal, policies string) error {
	_, err := policy.LoadSet(policies)
	var wrong *policy.LoadError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("the policies should not load: %w", err)
	}
	r, err := audit.OpenReader(journal, 0)
	if err != nil {
		return err
	}
	_, raw, err := r.Next()
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	started, err := audit.ParseEntry(raw)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(wrong.Error()))
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: journal})
	if err != nil {
		return err
	}
	_, err = j.Append(context.Background(), audit.Entry{Version: audit.EntryVersion, ID: "01939999-0000-7000-8000-000000000000", Time: time.Now().UTC(), Kind: audit.KindPolicy, Gate: "dev",
		Actor: audit.Party{Principal: "gate:dev"}, Detail: map[string]string{"policy_digest": started.Detail["policy_digest"], "bundle_serial": "7", "bundle_expires": "2099-01-31T00:00:00Z", "error_digest": hex.EncodeToString(sum[:])}})
	return errors.Join(err, j.Close())
}
