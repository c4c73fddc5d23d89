package oktasetup_test

import (
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/okta/oktatest"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// A plan can be made for the real org that the environment names, if it names one. Nothing is changed in it.
func TestRealOrg(t *testing.T) {
	org := oktatest.FromEnvironment(t)
	s := spec()
	s.Name = "bailiwick-scratch"
	p, err := oktasetup.Make(t.Context(), org.Client, s, oktasetup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if find(t, p, "people").Action != oktasetup.Keep || find(t, p, "server").Action != oktasetup.Create {
		t.Errorf("%s", text(p))
	}
}
