package oktasetup

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// tfKind is how one kind of thing is written for Okta's Terraform provider.
type tfKind struct {
	resource string
	parents  []tfAttr // attributes that refer to what it belongs to, by key
	attrs    []tfAttr // settings, by their paths
	imports  string   // the id that an import takes; "{}" is the thing's own
}

type tfAttr struct{ name, from string }

// tfKinds are the resources of the provider okta/okta, from version 4.
func tfKinds() map[string]tfKind {
	server := tfAttr{"auth_server_id", "{server}"}
	return map[string]tfKind{
		"authorization server": {"okta_auth_server", nil, []tfAttr{{"name", "name"}, {"description", "description"}, {"audiences", "audiences"}, {"status", "status"}}, "{}"},
		"scope": {"okta_auth_server_scope", []tfAttr{server}, []tfAttr{{"name", "name"}, {"display_name", "displayName"}, {"description", "description"}, {"consent", "consent"}, {"default", "default"},
			{"metadata_publish", "metadataPublish"}}, "{server}/{}"},
		"claim": {"okta_auth_server_claim", []tfAttr{server}, []tfAttr{{"name", "name"}, {"claim_type", "claimType"}, {"value_type", "valueType"}, {"group_filter_type", "group_filter_type"}, {"value", "value"},
			{"always_include_in_token", "alwaysIncludeInToken"}, {"scopes", "conditions.scopes"}, {"status", "status"}}, "{server}/{}"},
		"policy": {"okta_auth_server_policy", []tfAttr{server}, []tfAttr{{"name", "name"}, {"description", "description"}, {"client_whitelist", "conditions.clients.include"}, {"status", "status"}}, "{server}/{}"},
		"rule": {"okta_auth_server_policy_rule", []tfAttr{server}, []tfAttr{{"name", "name"}, {"grant_type_whitelist", "conditions.grantTypes.include"}, {"scope_whitelist", "conditions.scopes.include"},
			{"group_whitelist", "conditions.people.groups.include"}, {"access_token_lifetime_minutes", "actions.token.accessTokenLifetimeMinutes"}, {"refresh_token_lifetime_minutes", "actions.token.refreshTokenLifetimeMinutes"},
			{"refresh_token_window_minutes", "actions.token.refreshTokenWindowMinutes"}, {"status", "status"}}, ""},
		"app": {"okta_app_oauth", nil, []tfAttr{{"label", "label"}, {"admin_note", "settings.notes.admin"}, {"type", "settings.oauthClient.application_type"}, {"grant_types", "settings.oauthClient.grant_types"},
			{"response_types", "settings.oauthClient.response_types"}, {"token_endpoint_auth_method", "credentials.oauthClient.token_endpoint_auth_method"}, {"pkce_required", "credentials.oauthClient.pkce_required"},
			{"redirect_uris", "settings.oauthClient.redirect_uris"}, {"post_logout_redirect_uris", "settings.oauthClient.post_logout_redirect_uris"}, {"refresh_token_rotation", "settings.oauthClient.refresh_token.rotation_type"},
			{"refresh_token_leeway", "settings.oauthClient.refresh_token.leeway"}, {"consent_method", "settings.oauthClient.consent_method"}, {"status", "status"}}, "{}"},
		"group":      {"okta_group", nil, []tfAttr{{"name", "profile.name"}, {"description", "profile.description"}}, "{}"},
		"assignment": {"okta_app_group_assignment", nil, nil, ""},
		"role":       {"okta_app_oauth_role_assignment", []tfAttr{{"client_id", "{app/control}"}}, []tfAttr{{"type", "type"}}, "{app/control}/{}"},
		"event hook": {"okta_event_hook", nil, []tfAttr{{"name", "name"}, {"events", "events.items"}, {"status", "status"}}, "{}"},
	}
}

