package okta

import (
	"reflect"
	"testing"
)

func TestDocument(t *testing.T) {
	d := Document{"id": "x", "label": "L", "_links": map[string]any{}, "settings": map[string]any{"a": map[string]any{"list": []any{"b", "a", 1.0}, "n": 5.0}, "kept": true}}
	if d.Text("label") != "L" || d.Number("settings.a.n") != 5 || !reflect.DeepEqual(d.Texts("settings.a.list"), []string{"a", "b"}) || d.At("settings.none.deeper") != nil || d.At("label.deeper") != nil {
		t.Errorf("%v", d)
	}
	out := d.Changed(map[string]any{"settings.a.n": 6, "settings.b.new": "v"})
	want := Document{"label": "L", "settings": map[string]any{"a": map[string]any{"list": []any{"b", "a", 1.0}, "n": 6}, "b": map[string]any{"new": "v"}, "kept": true}}
	if !reflect.DeepEqual(out, want) {
		t.Errorf("got %v\nwant %v", out, want)
	}
	if d.Number("settings.a.n") != 5 || d.At("settings.b") != nil || d.Text("id") != "x" {
		t.Errorf("the original was changed: %v", d)
	}
	if got := Path("/a/%s/b/%s", "x/y", "z"); got != "/a/x%2Fy/b/z" {
		t.Error(got)
	}
}
