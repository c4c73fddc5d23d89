package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const goodConfig = `{"state_dir":"/s","name":"dev","audience":"bailiwick:dev","host":"127.0.0.1","grpc_port":7233,"http_port":7243,"ui_port":8233,
 "namespaces":["default","payments","deploy"],"issuers":[{"url":"http://127.0.0.1:9080/oauth2/default","audiences":["api://temporal"]}],
 "policy_dir":"/p","journal_dir":"/j","attestation_key":"/k",
 "ui":{"enabled":true,"issuer":"http://127.0.0.1:9080/oauth2/default","client_id":"c","client_secret":"s","callback_url":"http://localhost:8233/auth/sso/callback"}}`

func TestConfig(t *testing.T) {
	if _, err := parseConfig([]byte(goodConfig)); err != nil {
		t.Fatalf("the good config: %v", err)
	}
	change := func(from, to string) string {
		if !strings.Contains(goodConfig, from) {
			t.Fatalf("%q is not in the good config", from)
		}
		return strings.Replace(goodConfig, from, to, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", "parsing"},
		"not an object":      {"[]", "parsing"},
		"text after it":      {goodConfig + "{}", "after the end"},
		"unknown key":        {change(`"name"`, `"nmae"`), "nmae"},
		"key twice":          {change(`"name":"dev"`, `"name":"dev","name":"prod"`), "twice"},
		"key twice by case":  {change(`"name":"dev"`, `"name":"dev","NAME":"prod"`), "twice"},
		"nested key twice":   {change(`"client_id":"c"`, `"client_id":"c","client_id":"d"`), "ui.client_id"},
		"relative state":     {change(`"/s"`, `"s"`), "state_dir must be an absolute path"},
		"state with ?":       {change(`"/s"`, `"/s?mode=memory"`), "state_dir must not contain"},
		"no policy":          {change(`"policy_dir":"/p",`, ``), "either policy_dir or policy_bundle"},
		"both policies":      {change(`"policy_dir":"/p"`, `"policy_dir":"/p","policy_bundle":{}`), "either policy_dir or policy_bundle"},
		"bundle without key": {change(`"policy_dir":"/p"`, `"policy_bundle":{"url":"https://x.example/b","cache_dir":"/c"}`), "policy_bundle.keys"},
		"bundle with junk":   {change(`"policy_dir":"/p"`, `"policy_bundle":{"url":"https://x.example/b","cache_dir":"/c","keys":["/no/such.pub"]}`), "policy_bundle.keys[0]"},
		"standing":           {change(`"policy_dir":"/p"`, `"policy_dir":"/p","standing":{"url":"https://x.example/v1/standing","token_file":"/t","keys":["/no/such.pub"],"cache":"/c"}`), "standing.keys[0]"},
		"standing token":     {change(`"policy_dir":"/p"`, `"policy_dir":"/p","standing":{"url":"https://x.example/v1/standing","keys":["x"],"cache":"/c"}`), "standing.token_file"},
		"standing staleness": {change(`"policy_dir":"/p"`, `"policy_dir":"/p","standing":{"url":"https://x.example/v1/standing","token_file":"/t","keys":["x"],"cache":"c","max_stale":"soon"}`), "standing.max_stale"},
		"relative cache":     {change(`"policy_dir":"/p"`, `"policy_dir":"/p","standing":{"url":"https://x.example/v1/standing","token_file":"/t","keys":["x"],"cache":"c"}`), "standing.cache must be an absolute path"},
		"not loopback":       {change(`"host":"127.0.0.1"`, `"host":"0.0.0.0"`), "loopback"},
		"host name":          {change(`"host":"127.0.0.1"`, `"host":"localhost"`), "loopback"},
		"port 0":             {change(`"grpc_port":7233`, `"grpc_port":0`), "grpc_port must be between"},
		"port too large":     {change(`"http_port":7243`, `"http_port":72430`), "http_port must be between"},
		"ports alike":        {change(`"http_port":7243`, `"http_port":7233`), "are both 7233"},
		"namespace":          {change(`"payments"`, `"pay:ments"`), "namespaces[1]"},
		"namespace twice":    {change(`"payments"`, `"deploy"`), "twice"},
		"no issuers":         {change(`[{"url":"http://127.0.0.1:9080/oauth2/default","audiences":["api://temporal"]}]`, `[]`), "issuers is empty"},
		"no audience":        {change(`["api://temporal"]`, `[]`), "audiences is empty"},
		"bad lifetime":       {change(`"audiences":["api://temporal"]`, `"audiences":["api://temporal"],"max_lifetime":"1 hour"`), "max_lifetime"},
		"ui without secret":  {change(`"client_secret":"s"`, `"client_secret":""`), "client_secret"},
		"ui without issuer":  {change(`"issuer":"http://127.0.0.1:9080/oauth2/default"`, `"issuer":"devorg"`), "ui.issuer"},
		"ui callback":        {change(`/auth/sso/callback`, `/callback`), "ui.callback_url"},
		"port as text":       {change(`7233`, `"7233"`), "parsing"},
		"broken off":         {goodConfig[:200], "parsing"},
		"ui port without ui": {change(`"ui_port":8233`, `"ui_port":-1`), "ui_port"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not mention %q", err, c.want)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := parseConfig([]byte(`{}`))
		for _, want := range []string{"state_dir", "policy_dir", "journal_dir", "attestation_key", "name is", "audience", "grpc_port", "issuers"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not mention %s: %v", want, err)
			}
		}
	})
}

// FuzzConfig checks that no text panics the parser and that what is accepted is accepted again after a round trip.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte(`{"ui":{"enabled":true,"enabled":false}}`))
	f.Add([]byte(`{"namespaces":[[[[]]]]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseConfig(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseConfig(again); err != nil {
			t.Errorf("accepted once, refused again: %v", err)
		}
	})
}
