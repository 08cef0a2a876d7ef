package cli

import (
	"fmt"

	"example.com/verification-status/server/internal/access"
)

// newTokenCommand prints a token, once: only its hash is in the line.
type newTokenCommand struct {
	Name   string `required:"" placeholder:"NAME" help:"Whose token: the name in the log, and in the record of a grant."`
	Rights string `required:"" placeholder:"RIGHTS" help:"What it may do, separated by commas: read, watch-all, list, retry."`
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
	fmt.Printf("The token, for the caller; it is shown this once:\n%s\n\nThe line for the file that GRPC_TOKENS_FILE names:\n%s\n", token, line)
	return nil
}
