//go:build nodev

package cli

import "errors"

// firstCommand is the command that the description names.
const firstCommand = "serve --help"

// devCommands say where dev is. A program that is shipped has neither an imitation of Redis nor one of Stripe.
type devCommands struct {
	Dev devCommand `cmd:"" passthrough:"" help:"Not in this program, which was built for shipping. In a clone of the source: go run ./server dev."`
}

type devCommand struct {
	Args []string `arg:"" optional:""`
}

func (devCommand) Run() error {
	return errors.New("this program was built for shipping, without the development server (-tags nodev): in a clone of the source run go run ./server dev, or build a program that has it with go build ./server")
}
