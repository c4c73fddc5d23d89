package devorg

import (
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }

// splitScopes reads a scope parameter: space-separated, duplicates dropped, order kept.
func splitScopes(raw string) []string {
	var out []string
	for _, s := range strings.Fields(raw) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// userScopes checks the scopes that a client asks for on behalf of a person.
func (as server) userScopes(app store.App, raw string) ([]string, error) {
	scopes := splitScopes(raw)
	if len(scopes) == 0 {
		return nil, badRequest("invalid_scope", "The authorization server resource does not have any configured default scopes, 'scope' must be provided.")
	}
	for _, s := range scopes {
		if !as.hasScope(s) {
			return nil, badRequest("invalid_scope", "One or more scopes are not configured for the authorization server resource.")
		}
	}
	if slices.Contains(scopes, "offline_access") && !slices.Contains(app.Settings.GrantTypes, grantRefresh) {
		return nil, badRequest("invalid_scope", "The client is not configured for refresh tokens, so 'offline_access' cannot be granted.")
	}
	return scopes, nil
}

// clientScopes checks the scopes that a client asks for where it has no person's session: custom scopes only.
func (as server) clientScopes(raw string) ([]string, error) {
	scopes := splitScopes(raw)
	if len(scopes) == 0 {
		return nil, badRequest("invalid_scope", "The authorization server resource does not have any configured default scopes, 'scope' must be provided.")
	}
	custom := as.customScopes()
	for _, s := range scopes {
		if !slices.Contains(custom, s) {
			return nil, badRequest("invalid_scope", "One or more scopes are not configured for the authorization server resource.")
		}
	}
	return scopes, nil
}
