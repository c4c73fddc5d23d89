package oktakeys_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
)

var clientSteps = []string{"", "plan", "make", "publish", "prove", "switch", "record", "confirm", "retire"}

// Each kind of credential is rotated once, though the answer of any step is lost, and the service can sign in before, in the middle and after.
func TestClientCredentialsAreRotated(t *testing.T) {
	k := newKit(t)
	for _, target := range []rotation.ClientTarget{{ID: devorg.DeployWorker, File: k.file("worker.pem")}, {ID: devorg.ReleaseAgent, File: k.file("agent.secret"), Secret: true}} {
		for _, step := range clientSteps {
			t.Run(step+" "+target.ID, func(t *testing.T) {
				k.fresh()
				old, err := os.ReadFile(target.File)
				k.must(err)
				if step != "" {
					k.lost = "bailiwick-rotation-client-" + step
				}
				k.between = func(step string) {
					if _, err := k.token(t.Context(), target, target.File); err != nil {
						t.Errorf("before %s the service can't sign in: %v", step, err)
					}
				}
				r := k.rotate(rotation.Client, target.ID)
				if r.State != rotation.Rotated || r.Code != "" || r.Next == "" || r.Next == r.Previous {
					t.Fatalf("%+v", r)
				}
				if step != "" && k.runs[k.lost] < 3 {
					t.Errorf("%s ran %d times: no answer was lost", k.lost, k.runs[k.lost])
				}
				now, err := os.ReadFile(target.File)
				if err != nil || string(now) == string(old) {
					t.Errorf("the file was not replaced: %v", err)
				}
				if info, err := os.Stat(target.File); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v, %v", info.Mode(), err)
				}
				if _, err := k.token(t.Context(), target, target.File); err != nil {
					t.Errorf("the service can't sign in: %v", err)
				}
				if n := k.credentials(target); n != 1 {
					t.Errorf("%d credentials at Okta", n)
				}
				k.must(os.WriteFile(k.file("old"), old, 0o600))
				if _, err := k.token(t.Context(), target, k.file("old")); err == nil {
					t.Error("the old credential counts still")
				}
			})
		}
	}
}

func (k *kit) credentials(t rotation.ClientTarget) int {
	k.Helper()
	if t.Secret {
		all, err := k.admin.ClientSecrets(k.Context(), t.ID)
		k.must(err)
		return len(all)
	}
	all, err := k.admin.ClientKeys(k.Context(), t.ID)
	k.must(err)
	return len(all)
}

// A credential that gets no token is never given to the service, and is taken back.
func TestCredentialThatIsRefusedIsUndone(t *testing.T) {
	for _, target := range []rotation.ClientTarget{{ID: devorg.DeployWorker, File: "worker.pem"}, {ID: devorg.ReleaseAgent, File: "agent.secret", Secret: true}} {
		k := newKit(t)
		target.File = k.file(target.File)
		old, err := os.ReadFile(target.File)
		k.must(err)
		k.between = func(step string) {
			if step == "bailiwick-rotation-client-prove" { // somebody puts another one in its place
				if target.Secret {
					k.must(os.WriteFile(target.File+".next", []byte("not-the-secret-that-okta-was-given\n"), 0o600))
				} else {
					pemKey(t, target.File+".next")
				}
			}
		}
		r := k.rotate(rotation.Client, target.ID)
		if r.State != rotation.Aborted || r.Code != "credential_refused" || k.story() != "published aborted" {
			t.Errorf("%+v", r)
		}
		now, err := os.ReadFile(target.File)
		if err != nil || string(now) != string(old) || k.credentials(target) != 1 {
			t.Errorf("%v, %d credentials at Okta", err, k.credentials(target))
		}
		if _, err := os.Stat(target.File + ".next"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the next credential was left: %v", err)
		}
		if _, err := k.token(t.Context(), target, target.File); err != nil {
			t.Errorf("the service can't sign in: %v", err)
		}
	}
}

func TestCredentialsThatCantBeRotated(t *testing.T) {
	k := newKit(t)
	pemKey(t, k.file("worker.pem"))
	if r := k.rotate(rotation.Client, devorg.DeployWorker); r.Code != "credential_unknown" {
		t.Errorf("a key that Okta does not know: %+v", r)
	}
	k.must(os.WriteFile(k.file("worker.pem"), []byte("hello"), 0o600))
	if r := k.rotate(rotation.Client, devorg.DeployWorker); r.Code != "credential_unreadable" {
		t.Errorf("no key: %+v", r)
	}
	if _, err := k.admin.AddClientSecret(t.Context(), devorg.ReleaseAgent, ""); err != nil {
		t.Fatal(err)
	}
	if r := k.rotate(rotation.Client, devorg.ReleaseAgent); r.Code != "secrets_full" || k.credentials(rotation.ClientTarget{ID: devorg.ReleaseAgent, Secret: true}) != 2 {
		t.Errorf("two secrets: %+v", r)
	}
	if r := k.rotate(rotation.Client, "0oanobody"); r.Code != "target_unknown" {
		t.Errorf("%+v", r)
	}
}
