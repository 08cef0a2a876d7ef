package comparison

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"
)

// fold returns the letters and digits of a code or number that can be seen, in upper case and in their usual width.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if invisible(r) || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, norm.NFKC.String(text))
}

// lastFour is how many characters of a number are its end.
const lastFour = 4

// compareNumbers compares id numbers that are folded. Four characters are compared with the end of the other number.
func compareNumbers(expected, verified string) (Result, Rule) {
	switch e, v := []rune(expected), []rune(verified); {
	case expected == "" || verified == "":
		return Mismatch, NoRule
	case expected == verified:
		return Match, Folded
	case len(e) == lastFour && len(v) > lastFour:
		return same(string(v[len(v)-lastFour:]) == expected, LastFour)
	default:
		return Mismatch, NoRule
	}
}

// compareEmails compares addresses that are not equal. Case means nothing in a domain, and can mean something in a local part
// (RFC 5321, 2.4). Hosts with two such mailboxes are rare, and the RFC discourages them, so a person must decide.
func compareEmails(expected, verified string) (Result, Rule) {
	e, v := strings.LastIndexByte(expected, '@'), strings.LastIndexByte(verified, '@')
	switch {
	case e < 0 || v < 0 || !strings.EqualFold(expected[e:], verified[v:]):
		return Mismatch, NoRule
	case expected[:e] == verified[:v]:
		return Match, Folded
	case strings.EqualFold(expected[:e], verified[:v]):
		return Close, Folded
	default:
		return Mismatch, NoRule
	}
}

// comparePhones compares numbers that are not equal as texts. A number without a country code is not guessed.
func comparePhones(expected, verified string) (Result, Rule) {
	e, err := phonenumbers.Parse(expected, "")
	if err != nil {
		return Mismatch, NoRule
	}
	v, err := phonenumbers.Parse(verified, "")
	if err != nil || e.GetExtension() != v.GetExtension() {
		return Mismatch, NoRule
	}
	return same(phonenumbers.Format(e, phonenumbers.E164) == phonenumbers.Format(v, phonenumbers.E164), Folded)
}

// Date returns a verified date of birth from its three numbers. A date whose day or month is 0 is not known, so nothing is
// verified. 1 January of the year 1 is what Stripe leaves of an erased date.
func Date(year, month, day int) Value {
	switch {
	case year == 1 && month == 1 && day == 1:
		return Value{Hidden: true}
	case year <= 0 || month <= 0 || day <= 0:
		return Value{}
	default:
		return Value{Text: Text(fmt.Sprintf("%04d-%02d-%02d", year, month, day))}
	}
}