// Terraform writes the wanted state for Okta's provider: files by name. What is there already comes with import blocks, so that the first terraform plan changes what Apply would
// change. keys makes or finds the public halves of services' keys.
func (p *Plan) Terraform(keys func(name string, create bool) (map[string]string, bool, error)) (map[string][]byte, error) {
	w := &tfWriter{plan: p, refs: map[string]string{}}
	jwks := map[string]map[string]string{}
	for i := range p.Items {
		item := &p.Items[i]
		if name := item.res.keyName; name != "" {
			jwk, _, err := keys(name, true)
			if err != nil {
				return nil, fmt.Errorf("making the key of %s: %w", item.Name, err)
			}
			jwks[name] = map[string]string{"kid": jwk["kid"], "e": jwk["e"], "n": jwk["n"]}
		}
		w.item(item)
	}
	w.grants()
	values, err := json.MarshalIndent(map[string]any{"service_keys": jwks}, "", "  ")
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"versions.tf": []byte(tfVersions), "variables.tf": []byte(tfVariables(p.spec.HookURI != "")), "bailiwick.tf": []byte(strings.TrimPrefix(w.main.String(), "\n")),
		"imports.tf": []byte(strings.TrimPrefix(w.imports.String(), "\n")), "service_keys.auto.tfvars.json": append(values, '\n'),
	}, nil
}

const tfVersions = `terraform {
  required_version = ">= 1.5" # import blocks

  required_providers {
    okta = {
      source  = "okta/okta"
      version = ">= 4.0"
    }
  }
}
`

func tfVariables(hook bool) string {
	text := `variable "service_keys" {
  description = "Public keys of services, by name; their private halves are in keys/ of the directory that bailiwick okta setup wrote."
  type        = map(object({ kid = string, e = string, n = string }))
}
`
	if hook {
		text += `
variable "hook_secret" {
  description = "The event hook's secret, which the control plane has too."
  type        = string
  sensitive   = true
}
`
	}
	return text
}

// tfWriter writes resources in the layout of terraform fmt: attributes in one block of lines with their signs in one column, nested blocks after an empty line.
type tfWriter struct {
	plan          *Plan
	refs          map[string]string // key → address
	main, imports strings.Builder
	number        map[string]int // rules and policies so far, by parent
}

// item writes one resource, and its import.
func (w *tfWriter) item(item *Item) {
	r := item.res
	kind, known := tfKinds()[r.kind]
	label := tfLabel(r.key)
	switch {
	case r.lookup && r.name == "Everyone":
		w.refs[r.key] = "data.okta_everyone_group." + label
		w.block("data", "okta_everyone_group", label, nil, "")
		return
	case r.lookup:
		w.refs[r.key] = "data.okta_group." + label
		w.block("data", "okta_group", label, []tfAttr{{"name", tfQuote(r.name)}}, "")
		return
	case !known: // grants are one resource together
		return
	case item.Action == Keep && item.Note != "" && r.shared:
		fmt.Fprintf(&w.main, "\n# The group %s (%s) was made by somebody else: it stays theirs, and its members have the role.\n", tfComment(r.name), item.ID)
		return
	}
	w.refs[r.key] = kind.resource + "." + label
	var attrs []tfAttr
	for _, parent := range kind.parents {
		attrs = append(attrs, tfAttr{parent.name, w.value(parent.from, parent.name == "client_id")})
	}
	id := kind.imports
	switch r.kind {
	case "rule":
		policy := "policy/" + strings.TrimPrefix(r.key, "rule/")
		attrs = append(attrs, tfAttr{"policy_id", w.value("{"+policy+"}", false)}, tfAttr{"priority", "1"})
		id = "{server}/{" + policy + "}/{}"
	case "policy":
		if w.number == nil {
			w.number = map[string]int{}
		}
		w.number["policy"]++
		attrs = append(attrs, tfAttr{"priority", fmt.Sprint(w.number["policy"])})
	case "assignment":
		app := strings.TrimPrefix(r.key, "assign/")
		attrs = append(attrs, tfAttr{"app_id", w.value("{"+app+"}", false)}, tfAttr{"group_id", w.value("{people}", false)})
		id = "{" + app + "}/{people}"
	}
	for _, a := range kind.attrs {
		if v, has := r.setting(a.from); has {
			attrs = append(attrs, tfAttr{a.name, w.value(v, r.kind == "policy")})
		}
	}
	nested := ""
	switch {
	case r.keyName != "":
		key := fmt.Sprintf("var.service_keys[%s]", tfQuote(r.keyName))
		nested = "\n  jwks {\n" + tfAttrs("    ", []tfAttr{{"kty", `"RSA"`}, {"kid", key + ".kid"}, {"e", key + ".e"}, {"n", key + ".n"}}) + "  }\n"
	case r.kind == "event hook":
		attrs = append(attrs, tfAttr{"channel", fmt.Sprintf(`{ type = "HTTP", version = "1.0.0", uri = %s }`, tfQuote(w.plan.spec.HookURI))},
			tfAttr{"auth", `{ type = "HEADER", key = "Authorization", value = var.hook_secret }`})
	}
	fmt.Fprintf(&w.main, "\n# %s\n", tfComment(r.why))
	w.block("resource", kind.resource, label, attrs, nested)
	w.imported(item, w.refs[r.key], strings.ReplaceAll(id, "{}", item.ID))
}

