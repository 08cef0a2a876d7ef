package comparison

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxExpected bounds each expected value, in bytes.
const maxExpected = 255

// maxExpectedNames bounds the names in an expected first or last name. More of them are a list of candidates.
const maxExpectedNames = 6

var (
	countryPattern = regexp.MustCompile(`^[A-Za-z]{2}$`)
	phonePattern   = regexp.MustCompile(`^\+[1-9][0-9]{4,14}$`)
)

// Check returns the first field of an expectation whose form is wrong, and what its form must be. It returns "" if all are
// right. The reason never quotes the value.
func (e Expected) Check() (field, reason string) {
	for _, f := range e.fields() {
		if f.Text == "" {
			continue
		}
		if err := check(f.Name, string(f.Text)); err != nil {
			return f.Name, err.Error()
		}
	}
	return "", ""
}

func check(name, text string) error {
	switch {
	case len(text) > maxExpected:
		return errors.New("must have at most 255 bytes")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("must be text without control characters")
	}
	switch name {
	case FirstName, LastName:
		switch names := len(tokens(text)); {
		case names == 0:
			return errors.New("must have a letter")
		case names > maxExpectedNames:
			return errors.New("must have at most 6 names")
		}
	case DateOfBirth:
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return errors.New("must be a date like 1990-02-28")
		}
	case Country:
		if !countryPattern.MatchString(text) {
			return errors.New("must be an ISO 3166-1 alpha-2 code, such as NL")
		}
	case PostalCode, IDNumber:
		if fold(text) == "" {
			return errors.New("must have a letter or digit")
		}
	case Email:
		if at := strings.LastIndexByte(text, '@'); at < 1 || at == len(text)-1 || strings.ContainsFunc(text, unicode.IsSpace) {
			return errors.New("must be an address with an @ and without spaces")
		}
	case Phone:
		if !phonePattern.MatchString(text) {
			return errors.New("must be a number in E.164, such as +31201234567")
		}
	}
	return nil
}
