package identity

import (
	"fmt"
	"strings"
	"testing"
)

// A token must not be printed by any verb, on its own or inside a struct that somebody logs.
func TestTokensDoNotPrint(t *testing.T) {
	const secret = "header.payload.signature"
	token := ParseUnverified(secret)
	holder := struct {
		name  string
		token Unverified
	}{"call", token}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{token, &token, holder, &holder, []Unverified{token}, map[string]any{"t": holder}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, secret) || strings.Contains(out, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s of %T prints the token: %s", verb, v, out)
			}
		}
	}
	if got := (Unverified{}).text(); got != "" {
		t.Errorf("the zero token has the text %q", got)
	}
}
