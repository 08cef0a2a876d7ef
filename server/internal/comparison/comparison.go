package comparison

import (
	"errors"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Result is whether two values match.
type Result uint8

// The results. The API contract has the same numbers.
const (
	Match       Result = 1
	Close       Result = 2 // not the same, but the rule explains the difference: a person must decide
	Mismatch    Result = 3
	NotVerified Result = 4 // Stripe verified no such field
	NotReadable Result = 5 // Stripe does not show the value
)

// Rule is how two values were compared. A mismatch has none: no rule makes the two values the same.
type Rule uint8

// The rules. The API contract has the same numbers.
const (
	NoRule          Rule = 0
	Exact           Rule = 1 // character by character
	Folded          Rule = 2 // regardless of case, accents, punctuation and the order of names
	Transliterated  Rule = 3 // by the spelling of machine-readable travel documents
	NamesLeftOut    Rule = 4 // all names of one side are among those of the other
	DifferentScript Rule = 5 // not compared
	LastFour        Rule = 6 // the last four characters
)

// The names of the fields, in the order of the field numbers in the API contract.
const (
	FirstName   = "first_name"
	LastName    = "last_name"
	DateOfBirth = "date_of_birth"
	PostalCode  = "postal_code"
	Country     = "country"
	IDNumber    = "id_number"
	Email       = "email"
	Phone       = "phone"
)

// Field is the result for one field. It holds no values.
type Field struct {
	Name   string
	Result Result
	Rule   Rule
}

// Expected is what a caller expects. Fields that are empty are not compared. Check says which forms they have.
type Expected struct {
	FirstName, LastName Text
	DateOfBirth         Text // YYYY-MM-DD
	PostalCode, Country Text
	IDNumber            Text // whole, or its last four characters
	Email               Text
	Phone               Text // E.164
}

// Fields returns the names of the fields that are set, in the order of the API contract.
func (e Expected) Fields() []string {
	var names []string
	for _, f := range e.fields() {
		if f.Text != "" {
			names = append(names, f.Name)
		}
	}
	return names
}

type expectedField struct {
	Name string
	Text Text // exported, so that package fmt finds its methods
}

func (e Expected) fields() []expectedField {
	return []expectedField{
		{FirstName, e.FirstName}, {LastName, e.LastName}, {DateOfBirth, e.DateOfBirth}, {PostalCode, e.PostalCode},
		{Country, e.Country}, {IDNumber, e.IDNumber}, {Email, e.Email}, {Phone, e.Phone},
	}
}

// Outputs is what Stripe verified.
type Outputs struct {
	FirstName, LastName Value
	DateOfBirth         Value // YYYY-MM-DD
	PostalCode, Country Value
	IDNumber            Value
	Email               Value
	Phone               Value
}

// Value is one verified value. Its zero value is a field that Stripe did not verify.
type Value struct {
	Text Text
	// Hidden is true if Stripe verified the field, or can have verified it, and does not show it.
	Hidden bool
}

// Redacted is the text that Stripe leaves where it erased one.
const Redacted = "[redacted]"

// ErrNotComparable is the error for a session without verified values: it is not verified, or it is redacted.
var ErrNotComparable = errors.New("the session is not verified, or it is redacted")

// Compare returns the result for each field of expected that is set, in the order of the API contract. It is safe for concurrent
// use.
func Compare(expected Expected, outputs Outputs) []Field {
	verified := []Value{
		outputs.FirstName, outputs.LastName, outputs.DateOfBirth, outputs.PostalCode,
		outputs.Country, outputs.IDNumber, outputs.Email, outputs.Phone,
	}
	var fields []Field
	withoutValues(func() {
		for i, f := range expected.fields() {
			if f.Text == "" {
				continue
			}
			result, rule := compare(f.Name, string(f.Text), verified[i])
			fields = append(fields, Field{f.Name, result, rule})
		}
	})
	return fields
}

// withoutValues calls a function. If the function panics, withoutValues panics with another text, since that of a library can quote a value.
func withoutValues(call func()) {
	defer func() {
		if recover() != nil {
			panic("comparison: a library panicked; its text is left out, since it can quote a value")
		}
	}()
	call()
}

// maxText bounds a text that is compared, in bytes. A longer one is no name.
const maxText = 512

func compare(name, expected string, verified Value) (Result, Rule) {
	text := string(verified.Text)
	switch {
	case verified.Hidden, text == Redacted:
		return NotReadable, NoRule
	case strings.TrimSpace(text) == "":
		return NotVerified, NoRule
	case len(text) > maxText, len(expected) > maxText, fold(text) == "", fold(expected) == "":
		return Mismatch, NoRule // punctuation alone is never the same
	case norm.NFC.String(expected) == norm.NFC.String(text):
		return Match, Exact
	}
	switch name {
	case FirstName, LastName:
		return compareNames(expected, text)
	case PostalCode, Country:
		return same(fold(expected) == fold(text), Folded)
	case IDNumber:
		return compareNumbers(fold(expected), fold(text))
	case Email:
		return compareEmails(expected, text)
	case Phone:
		return comparePhones(expected, text)
	default: // a date of birth is its digits
		return Mismatch, NoRule
	}
}

// same returns a match by a rule, or a mismatch.
func same(holds bool, rule Rule) (Result, Rule) {
	if holds {
		return Match, rule
	}
	return Mismatch, NoRule
}
