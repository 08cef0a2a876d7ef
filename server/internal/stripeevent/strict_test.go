package stripeevent

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/verification"
)

const referenceKey = "person"

// path is the way to a key that the decoder reads: the names of the keys from the outside to the inside.
type path []string

// keysOf returns the paths of all keys that are read into a struct type, below a prefix. rawValue fields are decoded into other
// structs: below names them by the path of the raw field.
func keysOf(structType reflect.Type, prefix path, below map[string]reflect.Type) []path {
	var all []path
	for i := range structType.NumField() {
		field := structType.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		at := append(slices.Clone(prefix), name)
		all = append(all, at)
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if other, ok := below[strings.Join(at, ".")]; ok {
			inner = other
		}
		if inner.Kind() == reflect.Struct && !reflect.PointerTo(inner).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			all = append(all, keysOf(inner, at, below)...)
		}
	}
	return all
}

// bodies are events of both styles with all keys that are read. The test fails if one is missing.
var bodies = map[string]string{
	"snapshot": `{"id":"evt_1","object":"event","type":"identity.verification_session.requires_input","created":1790000000,"livemode":true,` +
		`"account":"acct_1","context":"acct_2","data":{"object":{"id":"vs_1","livemode":true,"type":"document","status":"requires_input",` +
		`"created":1790000000,"last_verification_report":{"id":"vr_1"},"client_reference_id":"case-17","last_error":{"code":"document_expired","reason":"Expired."},` +
		`"redaction":{"status":"validated"},"metadata":{"person":"p-1","verification_status_replaces":"vs_0"}}}}`,
	"thin": `{"id":"evt_1","object":"v2.core.event","type":"v1.identity.verification_session.verified","created":"2026-11-28T07:50:00.435Z",` +
		`"livemode":true,"context":"acct_2","related_object":{"id":"vs_1"},"snapshot_event":"evt_2"}`,
	"bridge": `{"detail-type":"identity.verification_session.verified","detail":{"id":"evt_1"}}`,
}

// keysRead returns every key that Decode reads, derived from the tags of its structs.
func keysRead() []path {
	all := keysOf(reflect.TypeFor[envelope](), nil, map[string]reflect.Type{
		"data": reflect.TypeFor[struct {
			Object rawValue `json:"object"`
		}](),
		"data.object": reflect.TypeFor[object](),
		"related_object": reflect.TypeFor[struct {
			ID text `json:"id"`
		}](),
		"data.object.last_verification_report": reflect.TypeFor[struct {
			ID text `json:"id"`
		}](),
	})
	return append(all, path{"data", "object", "last_verification_report", "id"},
		path{"data", "object", "metadata", referenceKey}, path{"data", "object", "metadata", verification.ReplacesKey}, path{"detail", "id"})
}

