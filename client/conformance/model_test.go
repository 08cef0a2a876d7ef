package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestModel: what watches must report, by the rules of the contract and not by any client.
func TestModel(t *testing.T) {
	one, two, three := "update vs_1 revision 1 REQUIRES_INPUT outcome 1", "update vs_1 revision 2 PROCESSING outcome 2", "update vs_1 revision 3 REQUIRES_INPUT outcome 3"
	for _, test := range []struct {
		script string
		want   map[string][]string
	}{
		{"watch session; cut in 1/2", map[string][]string{"session": {one, two, three}}},
		{"change; watch session; change", map[string][]string{"session": {two, three}}},
		{"watch session; away; change 2; back", map[string][]string{"session": {one, two, three}}},
		{"watch session; away; change 2; trim; back", map[string][]string{"session": {one, three + " RESET"}}},
		{"watch all; change; away; change; trim; back", map[string][]string{"all": {two, "end OUT_OF_RANGE RESUME_TOKEN_EXPIRED"}}},
		{"watch session; end UNAUTHENTICATED; end UNAUTHENTICATED UNAUTHENTICATED", map[string][]string{"session": {one, "end UNAUTHENTICATED UNAUTHENTICATED"}}},
		{"http 404; watch session", map[string][]string{"session": {"end UNIMPLEMENTED"}}},
		{"http 503; watch session; http 404", map[string][]string{"session": {one}}},
		{"watch session; stop session; change 2; again session", map[string][]string{"session": {one, "end CANCELLED"}, "session-2": {two, three}}},
		{"watch reference; away; change 2; newer; back", map[string][]string{"reference": {one, "update vs_2 revision 1 REQUIRES_INPUT outcome 1"}}},
		{"watch session; away; change 1; redact; back", map[string][]string{"session": {one, "update vs_1 revision 3 PROCESSING outcome 2"}}},
		{"watch session settled; settle; again session settled", map[string][]string{"session": {one, "update vs_1 revision 2 VERIFIED outcome 2", "end OK"}, "session-2": {"end OK"}}},
		{"fail UNAVAILABLE 3; status; fail UNAVAILABLE 4; status; fail UNAVAILABLE; retry", map[string][]string{calls: {"status: " + one, "status: UNAVAILABLE", "retry: UNAVAILABLE"}}},
	} {
		s, err := parse("test", test.script)
		if err != nil {
			t.Fatal(err)
		}
		m := newModel()
		for _, st := range s.steps {
			if err := m.apply(st); err != nil {
				t.Fatalf("%s: at %q: %v", test.script, st.text, err)
			}
		}
		if diff := cmp.Diff(test.want, m.want); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.script, diff)
		}
	}
}

// TestWrittenScripts: the model allows each written script, and their names are unique.
func TestWrittenScripts(t *testing.T) {
	seen := make(map[string]bool)
	for _, w := range written {
		if seen[w.name] {
			t.Errorf("two scripts have the name %s", w.name)
		}
		seen[w.name] = true
		s, err := parse(w.name, w.text)
		if err != nil {
			t.Error(err)
			continue
		}
		m := newModel()
		for _, st := range s.steps {
			if err := m.apply(st); err != nil {
				t.Errorf("script %s: at %q: %v", w.name, st.text, err)
				break
			}
		}
	}
}

// TestSteps: the model and the player know the same steps, and each is in a written script.
func TestSteps(t *testing.T) {
	known, done := slices.Sorted(maps.Keys(verbs)), slices.Sorted(maps.Keys(acts))
	if diff := cmp.Diff(known, done); diff != "" {
		t.Errorf("steps of the model and of the player (-model +player):\n%s", diff)
	}
	used := make(map[string]bool)
	for _, s := range writtenScripts() {
		for _, st := range s.steps {
			used[st.verb] = true
		}
	}
	for _, verb := range known {
		if !used[verb] {
			t.Errorf("no written script has the step %q", verb)
		}
	}
}

// TestRandomScripts: a seed and a number give the same script again, and all steps that random scripts have do occur.
func TestRandomScripts(t *testing.T) {
	const seed, scripts = 7, 3000
	byHand := []string{"fail", "flood", "crowd", "unready", "ready", "close"}
	used := make(map[string]bool)
	for n := range scripts {
		s := randomScript(seed, n)
		if again := randomScript(seed, n); again.String() != s.String() {
			t.Fatalf("script %d:\n%v\nand again:\n%v", n, s, again)
		}
		for _, st := range s.steps {
			used[st.verb] = true
		}
	}
	for verb := range verbs {
		if used[verb] == slices.Contains(byHand, verb) {
			t.Errorf("random scripts have the step %q: %v", verb, used[verb])
		}
	}
}
