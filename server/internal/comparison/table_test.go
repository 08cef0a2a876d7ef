package comparison

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

//go:embed testdata/pairs.tsv
var pairs string

// results and rules have the names of the contract.
var (
	results = map[string]Result{"MATCH": Match, "CLOSE": Close, "MISMATCH": Mismatch, "NOT_VERIFIED": NotVerified, "NOT_READABLE": NotReadable}
	rules   = map[string]Rule{
		"UNSPECIFIED": NoRule, "EXACT": Exact, "FOLDED": Folded, "TRANSLITERATED": Transliterated,
		"NAMES_LEFT_OUT": NamesLeftOut, "DIFFERENT_SCRIPT": DifferentScript, "LAST_FOUR": LastFour,
	}
)

// TestPairs compares the table of pairs with the code. The table was there first.
func TestPairs(t *testing.T) {
	compared := 0
	for line := range strings.Lines(pairs) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(row) != 6 || row[5] == "" {
			t.Fatalf("a row without six columns: %q", line)
		}
		field, want := row[0], Field{row[0], results[row[3]], rules[row[4]]}
		if want.Result == 0 {
			t.Fatalf("an unknown result: %q", line)
		}
		expected, outputs := expectedOf(t, field, row[1]), outputsOf(t, field, row[2])
		if name, reason := expected.Check(); name != "" {
			t.Errorf("%s %q: %s", field, row[1], reason)
		}
		got := Compare(expected, outputs)
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s %q, %q: got %v, want %v (%s)", field, row[1], row[2], got, want, row[5])
		}
		compared++
	}
	if compared < 120 {
		t.Errorf("got %d pairs, want at least 120", compared)
	}
}

func expectedOf(t *testing.T, field, text string) (e Expected) {
	t.Helper()
	at := map[string]*Text{
		FirstName: &e.FirstName, LastName: &e.LastName, DateOfBirth: &e.DateOfBirth, PostalCode: &e.PostalCode,
		Country: &e.Country, IDNumber: &e.IDNumber, Email: &e.Email, Phone: &e.Phone,
	}[field]
	if at == nil {
		t.Fatalf("no such field: %q", field)
	}
	*at = Text(text)
	return e
}

func outputsOf(t *testing.T, field, text string) (o Outputs) {
	t.Helper()
	if field == DateOfBirth {
		o.DateOfBirth = dateOf(t, text)
		return o
	}
	*map[string]*Value{
		FirstName: &o.FirstName, LastName: &o.LastName, PostalCode: &o.PostalCode,
		Country: &o.Country, IDNumber: &o.IDNumber, Email: &o.Email, Phone: &o.Phone,
	}[field] = Value{Text: Text(text)}
	return o
}

// dateOf returns a date as Stripe has it: three numbers.
func dateOf(t *testing.T, text string) Value {
	t.Helper()
	if text == "" {
		return Value{}
	}
	var year, month, day int
	if _, err := fmt.Sscanf(text, "%d-%d-%d", &year, &month, &day); err != nil {
		t.Fatal(err)
	}
	return Date(year, month, day)
}