// tree decodes a body for editing.
func tree(t *testing.T, body string) map[string]any {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal([]byte(body), &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

// render encodes a tree with the key at a path replaced by members, which are JSON without braces.
func render(t *testing.T, body string, at path, members func(value string) string) (string, bool) {
	t.Helper()
	root := tree(t, body)
	parent := root
	for _, name := range at[:len(at)-1] {
		inner, ok := parent[name].(map[string]any)
		if !ok {
			return "", false
		}
		parent = inner
	}
	last := at[len(at)-1]
	value, ok := parent[last]
	if !ok {
		return "", false
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	delete(parent, last)
	const mark = "placed here"
	parent[mark] = 0
	all, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	replaced := strings.Replace(string(all), `"`+mark+`":0`, members(string(text)), 1)
	return replaced, true
}

// furtherOut returns the body with the key moved to the object around its own. ok is false if that has a key of the name.
func furtherOut(t *testing.T, body string, at path) (moved string, ok bool) {
	t.Helper()
	if len(at) < 2 {
		return "", false
	}
	root := tree(t, body)
	outer, inner := root, root
	for _, name := range at[:len(at)-1] {
		outer, inner = inner, inner[name].(map[string]any)
	}
	last := at[len(at)-1]
	if _, ok := outer[last]; ok {
		return "", false
	}
	outer[last] = inner[last]
	delete(inner, last)
	all, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(all), true
}

type decoded struct {
	event verification.Event
	err   string
}

func decode(body string) decoded {
	event, err := Decode([]byte(body), Options{ReferenceKey: referenceKey})
	if err != nil {
		return decoded{event, err.Error()}
	}
	return decoded{event, ""}
}

// TestNoKeyInAnotherCaseOrPlaceCounts: for every key that is read, the same key in another case changes nothing, whether the true key
// is there or not; the same key one level further out or further in changes nothing; and the same key twice is malformed.
func TestNoKeyInAnotherCaseOrPlaceCounts(t *testing.T) {
	other := map[string]string{"type": `"v1.identity.verification_session.canceled"`}
	for style, body := range bodies {
		seen := 0
		for _, at := range keysRead() {
			name := at[len(at)-1]
			removed, ok := render(t, body, at, func(string) string { return `"x":0` })
			if !ok {
				continue // of another style
			}
			seen++
			quoted := func(name string) string { return `"` + name + `":` }
			wrong := other[name]
			if wrong == "" {
				wrong = `"planted"`
			}
			cases := map[string]struct {
				members func(value string) string
				want    string
			}{
				"another case beside it": {func(v string) string { return quoted(name) + v + "," + quoted(strings.ToUpper(name)) + wrong }, body},
				"another case before it": {func(v string) string {
					return quoted(strings.ToUpper(name[:1])+name[1:]) + wrong + "," + quoted(name) + v
				}, body},
				"another case in its stead": {func(v string) string { return quoted(strings.ToUpper(name)) + v }, removed},
				"a letter that folds to it": {func(v string) string {
					return quoted(strings.NewReplacer("s", "\u017f", "k", "\u212a").Replace(strings.ToUpper(name))) + v
				}, removed},
				"further in, in its stead":  {func(v string) string { return `"x":{` + quoted(name) + v + `}` }, removed},
				"in an array, in its stead": {func(v string) string { return `"x":[{` + quoted(name) + v + `}]` }, removed},
				"written with an escape":    {func(v string) string { return `"\u00` + hex(name[0]) + name[1:] + `":` + v }, body},
			}
			if moved, ok := furtherOut(t, body, at); ok {
				if diff := cmp.Diff(decode(removed), decode(moved), cmp.AllowUnexported(decoded{})); diff != "" {
					t.Errorf("%s: %s: further out (-want +got):\n%s", style, strings.Join(at, "."), diff)
				}
			}
			for what, c := range cases {
				got, _ := render(t, body, at, c.members)
				if diff := cmp.Diff(decode(c.want), decode(got), cmp.AllowUnexported(decoded{})); diff != "" {
					t.Errorf("%s: %s: %s (-want +got):\n%s", style, strings.Join(at, "."), what, diff)
				}
			}
			for what, members := range map[string]func(string) string{
				"twice":                 func(v string) string { return quoted(name) + v + "," + quoted(name) + v },
				"twice, with an escape": func(v string) string { return `"\u00` + hex(name[0]) + name[1:] + `":` + v + "," + quoted(name) + v },
				"twice, first null":     func(v string) string { return quoted(name) + "null," + quoted(name) + v },
			} {
				body, _ := render(t, body, at, members)
				_, err := Decode([]byte(body), Options{ReferenceKey: referenceKey})
				malformed := (*MalformedError)(nil)
				switch {
				case style == "bridge":
				case !errors.As(err, &malformed):
					t.Errorf("%s: %s %s: error %v, want a MalformedError", style, strings.Join(at, "."), what, err)
				case name != "id" && malformed.EventID != "evt_1":
					t.Errorf("%s: %s %s: event id %q, want evt_1", style, strings.Join(at, "."), what, malformed.EventID)
				}
			}
		}
		t.Logf("%s: %d keys", style, seen)
	}
	for _, at := range keysRead() {
		if !slices.ContainsFunc([]string{"snapshot", "thin", "bridge"}, func(style string) bool {
			_, ok := render(t, bodies[style], at, func(v string) string { return `"x":` + v })
			return ok
		}) {
			t.Errorf("no body has %s: add it, or the key goes untested", strings.Join(at, "."))
		}
	}
}

func hex(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// TestAKeyThatIsNotReadCanBeThereTwice: it does not count.
func TestAKeyThatIsNotReadCanBeThereTwice(t *testing.T) {
	for _, members := range []string{`"options":{"document":{},"document":{}}`, `"url":1,"url":2`, `"verified_outputs":{"dob":1,"dob":2}`} {
		body := strings.Replace(bodies["snapshot"], `"livemode":true,"type"`, members+`,"livemode":true,"type"`, 1)
		if diff := cmp.Diff(decode(bodies["snapshot"]), decode(body), cmp.AllowUnexported(decoded{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", members, diff)
		}
	}
	body := strings.Replace(bodies["snapshot"], `"person":"p-1"`, `"note":"a","note":"b","person":"p-1"`, 1)
	if diff := cmp.Diff(decode(bodies["snapshot"]), decode(body), cmp.AllowUnexported(decoded{})); diff != "" {
		t.Errorf("another key of the metadata (-want +got):\n%s", diff)
	}
}

// TestUnmarshalIsStrict: for what other packages decode of Stripe's answers.
func TestUnmarshalIsStrict(t *testing.T) {
	type item struct {
		ID    string   `json:"id"`
		Names []string `json:"names"`
	}
	var list struct {
		Object string                     `json:"object"`
		Data   []item                     `json:"data"`
		Raw    []json.RawMessage          `json:"raw"`
		Map    map[string]json.RawMessage `json:"map"`
		More   bool                       `json:"has_more"`
		None   *item                      `json:"none"`
		Number int64                      `json:"number"`
	}
	list.None = &item{ID: "before"} // null removes it
	body := ` {"object":"list","OBJECT":"x","data":[{"id":"a","ID":"b","names":["n","m"]},{"id":"c"}],"raw":[{"x":1,"x":2}],"map":{"k":1},"has_more":true,"none":null,"number":7} `
	if err := Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	if list.Object != "list" || len(list.Data) != 2 || list.Data[0].ID != "a" || !slices.Equal(list.Data[0].Names, []string{"n", "m"}) ||
		string(list.Raw[0]) != `{"x":1,"x":2}` || string(list.Map["k"]) != "1" || !list.More || list.None != nil || list.Number != 7 {
		t.Errorf("decoded %+v", list)
	}
	for body, want := range map[string]string{
		`{"object":"list","object":"list"}`:       `"object" is there twice`,
		`{"data":[{"id":"a","id":"b"}]}`:          `"data.*.id" is there twice`,
		`{"map":{"k":1,"k":2}}`:                   `"map.*" is there twice`,
		`{"number":"x","data":[{"id":1,"id":2}]}`: `"data.*.id" is there twice`,
		`{"number":"x"}`:                          `"number" has another type`,
		`{"data":{}}`:                             `"data" has another type`,
		`[]`:                                      `"" has another type`,
		`{"object":"list"`:                        "not JSON",
		`{"object":"list"} {}`:                    "not JSON",
		"":                                        "not JSON",
	} {
		if err := Unmarshal([]byte(body), &list); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", body, err, want)
		}
	}
	var partly struct {
		ID      string `json:"id"`
		Created int64  `json:"created"`
	}
	if err := Unmarshal([]byte(`{"created":"yesterday","id":"evt_1"}`), &partly); err == nil || partly.ID != "evt_1" {
		t.Errorf("error %v, id %q: a field of another type hides the others", err, partly.ID)
	}
}

// FuzzUnmarshal: of every JSON object without repeated names, the members are those that encoding/json finds.
func FuzzUnmarshal(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	for _, body := range []string{`{"a\"b":{"c":[1,{"d":"}"}]},"e":-1.5e3 , "\u0061":null}`, "{}", "{\"\xff\":\"\xfe\"}", `{"a":[],"b":[ ],"c":""}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]json.RawMessage
		got := map[string]json.RawMessage{}
		wantErr, gotErr := json.Unmarshal(body, &want), Unmarshal(body, &got)
		repeated := (*fieldError)(nil)
		switch {
		case errors.As(gotErr, &repeated) && repeated.repeated:
			return
		case (wantErr == nil) != (gotErr == nil):
			t.Fatalf("error %v, encoding/json's %v", gotErr, wantErr)
		case gotErr != nil:
			return
		}
		if len(want) == 0 && len(got) == 0 {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("members (-want +got):\n%s", diff)
		}
	})
}
