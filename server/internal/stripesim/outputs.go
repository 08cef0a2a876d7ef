package stripesim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// The fields of a session that a request can expand. A request that names none gets none.
const (
	expandOutputs  = "verified_outputs"
	expandDOB      = "verified_outputs.dob"
	expandIDNumber = "verified_outputs.id_number"
)

// sensitiveLife is how long a key can read sensitive results after the processing. After that Stripe wants a key that is bound to
// addresses, which the simulator does not have.
const sensitiveLife = 48 * time.Hour

// Outputs are what a check of a person verified. A text that is empty was not verified.
type Outputs struct {
	FirstName, LastName string
	DateOfBirth         Date
	Line1, City         string
	PostalCode, Country string
	IDNumber            string
	Email, Phone        string
}

// Date is a date. The zero value is none.
type Date struct{ Year, Month, Day int }

// OutputPrefix begins the metadata keys of a session that say what its check will verify: simulated_first_name, _last_name,
// _date_of_birth (YYYY-MM-DD), _postal_code, _country, _id_number, _email and _phone. Stripe has nothing of the kind.
const OutputPrefix = "simulated_"

// people are the holders of simulated documents.
var people = []struct{ first, last string }{
	{"Anna Maria", "Müller"}, {"Øystein", "Berg"}, {"José", "García López"}, {"Işık", "Yıldız"}, {"Zoë", "O’Brien"},
}

// SetOutputs sets what the check of a session verified, or will verify.
func (s *Sim) SetOutputs(id string, outputs Outputs) error {
	return s.with(id, func(sess *session) *Error {
		sess.outputs = &outputs
		return nil
	})
}

// outputsOf returns what the check of a session verified: as it was set, else a person of its own, as its metadata change it.
func (sess *session) outputsOf() Outputs {
	if sess.outputs != nil {
		return *sess.outputs
	}
	holder := people[sess.seq%uint64(len(people))]
	out := Outputs{
		FirstName: holder.first, LastName: holder.last, Line1: "Voorbeeldstraat 1", City: "Amsterdam", PostalCode: "1012 AB", Country: "NL",
		DateOfBirth: Date{1980 + int(sess.seq%20), 1 + int(sess.seq%12), 1 + int(sess.seq%28)},
	}
	for name, field := range map[string]*string{
		"first_name": &out.FirstName, "last_name": &out.LastName, "postal_code": &out.PostalCode, "country": &out.Country,
		"id_number": &out.IDNumber, "email": &out.Email, "phone": &out.Phone,
	} {
		if text, set := sess.metadata[OutputPrefix+name]; set {
			*field = text
		}
	}
	if born, err := time.Parse(time.DateOnly, sess.metadata[OutputPrefix+"date_of_birth"]); err == nil {
		out.DateOfBirth = Date{born.Year(), int(born.Month()), born.Day()}
	}
	return out
}

// outputsObject is verified_outputs in Stripe's JSON. The sensitive fields are there only if the request expands them.
type outputsObject struct {
	Address      *addressObject `json:"address"`
	DOB          *dobObject     `json:"dob,omitempty"`
	Email        *string        `json:"email"`
	FirstName    *string        `json:"first_name"`
	IDNumber     *string        `json:"id_number,omitempty"`
	IDNumberType *string        `json:"id_number_type"`
	LastName     *string        `json:"last_name"`
	Phone        *string        `json:"phone"`
}

type addressObject struct {
	City       *string `json:"city"`
	Country    *string `json:"country"`
	Line1      *string `json:"line1"`
	PostalCode *string `json:"postal_code"`
}

type dobObject struct {
	Day   int `json:"day"`
	Month int `json:"month"`
	Year  int `json:"year"`
}

// renderOutputs returns verified_outputs, or nil if the session is not verified. A redaction leaves texts that say so, and the date
// 1/1/1.
func (sess *session) renderOutputs(expanded []string) *outputsObject {
	if sess.status != statusVerified {
		return nil
	}
	out := sess.outputsOf()
	text := func(value string) *string {
		if value != "" && sess.redaction == redactionDone {
			value = redactedText
		}
		return orNull(value)
	}
	object := &outputsObject{
		Email: text(out.Email), FirstName: text(out.FirstName), LastName: text(out.LastName), Phone: text(out.Phone),
		Address: &addressObject{City: text(out.City), Country: text(out.Country), Line1: text(out.Line1), PostalCode: text(out.PostalCode)},
	}
	if slices.Contains(expanded, expandIDNumber) {
		object.IDNumber = text(out.IDNumber)
	}
	if born := out.DateOfBirth; slices.Contains(expanded, expandDOB) && born != (Date{}) {
		if sess.redaction == redactionDone {
			born = Date{1, 1, 1}
		}
		object.DOB = &dobObject{born.Day, born.Month, born.Year}
	}
	return object
}

// parseExpand reads expand[] of a GET of a session.
func parseExpand(n *node) ([]string, *Error) {
	if err := n.only("expand"); err != nil {
		return nil, err
	}
	expanded, err := n.list("expand")
	if err != nil {
		return nil, err
	}
	for _, field := range expanded {
		if field != expandOutputs && field != expandDOB && field != expandIDNumber {
			return nil, errBad("", "", "This property cannot be expanded ("+field+").")
		}
	}
	return expanded, nil
}

// mayExpand refuses sensitive fields to a secret key, to a restricted key without the permission, and after sensitiveLife.
func (s *Sim) mayExpand(key Key, in realm, sess *session, expanded []string) *Error {
	if !slices.Contains(expanded, expandDOB) && !slices.Contains(expanded, expandIDNumber) {
		return nil
	}
	if !strings.HasPrefix(key.Value, "rk_") {
		return &Error{HTTPStatus: http.StatusForbidden, Type: typeInvalidRequest,
			Message: "Sensitive verification results can be read with a restricted key only, and not with a secret key."}
	}
	if sess.status == statusVerified && s.now().Sub(time.Unix(sess.verified, 0)) > sensitiveLife {
		return permit(Key{Value: key.Value, Lacks: []string{permissionReadAllSensitive}}, in, []string{permissionReadAllSensitive})
	}
	return permit(key, in, []string{PermissionReadSensitive})
}
