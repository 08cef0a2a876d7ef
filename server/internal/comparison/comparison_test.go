package comparison

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// names draws names as travel documents and people write them.
var names = rapid.SliceOfN(rapid.SampledFrom([]string{
	"Anna", "Jürgen", "MUELLER", "Müller", "Muller", "Ø", "Åse", "Işık", "O’Brien", "de", "Þór", "Иван", "山田", "Weiß", "x", "é",
}), 1, 5)

func compareBoth(a, b string) (forth, back Field) {
	forth = Compare(Expected{FirstName: Text(a)}, Outputs{FirstName: Value{Text: Text(b)}})[0]
	back = Compare(Expected{FirstName: Text(b)}, Outputs{FirstName: Value{Text: Text(a)}})[0]
	return forth, back
}

// TestNamesHaveNoSides: it does not matter which side has the accents or more names, as long as the expectation is no list of candidates.
func TestNamesHaveNoSides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := strings.Join(names.Draw(t, "a"), " "), strings.Join(names.Draw(t, "b"), "-")
		forth, back := compareBoth(a, b)
		leftOut, none := Field{FirstName, Close, NamesLeftOut}, Field{FirstName, Mismatch, NoRule}
		switch more := len(tokens(a)) - len(tokens(b)); {
		case more > 2 && back == leftOut:
			back = none
		case more < -2 && forth == leftOut:
			forth = none
		}
		if forth != back {
			t.Fatalf("%q, %q: got %v one way and %v the other", a, b, forth, back)
		}
	})
}

// TestNamesMatchTheirOtherForms: names match if they are in another order, case and punctuation, and are close if some are left out.
func TestNamesMatchTheirOtherForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drawn := names.Draw(t, "names")
		written := strings.Join(drawn, " ")
		other := strings.ToUpper(strings.Join(rapid.Permutation(drawn).Draw(t, "order"), "-"))
		if got, _ := compareBoth(written, other); got.Result != Match {
			t.Fatalf("%q, %q: got %v, want a match", written, other, got)
		}
		// A name beside all of them; it has letters of the first one's script.
		more := written + " " + strings.ToLower(drawn[0])
		if got, _ := compareBoth(written, more); got != (Field{FirstName, Close, NamesLeftOut}) {
			t.Fatalf("%q, %q: got %v, want names left out", written, more, got)
		}
	})
}

// TestUnknownNamesNeverMatch: a text that shares no letter with a name is no match and not close.
func TestUnknownNamesNeverMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringMatching(`[A-Fa-fäàçé'. -]{0,40}[a-f][A-Fa-f '-]{0,40}`).Draw(t, "a")
		b := rapid.StringMatching(`[P-Wp-wøöñ'. -]{0,40}[p-w][P-Wp-w '-]{0,40}`).Draw(t, "b")
		if forth, back := compareBoth(a, b); forth.Result != Mismatch || back.Result != Mismatch {
			t.Fatalf("%q, %q: got %v and %v, want mismatches", a, b, forth, back)
		}
	})
}

// TestEmptyNamesNeverMatch: punctuation alone is no name, and so is no part of one.
func TestEmptyNamesNeverMatch(t *testing.T) {
	for _, none := range []string{"-", "'", "\u00ad", "\u200d", "...", "\u0301"} {
		if forth, _ := compareBoth("Anna", none); forth.Result == Match || forth.Result == Close {
			t.Errorf("%q: got %v, want no match", none, forth)
		}
		if field, _ := (Expected{LastName: Text(none)}).Check(); field != LastName {
			t.Errorf("%q: got no error, want one", none)
		}
	}
}

// TestHiddenValuesAreNotCompared: a value that Stripe does not show, or has erased, is never equal to anything.
func TestHiddenValuesAreNotCompared(t *testing.T) {
	for _, value := range []Value{{Text: "Anna", Hidden: true}, {Text: Redacted}, {Hidden: true}, Date(1, 1, 1)} {
		got := Compare(Expected{FirstName: "Anna"}, Outputs{FirstName: value})
		if got[0] != (Field{FirstName, NotReadable, NoRule}) {
			t.Errorf("got %v, want not readable", got)
		}
	}
}

