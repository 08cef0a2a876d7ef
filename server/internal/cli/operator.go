package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"example.com/verification-status/server/internal/remote"
)

// operatorCommand has the commands with which people help other people, by the calls of a running server.
type operatorCommand struct {
	Show    showCommand    `cmd:"" help:"Show how a session stands, each input that reached it, and what can be done. It needs the right read."`
	Allow   allowCommand   `cmd:"" help:"Allow one more try, whatever the limit and the kind of failure say. It needs the rights read and override."`
	Resolve resolveCommand `cmd:"" help:"Note that the person was dealt with elsewhere, or take that back. It needs the rights read and override."`
}

type showCommand struct {
	Subject remote.Subject `embed:""`
	JSON    bool           `name:"json" help:"Print the server's answer as JSON."`
	Server  remote.Server  `embed:""`
}

// Validate lets a wrong subject be a wrong command line, with its exit code.
func (c *showCommand) Validate() error { return c.Subject.Check() }

func (c *showCommand) Run(ctx context.Context, typed flagWarnings) error {
	typed.print()
	if c.JSON {
		return remote.ShowJSON(ctx, &c.Server, c.Subject, os.Stdout)
	}
	return remote.Show(ctx, &c.Server, c.Subject, time.Now, os.Stdout)
}

// change has the flags of a command that changes a session.
type change struct {
	Subject remote.Subject `embed:""`
	Outcome int32          `name:"outcome" placeholder:"REVISION" help:"The revision of the outcome that you saw, as show prints it. If the outcome is another one by now, nothing is changed. By default the outcome at the moment of the call."`
	Yes     bool           `name:"yes" help:"Do not ask. By default the command shows the session that it found by --reference, and asks before it changes it."`
	Server  remote.Server  `embed:""`
}

func (c *change) validate() error {
	if c.Outcome < 0 {
		return fmt.Errorf("--outcome must be a revision, such as 3")
	}
	if c.Outcome > 0 && c.Subject.Reference != "" {
		return errors.New("--outcome is of one session: give that session in place of --reference")
	}
	return c.Subject.Check()
}

// toMake returns the change that the flags ask for.
func (c *change) toMake(ctx context.Context) remote.Change {
	made := remote.Change{Subject: c.Subject, Outcome: c.Outcome, Now: time.Now, Out: os.Stdout}
	if !c.Yes {
		made.Ask = func(question string) bool { return confirm(ctx, question, os.Stdin, os.Stdout) }
	}
	return made
}

type allowCommand struct {
	Change change `embed:""`
}

// Validate is as that of showCommand.
func (c *allowCommand) Validate() error { return c.Change.validate() }

func (c *allowCommand) Run(ctx context.Context, typed flagWarnings) error {
	typed.print()
	return remote.AllowRetry(ctx, &c.Change.Server, c.Change.toMake(ctx))
}

type resolveCommand struct {
	Change   change `embed:""`
	Kind     string `name:"kind" xor:"how" required:"" enum:"verified-elsewhere,declined,closed" placeholder:"KIND" help:"How the person was dealt with: verified-elsewhere (by another method or by hand), declined (by hand), or closed (a duplicate, a withdrawal or a test)."`
	TakeBack bool   `name:"take-back" xor:"how" required:"" help:"Take an earlier resolution back."`
}

// Validate is as that of showCommand.
func (c *resolveCommand) Validate() error { return c.Change.validate() }

func (c *resolveCommand) Run(ctx context.Context, typed flagWarnings) error {
	typed.print()
	return remote.Resolve(ctx, &c.Change.Server, c.Kind, c.Change.toMake(ctx))
}

// confirm asks a question and returns whether the answer is yes. The end of in, and the end of ctx, are no.
func confirm(ctx context.Context, question string, in io.Reader, out io.Writer) bool {
	_, _ = fmt.Fprintf(out, "\n%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			_, _ = fmt.Fprintln(out) // no end of a line was typed
		}
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-answer:
		return line == "y" || line == "yes"
	case <-ctx.Done():
		_, _ = fmt.Fprintln(out)
		return false
	}
}
