package main

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
)

// directory knows the people. Yours asks your table of users, by the client_reference_id that your backend gave to the session.
type directory interface {
	// find returns the person with a reference. It returns errNoAddress if nobody has the reference, or no address. The mailer
	// tries again after any other error.
	find(ctx context.Context, reference string) (recipient, error)
}

// recipient is a person that gets mails.
type recipient struct {
	address  *mail.Address
	language string // of languages
}

var errNoAddress = errors.New("no address")

// reference stands for the client_reference_id in the setting -address.
const reference = "{reference}"

// template is a directory for demonstrations: everybody has an address that contains the reference, and one language.
type template struct{ address, language string }

func (t template) find(_ context.Context, ref string) (recipient, error) {
	if ref == "" {
		return recipient{}, fmt.Errorf("%w: the session has no client_reference_id", errNoAddress)
	}
	text := strings.ReplaceAll(t.address, reference, ref)
	address, err := mail.ParseAddress(text)
	if err != nil || address.Address != text { // a reference can contain what is not an address, or is more than one
		return recipient{}, fmt.Errorf("%w: the client_reference_id makes no valid address", errNoAddress)
	}
	return recipient{address: address, language: t.language}, nil
}
