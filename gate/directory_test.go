package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// org is a directory that tests change.
type org struct {
	mu     sync.Mutex
	person standing.Person
	err    error
	asked  int
	held   chan struct{} // answers wait until it is closed; nil: they don't
	clock  func() time.Time
	old    time.Duration // how old its answers are
}

func (o *org) Person(_ context.Context, principal string) (standing.Person, error) {
	o.mu.Lock()
	o.asked++
	held := o.held
	o.mu.Unlock()
	if held != nil {
		<-held
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.person
	p.Principal, p.AsOf = principal, o.clock().Add(-o.old)
	return p, o.err
}

func (o *org) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *org) times() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

type directoryKit struct {
	*standingKit
	org *org
}

func newDirectoryKit(t *testing.T, policies string) *directoryKit {
	t.Helper()
	s := &standingKit{state: &standing.State{}}
	k := &directoryKit{s, &org{clock: s.clock, person: standing.Person{Login: erin, Active: true, Groups: []string{"temporal:deploy:write"}}}}
	s.kit = newKitWith(t, policies, gate.Config{Standing: s.state, Clock: s.clock, Directory: k.org, DirectoryLimits: gate.DirectoryConfig{Wait: time.Minute}})
	return k
}

// token is one of erin's, which leaves groups out.
func (k *directoryKit) token(more map[string]any) string {
	claims := map[string]any{
		"sub": erin, "uid": bailiwicktest.UID(erin), "groups": []string{"staff"}, "_claim_names": map[string]string{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]string{"endpoint": "https://nowhere.example"}},
	}
	maps.Copy(claims, more)
	return k.issuer.Token(claims)
}

func (k *directoryKit) start(t *testing.T, token string) (string, error) {
	t.Helper()
	_, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), token))
	if err == nil {
		return "", nil
	}
	return denial(t, err).Code, err
}

// Groups that the token leaves out are looked up once, remembered, asked for again when they are not fresh, and refused when they are too old.
func TestGroupsAreLookedUp(t *testing.T) {
	k := newDirectoryKit(t, "")
	token := k.token(nil)
	for range 3 {
		if code, err := k.start(t, token); code != "" {
			t.Fatal(err)
		}
	}
	if k.org.times() != 1 {
		t.Errorf("asked %d times", k.org.times())
	}
	e := k.log.last(t)
	if !slices.Equal(e.Actor.Groups, []string{"staff", "temporal:deploy:write"}) || e.Detail["directory_as_of"] == "" {
		t.Errorf("the entry does not say by what it was decided: %+v %v", e.Actor, e.Detail)
	}
	k.now.Add(int64(2 * time.Minute))
	k.org.set(func() { k.org.person.Groups = []string{"temporal:deploy:read"} })
	if code, err := k.start(t, token); code != string(policy.CodeNoPermission) {
		t.Errorf("after the group was taken away: %v", err)
	}
	k.org.set(func() { k.org.person.Groups = []string{"temporal:deploy:write"} })
	k.now.Add(int64(2 * time.Minute))
	if code, err := k.start(t, token); code != "" {
		t.Fatal(err)
	}

	// The directory is down: what is known goes on to its limit, and is not asked for with each call.
	k.org.set(func() { k.org.err = errors.New("down") })
	k.now.Add(int64(10 * time.Minute))
	before := k.org.times()
	for range 3 {
		if code, err := k.start(t, token); code != "" {
			t.Fatal(err)
		}
	}
	if n := k.org.times() - before; n != 1 {
		t.Errorf("asked %d times while it is down", n)
	}
	k.now.Add(int64(6 * time.Minute))
	code, err := k.start(t, token)
	if code != gate.CodeDirectoryStale || denial(t, err).GRPCStatus().Code() != codes.Unavailable || !strings.Contains(err.Error(), "15m0s is the limit") {
		t.Errorf("facts of 16 minutes ago: %v", err)
	}
	if _, err := k.start(t, k.issuer.User(erin, "temporal:deploy:write")); err != nil {
		t.Errorf("a token that leaves nothing out: %v", err)
	}
	k.org.set(func() { k.org.err = nil })
	k.now.Add(int64(time.Minute))
	if code, err := k.start(t, token); code != "" {
		t.Errorf("after it came back: %v", err)
	}

	// Answers that are old themselves: the control plane's copy.
	k.now.Add(int64(2 * time.Minute))
	k.org.set(func() { k.org.old = time.Hour })
	if code, err := k.start(t, token); code != "" { // what was known is younger
		t.Errorf("older facts took the place of younger ones: %v", err)
	}
	k.now.Add(int64(20 * time.Minute))
	if code, err := k.start(t, token); code != gate.CodeDirectoryStale {
		t.Errorf("facts of an hour ago: %q %v", code, err)
	}
}

// Nothing is opened by what can't be known.
func TestUnknownGroupsAreRefused(t *testing.T) {
	k := newDirectoryKit(t, "")
	k.org.set(func() { k.org.err = errors.New("down") })
	code, err := k.start(t, k.token(map[string]any{"groups": []string{"temporal:deploy:write"}}))
	if code != gate.CodeDirectoryUnavailable || !strings.Contains(err.Error(), "bailiwick directory status") {
		t.Errorf("although the group in the token would do, one that forbids may be left out: %v", err)
	}
	none := newKit(t, "")
	if _, err := none.Admit(t.Context(), none.call("StartWorkflowExecution", startRequest(), none.issuer.Token(map[string]any{
		"sub": erin, "uid": "00u1", "groups": []string{"temporal:deploy:write"}, "_claim_names": map[string]string{"groups": "x"},
	}))); denial(t, err).Code != gate.CodeDirectoryUnavailable || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("a gate without a directory: %v", err)
	}
	gone := newDirectoryKit(t, "")
	gone.org.set(func() { gone.org.person.Active = false })
	if code, err := gone.start(t, gone.token(nil)); code != gate.CodeRevoked {
		t.Errorf("who is not active: %v", err)
	}
}

