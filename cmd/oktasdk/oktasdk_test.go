package oktasdk

import (
	"strings"
	"testing"
	"time"

	sdk "github.com/okta/okta-sdk-golang/v6/okta"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
)

// client is the SDK's, set as its documentation says but for the port, which its configuration drops.
func client(t *testing.T) *sdk.APIClient {
	t.Helper()
	base, _ := orgtest.Start(t, devorg.Config{})
	cfg, err := sdk.NewConfiguration(sdk.WithOrgUrl(base), sdk.WithToken(devorg.APIToken), sdk.WithTestingDisableHttpsCheck(true), sdk.WithCache(false),
		sdk.WithRateLimitMaxRetries(4), sdk.WithRateLimitMaxBackOff(30))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Host = strings.TrimPrefix(base, "http://")
	return sdk.NewAPIClient(cfg)
}

func TestPeopleAndGroups(t *testing.T) {
	c, ctx := client(t), t.Context()
	profile := sdk.NewUserProfile()
	profile.SetLogin("grace@acme.example")
	profile.SetEmail("grace@acme.example")
	profile.SetFirstName("Grace")
	profile.SetLastName("Green")
	made, _, err := c.UserAPI.CreateUser(ctx).Body(*sdk.NewCreateUserRequest(*profile)).Activate(true).Execute()
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := c.UserAPI.GetUser(ctx, made.GetId()).Execute()
	if err != nil || got.GetStatus() != "ACTIVE" || got.Profile.GetLogin() != "grace@acme.example" {
		t.Errorf("%+v, %v", got, err)
	}
	people, _, err := c.UserAPI.ListUsers(ctx).Search(`profile.login eq "grace@acme.example"`).Execute()
	if err != nil || len(people) != 1 {
		t.Errorf("%d people, %v", len(people), err)
	}
	p := sdk.NewOktaUserGroupProfile()
	p.SetName("temporal:search:read")
	p.SetDescription("made by Okta's SDK")
	group, _, err := c.GroupAPI.AddGroup(ctx).Group(sdk.AddGroupRequest{Profile: p}).Execute()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GroupAPI.AssignUserToGroup(ctx, group.GetId(), made.GetId()).Execute(); err != nil {
		t.Fatal(err)
	}
	members, _, err := c.GroupAPI.ListGroupUsers(ctx, group.GetId()).Execute()
	if err != nil || len(members) != 1 || members[0].GetId() != made.GetId() {
		t.Errorf("%d members, %v", len(members), err)
	}
	groups, _, err := c.GroupAPI.ListGroups(ctx).Q("temporal:search").Execute()
	if err != nil || len(groups) != 1 {
		t.Errorf("%d groups, %v", len(groups), err)
	}
	if _, res, err := c.GroupAPI.GetGroup(ctx, "00gnone").Execute(); err == nil || res.StatusCode != 404 {
		t.Errorf("a group that is not there: %v", err)
	}
	events, _, err := c.SystemLogAPI.ListLogEvents(ctx).Since(time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)).Filter(`eventType eq "group.user_membership.add"`).Execute()
	if err != nil || len(events) == 0 || events[len(events)-1].GetEventType() != "group.user_membership.add" {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestAppsAndAuthorizationServers(t *testing.T) {
	c, ctx := client(t), t.Context()
	app := sdk.NewOpenIdConnectApplicationWithDefaults()
	app.SetName("oidc_client")
	app.SetLabel("Made by Okta's SDK")
	app.SetSignOnMode("OPENID_CONNECT")
	oauth := sdk.NewApplicationCredentialsOAuthClient()
	oauth.SetTokenEndpointAuthMethod("client_secret_basic")
	credentials := sdk.NewOAuthApplicationCredentials()
	credentials.SetOauthClient(*oauth)
	app.SetCredentials(*credentials)
	settings := sdk.NewOpenIdConnectApplicationSettingsWithDefaults()
	client := sdk.NewOpenIdConnectApplicationSettingsClientWithDefaults()
	client.SetApplicationType("web")
	client.SetGrantTypes([]string{"authorization_code", "refresh_token"})
	client.SetResponseTypes([]string{"code"})
	client.SetRedirectUris([]string{"https://temporal.acme.com/auth/sso/callback"})
	settings.SetOauthClient(*client)
	app.SetSettings(*settings)
	made, _, err := c.ApplicationAPI.CreateApplication(ctx).Application(sdk.ListApplications200ResponseInner{OpenIdConnectApplication: app}).Execute()
	if err != nil {
		t.Fatal(err)
	}
	got := made.OpenIdConnectApplication
	if got == nil || got.GetLabel() != "Made by Okta's SDK" || got.Credentials.OauthClient.GetClientId() != got.GetId() || got.Settings.OauthClient.GetApplicationType() != "web" {
		t.Errorf("%+v", got)
	}
	apps, _, err := c.ApplicationAPI.ListApplications(ctx).Execute()
	if err != nil || len(apps) != 7 {
		t.Errorf("%d apps, %v", len(apps), err)
	}

	as := sdk.NewAuthorizationServer()
	as.SetName("Made by Okta's SDK")
	as.SetDescription("d")
	as.SetAudiences([]string{"api://sdk"})
	server, _, err := c.AuthorizationServerAPI.CreateAuthorizationServer(ctx).AuthorizationServer(*as).Execute()
	if err != nil {
		t.Fatal(err)
	}
	servers, _, err := c.AuthorizationServerAPI.ListAuthorizationServers(ctx).Execute()
	if err != nil || len(servers) != 2 {
		t.Errorf("%d servers, %v", len(servers), err)
	}
	scope := sdk.NewOAuth2Scope("temporal")
	if _, _, err := c.AuthorizationServerScopesAPI.CreateOAuth2Scope(ctx, server.GetId()).OAuth2Scope(*scope).Execute(); err != nil {
		t.Error(err)
	}
	scopes, _, err := c.AuthorizationServerScopesAPI.ListOAuth2Scopes(ctx, server.GetId()).Execute()
	if err != nil || len(scopes) != 6 {
		t.Errorf("%d scopes, %v", len(scopes), err)
	}
	policies, _, err := c.AuthorizationServerPoliciesAPI.ListAuthorizationServerPolicies(ctx, "default").Execute()
	if err != nil || len(policies) != 1 || policies[0].GetName() != "Default Policy" {
		t.Errorf("%d policies, %v", len(policies), err)
	}
	rules, _, err := c.AuthorizationServerRulesAPI.ListAuthorizationServerPolicyRules(ctx, "default", policies[0].GetId()).Execute()
	if err != nil || len(rules) != 1 || rules[0].Actions.Token.GetAccessTokenLifetimeMinutes() != 60 {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	keys, _, err := c.AuthorizationServerKeysAPI.ListAuthorizationServerKeys(ctx, server.GetId()).Execute()
	if err != nil || len(keys) == 0 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}
