package identity

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestThreat16JSONTricks(t *testing.T) {
	r := newRig(t)
	r.accepts(r.userText(func(s string) string { return s }))
	insert := func(text string) func(string) string {
		return func(s string) string { return "{" + text + "," + s[1:] }
	}
	for what, text := range map[string]string{
		"sub twice": `"sub":"root"`, "exp twice": `"exp":9999999999`, "sub twice by an escape": `"su\u0062":"root"`, "twice in an unknown claim": `"x":{"a":1,"a":2}`,
		"twice deep": `"x":[[{"y":{"a":1,"a":2}}]]`, "Exp": `"Exp":9999999999`, "SUB": `"SUB":"root"`, "sub with U+017F": `"\u017fub":"root"`, "raw U+017F": "\"\u017fub\":\"root\"",
		"aCt": `"aCt":{"sub":"x"}`, "Groups": `"Groups":["admin"]`, "CNF": `"CNF":{}`, "NUL": `"x":"a\u0000b"`, "raw NUL": "\"x\":\"a\x00b\"", "raw control": "\"x\":\"a\nb\"",
		"invalid UTF-8": "\"x\":\"\xff\"", "overlong UTF-8": "\"x\":\"\xc0\xaf\"", "encoded surrogate": "\"x\":\"\xed\xa0\x80\"", "lone surrogate": `"x":"\ud800"`,
		"surrogate pair reversed": `"x":"\udc00\ud800"`, "bad escape": `"x":"\q"`, "short escape": `"x":"\u12"`, "deep arrays": `"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"deep objects": `"x":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "huge number": `"x":` + strings.Repeat("9", 1000),
		"single quotes": `'x':1`, "comment": `/* hi */"x":1`, "bare word": `x:1`, "hex": `"x":0x1`, "True": `"x":True`, "undefined": `"x":undefined`, "double comma": `"x":1,`,
	} {
		r.refuses(CodeTokenMalformed, what, r.userText(insert(text)))
	}
	for what, edit := range map[string]func(string) string{
		"trailing comma":      func(s string) string { return s[:len(s)-1] + ",}" },
		"trailing object":     func(s string) string { return s + "{}" },
		"trailing text":       func(s string) string { return s + "x" },
		"trailing NUL":        func(s string) string { return s + "\x00" },
		"byte order mark":     func(s string) string { return "\ufeff" + s },
		"UTF-16":              func(s string) string { return "\xfe\xff\x00{\x00}" },
		"array":               func(s string) string { return "[" + s + "]" },
		"null":                func(string) string { return "null" },
		"string":              func(string) string { return `"x"` },
		"number":              func(string) string { return "1" },
		"nothing":             func(string) string { return "" },
		"unfinished":          func(s string) string { return s[:len(s)-1] },
		"two thousand claims": func(s string) string { return "{" + manyClaims(2000) + s[1:] },
	} {
		r.refuses(CodeTokenMalformed, what, r.userText(edit))
	}
	for what, h := range map[string]string{
		"alg twice": `{"alg":"RS256","kid":"k0","alg":"RS256"}`, "ALG": `{"alg":"RS256","kid":"k0","ALG":"none"}`, "kid twice by an escape": `{"alg":"RS256","kid":"k0","\u006bid":"k1"}`,
		"K\u0130D": "{\"alg\":\"RS256\",\"kid\":\"k0\",\"\u212aid\":\"k1\"}", "array": `[{"alg":"RS256","kid":"k0"}]`, "trailing": `{"alg":"RS256","kid":"k0"}{}`, "null": `null`, "empty": ``,
	} {
		r.refuses(CodeTokenMalformed, "header "+what, sign(h, r.userClaims(epoch), rsaKeys[0]()))
	}
	if r.fetches.Load() != 1 {
		t.Errorf("%d fetches, want the first alone", r.fetches.Load())
	}
}

func manyClaims(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%x":1,`, i)
	}
	return b.String()
}

func TestThreat17Sizes(t *testing.T) {
	r := newRig(t)
	r.refuses(CodeTokenMalformed, "token of 17 KB", r.user("pad", strings.Repeat("x", 12<<10)))
	r.refuses(CodeTokenMalformed, "header of 5 KB", sign(with(rs256, "pad", strings.Repeat("x", 5<<10)), r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "a million dots", strings.Repeat(".", 1_000_000))
	r.refuses(CodeTokenMalformed, "16 KB of dots", strings.Repeat(".", maxToken))
	groups := make([]string, 10_000)
	for i := range groups {
		groups[i] = fmt.Sprint("g", i)
	}
	r.refuses(CodeTokenMalformed, "10,000 groups", r.user("groups", groups))
	short := slices.Repeat([]string{"g"}, maxGroups+1)
	r.refuses(CodeTokenMalformed, "too many groups in a small token", r.user("groups", short))
	for what, g := range map[string]string{"newline": "temporal:payments:read\ntemporal:payments:admin", "empty": "", "NEL": "a\u0085b", "line separator": "a\u2028b", "escape": "a\x1b[2Jb",
		"bidi override": "temporal:\u202epayments", "zero width": "temporal:pay\u200bments:admin", "long": strings.Repeat("g", 257)} {
		r.refuses(CodeTokenMalformed, "group with "+what, r.user("groups", []string{"ok", g}))
	}
	for what, g := range map[string]any{"number": []any{1}, "null inside": []any{nil}, "string": "temporal:payments:admin", "object": object{"0": "a"}, "nested": []any{[]string{"a"}}} {
		r.refuses(CodeTokenMalformed, "groups "+what, r.user("groups", g))
	}
	// Look-alikes are other names: they pass, unchanged, and nothing folds them.
	odd := []string{"temporal:pаyments:admin", "TEMPORAL:payments:admin", "temporal：payments：admin", "temporal:a:b:c:d", "temporal::admin", "temporal:\u017fales:read", "グループ"}
	if got := r.accepts(r.user("groups", odd)).Groups; !slices.Equal(got, odd) {
		t.Errorf("groups %q became %q", odd, got)
	}
}
