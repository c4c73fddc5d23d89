package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
)

// sameAsCedar holds our own evaluation of a set against Cedar's, on requests of the dice.
func sameAsCedar(t *testing.T, s *Set, d dice, requests int, text string) {
	t.Helper()
	all := cedar.PolicyMap{}
	for id, r := range s.policies {
		all[id] = r.compiled
	}
	for range requests {
		req := d.request()
		got := asked(s, &req)
		allow, want := evaluateAll(s, all, s.index.methods[req.Action], &req)
		if got.verdict() != verdict(bool(allow), want) {
			t.Fatalf("%+v of %+v\nours  %s\nCedar %s\n%s", req, req.Principal, got.verdict(), verdict(bool(allow), want), text)
		}
	}
}

// FuzzQuickDice: whatever policies and requests the dice make, the short way comes to what Cedar comes to.
func FuzzQuickDice(f *testing.F) {
	f.Add(uint64(1), uint64(2), 3)
	f.Add(uint64(20), uint64(26), 25)
	f.Fuzz(func(t *testing.T, a, b uint64, n int) {
		d := dice{rand.New(rand.NewPCG(a, b))}
		s, texts := d.set(t, 1+int(uint(n)%25))
		sameAsCedar(t, s, d, 12, strings.Join(texts, ""))
	})
}

// FuzzQuickText: so it is with any policy that Cedar can parse, type-checked or not.
func FuzzQuickText(f *testing.F) {
	d := dice{rand.New(rand.NewPCG(15, 16))}
	for i := range 200 {
		f.Add(d.policy(i, d.of("permit", "forbid")), uint64(i))
	}
	for _, name := range []string{"roles.cedar", "guardrails.cedar", "access.cedar"} {
		f.Add(string(starterText(f, name)), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		if _, long := longRule(file{"x.cedar", []byte(text)}); long || len(text) > 16<<10 {
			return
		}
		list, err := cedar.NewPolicyListFromBytes("x.cedar", []byte(text))
		if err != nil || len(list) == 0 {
			return
		}
		roles, _ := parseRoles([]byte(diceRoles))
		rules := make([]*rule, len(list))
		for i, p := range list {
			rules[i] = newRule("x.cedar", p)
			rules[i].id = fmt.Sprintf("p%d", i)
		}
		s, err := newSet(rules, roles)
		if err != nil {
			t.Fatal(err)
		}
		sameAsCedar(t, s, dice{rand.New(rand.NewPCG(seed, 17))}, 24, text)
	})
}
