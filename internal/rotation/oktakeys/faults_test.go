package oktakeys_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
)

func countEvents(req *http.Request) (int, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var events []any
	err = json.NewDecoder(res.Body).Decode(&events)
	return len(events), err
}

// What is wrong with Okta for a moment is waited out, wherever it comes; what lasts aborts before the step that can't be undone, and changes nothing.
func TestOktaFailsInTheMiddle(t *testing.T) {
	k := newKit(t)
	k.times.TokenLifetime = time.Nanosecond
	for name, body := range map[string]string{
		"429":       `{"target":"authorizationServers","status":429,"for_seconds":`,
		"503":       `{"target":"authorizationServers","status":503,"for_seconds":`,
		"malformed": `{"target":"authorizationServers","malformed":true,"for_seconds":`,
		"down":      `{"target":"okta","status":502,"for_seconds":`,
	} {
		for _, step := range []string{"plan", "rotate"} {
			t.Run(name+" before "+step, func(t *testing.T) {
				k.fresh()
				before := k.keys()
				k.again = func(s string, n int) {
					switch {
					case s != "bailiwick-rotation-issuer-"+step:
					case n == 1 && name == "429":
						k.fault(body + "1}") // the limit is refilled after that, and the adapter waits for it
					case n == 1:
						k.fault(body + "600}")
					case n == 3:
						k.dev(http.MethodDelete, "")
					}
				}
				if r := k.rotate(rotation.Issuer, server); r.State != rotation.Rotated || k.keys()["ACTIVE"] != before["NEXT"] {
					t.Errorf("%+v", r)
				}
			})
			t.Run(name+" lasting from "+step, func(t *testing.T) {
				k.fresh()
				before := k.keys()
				k.between = func(s string) {
					if s == "bailiwick-rotation-issuer-"+step {
						k.fault(body + "600}")
					}
				}
				r := k.rotate(rotation.Issuer, server)
				want := map[string]string{"429": "okta_rate_limited"}[name]
				if want == "" {
					want = "okta_unavailable"
				}
				if r.State != rotation.Aborted || r.Code != want || r.Fix == "" {
					t.Errorf("%+v", r)
				}
				if after := k.keys(); after["ACTIVE"] != before["ACTIVE"] {
					t.Errorf("before %v, after %v", before, after)
				}
				if len(k.alerts) != 1 {
					t.Errorf("alerts %+v", k.alerts)
				}
			})
		}
	}
}

// The service app loses its rights: told at once, with what to grant.
func TestServiceAppLostItsRights(t *testing.T) {
	for _, step := range []string{"plan", "rotate"} {
		t.Run(step, func(t *testing.T) {
			k := newKit(t)
			before := k.keys()
			k.between = func(s string) {
				if s == "bailiwick-rotation-issuer-"+step {
					k.revokeGrants()
				}
			}
			r := k.rotate(rotation.Issuer, server)
			if step == "plan" && (r.State != rotation.Aborted || r.Code != "okta_forbidden" || r.Fix == "") {
				t.Errorf("%+v", r)
			}
			if active := k.keys()["ACTIVE"]; r.State == rotation.Aborted && active != before["ACTIVE"] || r.State == rotation.Rotated && active != before["NEXT"] {
				t.Errorf("%s: %+v, and %s signs", step, r, active)
			}
		})
	}
}

// revokeGrants takes every scope of the management API from the control plane's app.
func (k *kit) revokeGrants() {
	k.Helper()
	var grants []struct{ ID string }
	k.api(http.MethodGet, "/api/v1/apps/"+devorg.ManagementClient+"/grants", &grants)
	if len(grants) == 0 {
		k.Fatal("there is nothing to revoke")
	}
	for _, g := range grants {
		k.api(http.MethodDelete, "/api/v1/apps/"+devorg.ManagementClient+"/grants/"+g.ID, nil)
	}
}

func (k *kit) api(method, path string, into any) {
	k.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, k.base+path, nil)
	k.must(err)
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	res, err := http.DefaultClient.Do(req)
	k.must(err)
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		k.Fatalf("%s %s: %s", method, path, res.Status)
	}
	if into != nil {
		k.must(json.NewDecoder(res.Body).Decode(into))
	}
}