// TestFieldsKeepTheirOrder: the answer has the fields that were asked for, in the order of the contract.
func TestFieldsKeepTheirOrder(t *testing.T) {
	all := Expected{"a", "b", "1990-01-01", "1", "NL", "1234", "a@example.com", "+31201234567"}
	want := []string{FirstName, LastName, DateOfBirth, PostalCode, Country, IDNumber, Email, Phone}
	var got []string
	for _, field := range Compare(all, Outputs{}) {
		got = append(got, field.Name)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(all.Fields()) != fmt.Sprint(want) {
		t.Errorf("got %v and %v, want %v", got, all.Fields(), want)
	}
	if got := (Expected{Phone: "1", LastName: "a"}).Fields(); fmt.Sprint(got) != "[last_name phone]" {
		t.Errorf("got %v, want those that are set", got)
	}
}

// TestManyNamesAreRefused: a list of candidates is no name.
func TestManyNamesAreRefused(t *testing.T) {
	for _, name := range []string{FirstName, LastName} {
		if field, reason := expectedOf(t, name, "Maria da Conceição-Anna dos Santos").Check(); field != "" {
			t.Errorf("%s: got %q for six names, want no error", name, reason)
		}
		field, reason := expectedOf(t, name, "Emma Olivia Sophia-Mia, Lea Lena Marie").Check()
		if field != name || reason != "must have at most 6 names" {
			t.Errorf("%s: got %q %q for seven names, want an error", name, field, reason)
		}
	}
}

// TestACandidateInAListIsNotFound: the most names that one call can test are those that the ADR says.
func TestACandidateInAListIsNotFound(t *testing.T) {
	candidates := strings.Fields("Emma Olivia Anna Sophia Mia Lea")
	for n := 1; n <= len(candidates); n++ {
		got, _ := compareBoth(strings.Join(candidates[:n], " "), "Anna")
		if want := n == 3; (got.Result == Close) != want || got.Result == Match {
			t.Errorf("%d candidates: got %v, want it close only among three", n, got)
		}
	}
}

// TestCheckNeverQuotes: an error about a value goes to logs and screens, so it does not have the value.
func TestCheckNeverQuotes(t *testing.T) {
	for field, wrong := range map[string]string{
		FirstName: "pl\x00anted", LastName: strings.Repeat("planted", 40), DateOfBirth: "1990-02-30", PostalCode: "----", Country: "planted",
		IDNumber: "\xffplanted", Email: "planted", Phone: "0planted",
	} {
		expected := expectedOf(t, field, wrong)
		got, reason := expected.Check()
		if got != field || reason == "" || strings.Contains(reason, "planted") || strings.Contains(reason, wrong) {
			t.Errorf("%s: got %q %q, want a reason without the value", field, got, reason)
		}
	}
}

// TestG10_TextsAreConcealed: no usual way of writing a value shows a personal text.
func TestG10_TextsAreConcealed(t *testing.T) {
	expected := Expected{FirstName: "planted", Phone: "planted"}
	outputs := Outputs{LastName: Value{Text: "planted"}}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "expected", expected, "outputs", outputs, "text", expected.Phone)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "expected", expected, "outputs", outputs, "text", expected.Phone)
	encoded, err := json.Marshal([]any{expected, outputs})
	if err != nil {
		t.Fatal(err)
	}
	text := logged.String() + string(encoded)
	for _, verb := range "vsqxXdtUceEfFgGobO!y" {
		for _, flag := range []string{"", "+", "#", " ", "-9", ".3"} {
			format := "%" + flag + string(verb)
			text += fmt.Sprintf(format+format+format+format+format, expected, &outputs, expected.FirstName, &expected.FirstName, expected.fields())
		}
	}
	text += fmt.Sprint(expected.fields(), outputs)
	for _, planted := range []string{"planted", "pla", fmt.Sprintf("%x", "planted"), fmt.Sprintf("%X", "planted"), fmt.Sprintf("%x", "pla")} {
		if strings.Contains(text, planted) {
			t.Errorf("got %q in %s", planted, text)
		}
	}
}

// TestG10_APanicQuotesNoValue: what a library says when it panics can be a value, and a panic is logged.
func TestG10_APanicQuotesNoValue(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "panicked") || strings.Contains(got, "planted") {
			t.Errorf("got %q, want a panic without the value", got)
		}
	}()
	withoutValues(func() { panic("planted") })
}
