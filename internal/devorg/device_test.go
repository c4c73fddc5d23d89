package devorg

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

func (o *testOrg) startDevice() map[string]any {
	o.t.Helper()
	return o.post("/v1/device/authorize", "client_id", CLIClient, "scope", "openid offline_access temporal").want(200).json()
}

func (o *testOrg) poll(d map[string]any) answer {
	o.t.Helper()
	return o.post("/v1/token", "grant_type", grantDevice, "client_id", CLIClient, "device_code", d["device_code"].(string))
}

func TestDeviceFlow(t *testing.T) {
	o := newTestOrg(t)
	d := o.startDevice()
	if keysOf(d) != "device_code expires_in interval user_code verification_uri verification_uri_complete" || d["expires_in"] != 600.0 || d["interval"] != 5.0 ||
		d["verification_uri"] != o.url+"/activate" || d["verification_uri_complete"] != o.url+"/activate?user_code="+d["user_code"].(string) {
		t.Fatalf("answer %v", d)
	}
	o.poll(d).wantOAuth(400, "authorization_pending")
	o.advance(4 * time.Second)
	o.poll(d).wantOAuth(400, "slow_down") // and from now on ten seconds
	o.advance(9 * time.Second)
	o.poll(d).wantOAuth(400, "slow_down") // and fifteen
	o.advance(15 * time.Second)
	o.poll(d).wantOAuth(400, "authorization_pending")

	b := devorgtest.NewBrowser()
	p, err := b.SignIn(t.Context(), d["verification_uri_complete"].(string), "alice@acme.example", "bailiwick")
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, p.Header, p.Body)
	for _, want := range []string{"Connect Bailiwick CLI ?", d["user_code"].(string), "alice@acme.example", "If someone sent you this code", "temporal"} {
		if !strings.Contains(p.Text(), want) {
			t.Errorf("the page lacks %q: %s", want, p.Text())
		}
	}
	o.advance(20 * time.Second)
	if p, err = b.Submit(t.Context(), p, url.Values{"action": {"approve"}}); err != nil || !strings.Contains(p.Text(), "Device connected") {
		t.Fatalf("%s %v", p.Text(), err)
	}
	tok := o.poll(d).want(200).json()
	_, claims := o.verified(tok["access_token"])
	if claims["uid"] != "00ualice000000000001" || claims["cid"] != CLIClient || claims["auth_time"] != float64(o.clock().Unix()-20) {
		t.Errorf("claims %v", claims)
	}
	o.refresh(tok["refresh_token"].(string)).want(200)
	o.poll(d).wantOAuth(400, "invalid_grant") // redeemed
}

func TestDeviceFlowWithIndependentClient(t *testing.T) {
	o := newTestOrg(t, func(c *Config) { c.DeviceInterval, c.Clock = time.Second, time.Now })
	client := oauth2.Config{ClientID: CLIClient, Scopes: []string{"openid", "temporal"},
		Endpoint: oauth2.Endpoint{DeviceAuthURL: o.issuer + "/v1/device/authorize", TokenURL: o.issuer + "/v1/token"}}
	d, err := client.DeviceAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := devorgtest.NewBrowser().DecideDevice(t.Context(), d.VerificationURIComplete, "bob@acme.example", "bailiwick", true); err != nil {
		t.Fatal(err)
	}
	tok, err := client.DeviceAccessToken(t.Context(), d)
	if err != nil || tok.Type() != "Bearer" {
		t.Fatalf("%v %v", tok, err)
	}
}

