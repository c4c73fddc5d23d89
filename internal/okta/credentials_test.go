package okta_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// Rotation needs these: a key and a secret are made, taken up, and the old ones retired.
func TestCredentialsOfAnApp(t *testing.T) {
	base := org(t)
	c := client(t, base, okta.APIToken(devorg.APIToken))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.AddClientKey(t.Context(), devorg.DeployWorker, "new", &key.PublicKey)
	if err != nil || k.Status != "ACTIVE" {
		t.Fatalf("%+v, %v", k, err)
	}
	if err := c.DeleteClientKey(t.Context(), devorg.DeployWorker, k.ID); err == nil {
		t.Error("an active key is deleted")
	}
	if err := c.DeactivateClientKey(t.Context(), devorg.DeployWorker, k.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteClientKey(t.Context(), devorg.DeployWorker, k.ID); err != nil {
		t.Fatal(err)
	}
	if keys, err := c.ClientKeys(t.Context(), devorg.DeployWorker); err != nil || slices.ContainsFunc(keys, func(x okta.ClientKey) bool { return x.ID == k.ID }) {
		t.Errorf("%+v, %v", keys, err)
	}

	s, err := c.AddClientSecret(t.Context(), devorg.ReleaseAgent, "")
	if err != nil || s.Value == "" {
		t.Fatalf("%v, %v", s, err)
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(printed, s.Value) {
		t.Errorf("a secret is printed: %s", printed)
	}
	all, err := c.ClientSecrets(t.Context(), devorg.ReleaseAgent)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, old := range all {
		if old.ID == s.ID {
			continue
		}
		if err := c.DeactivateClientSecret(t.Context(), devorg.ReleaseAgent, old.ID); err != nil {
			t.Fatal(err)
		}
		if err := c.DeleteClientSecret(t.Context(), devorg.ReleaseAgent, old.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.DeactivateClientSecret(t.Context(), devorg.ReleaseAgent, s.ID); err == nil {
		t.Error("the only secret is deactivated")
	}
}

func TestSigningKeysOfAServer(t *testing.T) {
	c := client(t, org(t), okta.APIToken(devorg.APIToken))
	if a, err := c.SetRotationMode(t.Context(), "default", "MANUAL"); err != nil || a.Credentials.Signing.RotationMode != "MANUAL" || !slices.Equal(a.Audiences, []string{"api://temporal"}) || a.Name != "default" {
		t.Fatalf("%+v, %v", a, err)
	}
	active := func(keys []okta.SigningKey) string {
		for _, k := range keys {
			if k.Status == "ACTIVE" {
				return k.KeyID
			}
		}
		return ""
	}
	before, err := c.SigningKeys(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	next := before[slices.IndexFunc(before, func(k okta.SigningKey) bool { return k.Status == "NEXT" })].KeyID
	after, err := c.RotateSigningKeys(t.Context(), "default")
	if err != nil || active(after) != next || active(before) == next {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
}

func TestLifecycleOfAPerson(t *testing.T) {
	c := client(t, org(t), okta.APIToken(devorg.APIToken))
	const bob = "00ubob00000000000001"
	for _, step := range []struct {
		do     func() error
		status string
	}{
		{func() error { return c.Suspend(t.Context(), bob) }, "SUSPENDED"}, {func() error { return c.Unsuspend(t.Context(), bob) }, "ACTIVE"},
		{func() error { return c.Deactivate(t.Context(), bob) }, "DEPROVISIONED"}, {func() error { return c.Activate(t.Context(), bob) }, "ACTIVE"},
		{func() error { return c.EndSessions(t.Context(), bob) }, "ACTIVE"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if u, err := c.User(t.Context(), bob); err != nil || u.Status != step.status || u.Active() != (step.status == "ACTIVE") {
			t.Errorf("%+v, %v; want %s", u, err, step.status)
		}
	}
}
