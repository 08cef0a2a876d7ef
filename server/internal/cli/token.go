package cli

import (
	"fmt"

	"example.com/verification-status/server/internal/access"
)

// newTokenCommand prints a token and its line, which has only a hash of the token.
type newTokenCommand struct {
	Name   string `required:"" placeholder:"NAME" help:"The name of the caller, for the log and for the record of a grant."`
	Rights string `required:"" placeholder:"RIGHTS" help:"The rights of the caller, separated by commas: read, watch-all, list, retry, override, compare."`
}

func (n *newTokenCommand) Run() error {
	rights, err := access.ParseRights(n.Rights)
	if err != nil {
		return fmt.Errorf("--rights: %w", err)
	}
	token, line, err := access.NewToken(n.Name, rights)
	if err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	fmt.Printf("The token, for the caller. It is shown only this once:\n%s\n\nThe line for the file that GRPC_TOKENS_FILE names:\n%s\n", token, line)
	return nil
}
