package stripesim

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestListsInEveryNotation(t *testing.T) {
	for in, want := range map[string][]string{
		"a[]=x&a[]=y":           {"x", "y"},
		"a[1]=y&a[0]=x":         {"x", "y"},
		"a[10]=z&a[9]=y&a[0]=x": {"x", "y", "z"},
		"a=":                    {},
		"b=1":                   nil,
	} {
		n, err := parseParams(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		got, err := n.list("a")
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for _, bad := range []string{"a=x", "a[x]=1", "a[-1]=x", "a[0][b]=x", "a[0]=x&a[00]=y", "a[]=x&a[0]=y"} {
		n, err := parseParams(bad)
		if err == nil {
			_, err = n.list("a")
		}
		if err == nil || err.Param != "a" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTooManyParamsAreRefused(t *testing.T) {
	form := url.Values{}
	for i := range maxParams + 1 {
		form.Set("k"+strings.Repeat("x", i), "")
	}
	if _, err := parseParams(form.Encode()); err == nil {
		t.Fatal("taken")
	}
}

// Whatever a client sends, reading it ends in a session or in a 400, never in a panic.
func TestAnyParamsAreReadOrRefused(t *testing.T) {
	names := rapid.SampledFrom([]string{"type", "metadata", "options", "document", "allowed_types", "created", "gte", "limit",
		"email", "provided_details", "return_url", "status", "0", "01", "1", "", "[", "]", "é"})
	rapid.Check(t, func(t *rapid.T) {
		form := url.Values{}
		for range rapid.IntRange(0, 6).Draw(t, "params") {
			path := rapid.SliceOfN(names, 1, 5).Draw(t, "path")
			key := path[0]
			for _, p := range path[1:] {
				key += "[" + p + "]"
			}
			form.Add(key, rapid.SampledFrom([]string{"", "document", "passport", "1", "x", "true", "https://a.example"}).Draw(t, "value"))
		}
		n, err := parseParams(form.Encode())
		if err != nil {
			if err.HTTPStatus != 400 {
				t.Fatalf("status %d", err.HTTPStatus)
			}
			return
		}
		for _, parse := range []func() *Error{
			func() *Error { _, err := parseCreate(n); return err },
			func() *Error { _, err := parseUpdate(n); return err },
			func() *Error { _, err := parseList(n); return err },
		} {
			if err := parse(); err != nil && (err.HTTPStatus != 400 || err.Message == "") {
				t.Fatalf("%+v", err)
			}
		}
	})
}
