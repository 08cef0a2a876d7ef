package main

import (
	_ "embed"
	"fmt"
)

// notices has the licences of all that is linked into this program, which must go along with it. It is made by
// .ci/notices, and .ci/run checks that it is current.
//
//go:embed THIRD_PARTY_NOTICES
var notices string

type licensesCommand struct{}

// Run prints the notices.
func (licensesCommand) Run() error {
	_, err := fmt.Print(notices)
	return err
}
