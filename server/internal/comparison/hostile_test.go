package comparison

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestDifferentLettersNeverMatch: marks that make another letter or syllable are no accents.
func TestDifferentLettersNeverMatch(t *testing.T) {
	for _, pair := range [][2]string{
		{"カトウ", "ガトウ"}, {"はた", "ばた"}, {"ハタ", "パタ"}, {"バン", "パン"}, {"ｶﾄｳ", "ｶﾞﾄｳ"}, {"ガカ", "カガ"}, // Japanese voicing marks
		{"कमल", "किमल"}, {"กา", "กี"}, {"김", "긴"}, {"محمد", "محمود"}, {"Иван", "Іван"}, {"Й", "И"},
	} {
		for _, got := range both(pair[0], pair[1]) {
			if got.Result != Mismatch {
				t.Errorf("%q, %q: got %v, want a mismatch", pair[0], pair[1], got)
			}
		}
	}
	for _, got := range both("ｶﾞﾄｳ", "ガトウ") { // width alone
		if got != (Field{FirstName, Match, Folded}) {
			t.Errorf("got %v, want a match", got)
		}
	}
}

func both(a, b string) []Field {
	forth, back := compareBoth(a, b)
	return []Field{forth, back}
}

// TestNothingMatchesNothing: two values that are empty without their punctuation are not the same value.
func TestNothingMatchesNothing(t *testing.T) {
	empty := []string{"-", "--", "\u200b", "\u202e", "\u0301", "\ufeff.", "\xff", "\ufffd", "''", "\u3164", "\uffa0", "\u115f", "\ufe0f", "\U000e0100", "\u093c", "\u0640"}
	for _, a := range empty {
		for _, b := range empty {
			for _, name := range []string{FirstName, LastName, PostalCode, Country, IDNumber, Phone} {
				got := Compare(expectedOf(t, name, a), outputsOf(t, name, b))[0]
				if got.Result == Match || got.Result == Close {
					t.Errorf("%s %q, %q: got %v, want no match", name, a, b, got)
				}
			}
		}
	}
}

// TestInvisibleCharactersChangeNothing: directions, joiners, soft hyphens and variation selectors have no look of their own. They
// separate no names and are no letters, whichever rule compares the names.
func TestInvisibleCharactersChangeNothing(t *testing.T) {
	for _, invisible := range []string{"\u202e", "\u200b", "\u200f", "\u00ad", "\u200d", "\ufeff", "\u2060", "\u034f", "\ufe0f", "\U000e0100", "\u3164", "\U000e0061"} {
		for _, pair := range []struct {
			plain, written string
			want           Field
		}{
			{"Anna", "Anxna", Field{FirstName, Match, Folded}},
			{"Anna", "xAnna", Field{FirstName, Match, Folded}},
			{"Anna", "Annax", Field{FirstName, Match, Folded}},
			{"Anna Maria", "Marxia Anna", Field{FirstName, Match, Folded}},
			{"Maria Anna", "Annax x Maria", Field{FirstName, Match, Folded}},
			{"山田 太郎", "太x郎 山田", Field{FirstName, Match, Folded}},
			{"Müller", "MUxELLER", Field{FirstName, Match, Transliterated}},
			{"Anna Maria", "Annxa", Field{FirstName, Close, NamesLeftOut}},
			{"xx", "Annxa", Field{FirstName, Mismatch, NoRule}},
		} {
			plain, written := strings.ReplaceAll(pair.plain, "x", invisible), strings.ReplaceAll(pair.written, "x", invisible)
			for _, got := range both(plain, written) {
				if got != pair.want {
					t.Errorf("%+q, %+q: got %v, want %v", plain, written, got, pair.want)
				}
			}
		}
	}
}

// TestLongTextsEnd: the longest texts with the most choices are compared in a bounded time, also where no answer is found.
func TestLongTextsEnd(t *testing.T) {
	for _, pair := range [][2]string{
		{strings.Repeat("a ", 500), strings.Repeat("ä-", 300)}, {strings.Repeat("Ü", 127), strings.Repeat("UXX", 84) + "UX"},
		{strings.Repeat("Ä ", 84) + "x", strings.Repeat("AE ", 84) + "y"}, {strings.Repeat("ÄÖÜÅØÑ ", 19) + "x", strings.Repeat("AÖÜÅØÑ ", 19) + "y"},
		{"a" + strings.Repeat("\u0301", 120), "b"}, {strings.Repeat("ガ", 80), strings.Repeat("カ", 80)},
	} {
		began := time.Now()
		for _, got := range both(pair[0], pair[1]) {
			if got.Result == Match {
				t.Errorf("%q, %q: got %v, want no match", pair[0], pair[1], got)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%q, %q: took %s, want a bounded time", pair[0], pair[1], took)
		}
	}
}

// FuzzCompare draws pairs of values. Each pair has one answer whichever side it is on, and a match is never of
// a value without letters and digits.
func FuzzCompare(f *testing.F) {
	for _, pair := range [][2]string{
		{"Müller", "MUELLER"}, {"\xff'", "\u0301\u200d"}, {"a\u0301\u0301\u0301", "a"}, {"\u202eאבג", "אבג"}, {"ガ", "カ"}, {"\xff", "\ufffd"}, {"١٢٣٤", "99991234"}, {"ﷺ", "ß"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 80 || a == "" || b == "" {
			return // TestLongTextsEnd has the long ones; an empty field is not compared
		}
		text, value := Text(a), Value{Text: Text(b)}
		unchecked := Expected{text, text, text, text, text, text, text, text}
		for _, field := range Compare(unchecked, Outputs{value, value, value, value, value, value, value, value}) {
			if field.Result < Match || field.Result > NotReadable || field.Rule > LastFour {
				t.Errorf("got %v, want a known result", field)
			}
		}
		for _, name := range []string{FirstName, PostalCode, IDNumber, Email, Phone} {
			expected := expectedOf(t, name, a)
			if wrong, reason := expected.Check(); wrong != "" {
				if len(reason) > 60 || !utf8.ValidString(reason) {
					t.Errorf("%s: the reason is %q", name, reason)
				}
				continue
			}
			got := Compare(expected, outputsOf(t, name, b))[0]
			if got.Result < Match || got.Result > NotReadable || (got.Result == Match) != (got.Rule != NoRule && got.Result != Close) {
				t.Errorf("%s %q, %q: got %v", name, a, b, got)
			}
			if name != FirstName || len(b) > maxText {
				continue
			}
			if got.Result == Match && len(tokens(b)) == 0 {
				t.Errorf("%q, %q: got %v of no name", a, b, got)
			}
			if more := len(tokens(a)) - len(tokens(b)); max(more, -more) > maxMore {
				continue // one way too many names are left out: see maxMore
			}
			if wrong, _ := expectedOf(t, name, b).Check(); wrong == "" && a != Redacted && b != Redacted {
				if back := Compare(expectedOf(t, name, b), outputsOf(t, name, a))[0]; back != got {
					t.Errorf("%q, %q: got %v one way and %v the other", a, b, got, back)
				}
			}
		}
	})
}