// Calls of one person that come together ask once.
func TestLookUpsAreJoined(t *testing.T) {
	k := newDirectoryKit(t, "")
	k.org.held = make(chan struct{})
	token := k.token(nil)
	var calls sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		calls.Go(func() {
			_, errs[i] = k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), token))
		})
	}
	for end := time.Now().Add(time.Minute); k.org.times() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(k.org.held)
	calls.Wait()
	if err := errors.Join(errs...); err != nil || k.org.times() != 1 {
		t.Errorf("asked %d times, %v", k.org.times(), err)
	}
}

// A group that a signal took away counts no more, although remembered facts have it and the token is newer than the signal.
func TestSignalsWinOverFacts(t *testing.T) {
	k := newDirectoryKit(t, "")
	token := k.token(nil)
	if code, err := k.start(t, token); code != "" {
		t.Fatal(err)
	}
	bar := standing.Bar{ID: "b", Principal: k.principal(erin), Group: "temporal:deploy:write", Before: k.clock().Add(5 * time.Second), Reason: "group_removed", Since: k.clock()}
	k.apply(t, standing.Event{Kind: standing.EventBar, Bar: &bar})
	k.now.Add(int64(20 * time.Second))
	later := k.token(map[string]any{"iat": k.clock().Unix(), "exp": k.clock().Add(time.Hour).Unix()})
	for name, token := range map[string]string{"the token from before": token, "one from after": later} {
		if code, err := k.start(t, token); code != string(policy.CodeNoPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A standing that is newer than the facts is news of the same directory.
	k.apply(t, standing.Event{ID: "unbar", Kind: standing.EventUnbar, Bar: &bar},
		standing.Event{ID: "person", Kind: standing.EventPerson, Person: &standing.Person{Principal: k.principal(erin), Active: true, Groups: []string{"staff"}, AsOf: k.clock()}})
	if code, err := k.start(t, later); code != string(policy.CodeNoPermission) {
		t.Errorf("the standing has no such group any more: %v", err)
	}
}

// Attributes of the profile are looked up where policies read them and the token does not bring them, and for nobody else.
func TestProfilesAreLookedUp(t *testing.T) {
	k := newDirectoryKit(t, "")
	own := k.issuer.User(erin)
	if code, _ := k.start(t, own); code != string(policy.CodeNoPermission) || k.org.times() != 0 {
		t.Fatalf("%s, asked %d times", code, k.org.times())
	}
	roles := filepath.Join(k.policies, policy.RolesFile)
	before, err := os.ReadFile(roles)
	if err != nil {
		t.Fatal(err)
	}
	after := string(before) + "\nattributes:\n  - { name: cost_center, claim: cost, profile: costCenter, type: string }\n"
	if err := os.WriteFile(roles, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}
	k.setPolicies(t, `@id("center") permit (principal, action == Action::"StartWorkflowExecution", resource)
when { principal.attributes has cost_center && principal.attributes.cost_center == "42" };`)
	k.org.set(func() { k.org.person.Profile = map[string]json.RawMessage{"costCenter": json.RawMessage(`"42"`)} })
	if code, err := k.start(t, own); code != "" || k.org.times() != 1 {
		t.Errorf("asked %d times: %v", k.org.times(), err)
	}
	if code, err := k.start(t, k.issuer.Token(map[string]any{"sub": erin, "uid": bailiwicktest.UID(erin), "cost": "42"})); code != "" || k.org.times() != 1 {
		t.Errorf("in the token; asked %d times: %v", k.org.times(), err)
	}
	if code, err := k.start(t, k.issuer.Client("0oaservice")); code != string(policy.CodeNoPermission) || k.org.times() != 1 {
		t.Errorf("a service; asked %d times: %v", k.org.times(), err)
	}
	k.org.set(func() { k.org.person.Profile = map[string]json.RawMessage{"costCenter": json.RawMessage(`42`)} })
	k.now.Add(int64(2 * time.Minute))
	if code, err := k.start(t, own); code != string(policy.CodeAttribute) {
		t.Errorf("another type: %v", err)
	}
}

// Somebody in thousands of groups is decided by all of them, and what is recorded stays within what the journal takes.
func TestManyGroups(t *testing.T) {
	k := newDirectoryKit(t, "")
	k.org.set(func() {
		for i := range 3000 {
			k.org.person.Groups = append(k.org.person.Groups, fmt.Sprintf("a-group-of-the-usual-length-%d", i))
		}
		slices.Reverse(k.org.person.Groups)
	})
	if code, err := k.start(t, k.token(nil)); code != "" {
		t.Fatal(err)
	}
	e := k.log.last(t)
	if !slices.Equal(e.Actor.Groups, []string{"staff"}) || e.Detail["groups_omitted"] != "3001" {
		t.Errorf("%d groups, %v", len(e.Actor.Groups), e.Detail)
	}
}