// imported writes an import block for what is there.
func (w *tfWriter) imported(item *Item, address, id string) {
	if item.ID == "" || item.Action == Conflict {
		return
	}
	if at, known := w.plan.known.path(id); known {
		fmt.Fprintf(&w.imports, "\nimport {\n%s}\n", tfAttrs("  ", []tfAttr{{"to", address}, {"id", tfQuote(at)}}))
	}
}

// grants writes the scopes of the control plane's app, which are one resource.
func (w *tfWriter) grants() {
	var scopes []string
	there := false
	for _, item := range w.plan.Items {
		if item.Kind == "grant" {
			scopes = append(scopes, item.Name)
			there = there || item.ID != ""
			fmt.Fprintf(&w.main, "%s# %s: %s\n", map[bool]string{true: "\n"}[len(scopes) == 1], item.Name, tfComment(item.Why))
		}
	}
	const address = "okta_app_oauth_api_scope"
	w.mainTrimmed("resource", address, "control", []tfAttr{{"app_id", "okta_app_oauth.control.id"}, {"issuer", tfQuote(w.plan.Org)}, {"scopes", w.value(sorted(scopes), false)}})
	if there {
		fmt.Fprintf(&w.imports, "\nimport {\n%s}\n", tfAttrs("  ", []tfAttr{{"to", address + ".control"}, {"id", tfQuote(w.plan.known["app/control"])}}))
	}
}

func (w *tfWriter) mainTrimmed(word, kind, label string, attrs []tfAttr) {
	fmt.Fprintf(&w.main, "%s %q %q {\n%s}\n", word, kind, label, tfAttrs("  ", attrs))
}

func (w *tfWriter) block(word, kind, label string, attrs []tfAttr, nested string) {
	if len(attrs) == 0 && nested == "" {
		fmt.Fprintf(&w.main, "\n%s %q %q {}\n", word, kind, label)
		return
	}
	if word == "data" {
		w.main.WriteString("\n")
	}
	fmt.Fprintf(&w.main, "%s %q %q {\n%s%s}\n", word, kind, label, tfAttrs("  ", attrs), nested)
}

// setting is what is wanted at a path.
func (r *resource) setting(path string) (any, bool) {
	for _, f := range r.fields {
		if f.path == path {
			return f.want, true
		}
	}
	v, has := r.fixed[path]
	return v, has
}

// value is an expression. clients says that a reference is to a client id.
func (w *tfWriter) value(v any, clients bool) string {
	switch v := v.(type) {
	case []string:
		var all []string
		for _, s := range v {
			all = append(all, w.value(s, clients))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case string:
		if key, isRef := reference(v); isRef {
			return cmp.Or(w.refs[key], "null") + map[bool]string{true: ".client_id", false: ".id"}[clients]
		}
		return tfQuote(v)
	}
	return fmt.Sprint(v)
}

// tfAttrs writes attributes with their equals signs in one column.
func tfAttrs(indent string, attrs []tfAttr) string {
	width := 0
	for _, a := range attrs {
		width = max(width, len(a.name))
	}
	var b strings.Builder
	for _, a := range attrs {
		fmt.Fprintf(&b, "%s%-*s = %s\n", indent, width, a.name, a.from)
	}
	return b.String()
}

// tfQuote is a text as a literal: nothing in it is a template.
func tfQuote(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{").Replace(s)
	return `"` + s + `"`
}

func tfComment(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }

// tfLabel makes a resource's name of a key. Keys that differ have names that differ: what is not a letter, digit or dash is written as its number.
func tfLabel(key string) string {
	if i := slices.Index([]string{"app", "group", "scope", "claim", "policy", "rule", "assign", "role"}, strings.SplitN(key, "/", 2)[0]); i >= 0 && strings.Contains(key, "/") {
		key = strings.SplitN(key, "/", 2)[1]
	}
	key = strings.TrimPrefix(key, "app/")
	var b strings.Builder
	for i, r := range key {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9' && i > 0, r == '-' && i > 0:
			b.WriteRune(r)
		case r == '/':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "_x%x_", r)
		}
	}
	return b.String()
}