func TestDeviceRefusals(t *testing.T) {
	o := newTestOrg(t)
	t.Run("denied", func(t *testing.T) {
		d := o.startDevice()
		if err := devorgtest.NewBrowser().DecideDevice(t.Context(), d["verification_uri_complete"].(string), "alice@acme.example", "bailiwick", false); err != nil {
			t.Fatal(err)
		}
		o.poll(d).wantOAuth(400, "access_denied")
		o.poll(d).wantOAuth(400, "access_denied")
	})
	t.Run("expired", func(t *testing.T) {
		d := o.startDevice()
		o.advance(600 * time.Second)
		o.poll(d).wantOAuth(400, "expired_token")
		if err := devorgtest.NewBrowser().DecideDevice(t.Context(), d["verification_uri_complete"].(string), "alice@acme.example", "bailiwick", true); err == nil {
			t.Error("an expired code could be approved")
		}
	})
	t.Run("decided twice", func(t *testing.T) {
		d := o.startDevice()
		b := devorgtest.NewBrowser()
		p, err := b.SignIn(t.Context(), d["verification_uri_complete"].(string), "alice@acme.example", "bailiwick")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{200, 404} {
			got, err := b.Submit(t.Context(), p, url.Values{"action": {"deny"}})
			if err != nil || got.Status != want {
				t.Errorf("decision %d: %d %v", i+1, got.Status, err)
			}
		}
	})
	t.Run("person deactivated before the device came", func(t *testing.T) {
		d := o.startDevice()
		if err := devorgtest.NewBrowser().DecideDevice(t.Context(), d["verification_uri_complete"].(string), "dave@acme.example", "bailiwick", true); err != nil {
			t.Fatal(err)
		}
		o.api("POST", "/api/v1/users/dave@acme.example/lifecycle/suspend", nil).want(200)
		o.poll(d).wantOAuth(400, "access_denied")
	})
	t.Run("wrong codes and clients", func(t *testing.T) {
		d := o.startDevice()
		o.poll(map[string]any{"device_code": d["user_code"]}).wantOAuth(400, "invalid_grant")
		o.poll(map[string]any{"device_code": ""}).wantOAuth(400, "invalid_grant")
		o.post("/v1/token", "grant_type", grantDevice, "client_id", UIClient, "client_secret", UISecret, "device_code", d["device_code"].(string)).wantOAuth(400, "unauthorized_client")
		o.post("/v1/device/authorize", "client_id", UIClient, "client_secret", UISecret, "scope", "openid").wantOAuth(400, "unauthorized_client")
		o.post("/v1/device/authorize", "client_id", "nobody", "scope", "openid").wantOAuth(401, "invalid_client")
		o.post("/v1/device/authorize", "client_id", CLIClient, "scope", "nonsense").wantOAuth(400, "invalid_scope")
		o.post("/v1/device/authorize", "client_id", CLIClient).wantOAuth(400, "invalid_scope")
	})
	t.Run("forged approval", func(t *testing.T) {
		d := o.startDevice()
		b := devorgtest.NewBrowser()
		p, err := b.SignIn(t.Context(), d["verification_uri_complete"].(string), "alice@acme.example", "bailiwick")
		if err != nil {
			t.Fatal(err)
		}
		for _, fields := range []url.Values{{"action": {"approve"}, "csrf": {""}}, {"action": {"approve"}, "csrf": {newSecret()}}} {
			if got, err := b.Submit(t.Context(), p, fields); err != nil || got.Status != 403 {
				t.Errorf("%v: %d %v", fields, got.Status, err)
			}
		}
		if got, err := b.Submit(t.Context(), p, url.Values{"action": {"perhaps"}}); err != nil || got.Status != 400 {
			t.Errorf("unknown action: %d %v", got.Status, err)
		}
		o.poll(d).wantOAuth(400, "authorization_pending")
	})
}

func TestTypedDeviceCode(t *testing.T) {
	o := newTestOrg(t)
	d := o.startDevice()
	code := d["user_code"].(string)
	p, err := devorgtest.NewBrowser().Open(t.Context(), o.url+"/activate")
	if err != nil || p.Status != 200 || !strings.Contains(p.Body, `name="user_code"`) {
		t.Fatalf("%+v %v", p, err)
	}
	checkPage(t, p.Header, p.Body)
	b := devorgtest.NewBrowser()
	for _, typed := range []string{code, strings.ToLower(code), code[:4] + "-" + code[4:], " " + code + " "} {
		p, err := b.SignIn(t.Context(), o.url+"/activate?"+url.Values{"user_code": {typed}}.Encode(), "alice@acme.example", "bailiwick")
		if err != nil || p.Status != 200 || !strings.Contains(p.Text(), "Approve") {
			t.Errorf("%q: %+v %v", typed, p, err)
		}
	}
	for _, typed := range []string{"BCDFGHJK", "<script>", strings.Repeat("B", 10000)} {
		p, err := b.Open(t.Context(), o.url+"/activate?"+url.Values{"user_code": {typed}}.Encode())
		if err != nil || p.Status != 404 {
			t.Errorf("%.20q: %+v %v", typed, p, err)
			continue
		}
		checkPage(t, p.Header, p.Body)
	}
}
