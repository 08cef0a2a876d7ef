package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
)

// Run runs one command until it ends, or until the process gets SIGINT or SIGTERM, and returns the exit code: 0, 1 if the command
// failed, or 2 if args are wrong. args does not include the program's name. thirdParty has the licences that the licenses command
// prints. hooks are for tests.
func Run(args []string, thirdParty string, hooks app.Hooks) int {
	var c commands
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	parser := kong.Must(&c, kong.Name("server"), kong.Description(description), config.Vars(),
		kong.ValueFormatter(describe), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(hooks, notices(thirdParty)))
	parsed, err := parser.Parse(args)
	if err != nil {
		reportUsage(err, args)
		return 2
	}
	if err := parsed.Run(secretsInFlags(parsed)); err != nil {
		fmt.Fprintf(os.Stderr, "%s\n", err)
		return 1
	}
	return 0
}

// reportUsage says what is wrong with the command line, and which help to read. If the command is missing, it prints that help.
func reportUsage(err error, args []string) {
	var wrong *kong.ParseError
	if !errors.As(err, &wrong) {
		fmt.Fprintln(os.Stderr, withoutValues(err.Error(), args))
		return
	}
	node, name := wrong.Context.Model.Node, wrong.Context.Model.Name
	if selected := wrong.Context.Selected(); selected != nil {
		node, name = selected, selected.FullPath()
	}
	var commands []string
	for _, child := range node.Children {
		commands = append(commands, child.Name)
	}
	path := strings.Fields(name) // no secrets, and the text names them
	text := withoutValues(err.Error(), slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return slices.Contains(path, arg) }))
	switch {
	case len(commands) > 0 && strings.HasPrefix(text, "expected "):
		_ = wrong.Context.PrintUsage(false)
		fmt.Fprintf(os.Stderr, "%s: a command is missing: %s\n", name, strings.Join(commands, ", "))
		return
	case len(commands) > 0 && strings.HasPrefix(text, "unexpected argument "):
		text += "; the commands are " + strings.Join(commands, ", ")
	}
	fmt.Fprintf(os.Stderr, "the command line cannot be read: %s\nfor help: %s --help\n", text, name)
}

// describe adds the default to the help of a flag: kong does not show it if the flag has a placeholder.
func describe(value *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(value)
	if value.HasDefault {
		help += fmt.Sprintf(" Default: %s.", value.Default)
	}
	return help
}
