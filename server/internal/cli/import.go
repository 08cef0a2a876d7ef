package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

type importCommand struct {
	Config  config.Config `embed:""`
	Since   string        `placeholder:"DATE" help:"Import only the sessions that were created on this day or later: 2025-01-31, or 2025-01-31T12:00:00Z. By default all."`
	Account []string      `sep:"none" placeholder:"ID" help:"Import only this connected account (acct_...), or platform for the account of the key itself. It can be repeated. By default the platform, the accounts of STRIPE_ACCOUNTS, those with a key of their own, and those of which a session is known."`
	Again   bool          `help:"Begin from the first session, also if an import is unfinished: after a backup of Redis was restored. Leave it out to resume that import."`
	Reads   int           `default:"5000" placeholder:"N" help:"The limit of requests to Stripe, at least 100, or 0 for no limit. A hundred sessions take about one. They do not count in API_READS_PER_DAY."`
}

// minReads is the least limit with which each run gets on.
const minReads = 100

var importedPattern = regexp.MustCompile(`^(platform|acct_[A-Za-z0-9_]{1,250})$`)

// Validate lets a wrong flag be a wrong command line, with its exit code.
func (i *importCommand) Validate() error {
	_, err := i.options()
	return err
}

func (i *importCommand) Run(ctx context.Context, hooks app.Hooks, typed flagWarnings) error {
	options, err := i.options()
	if err != nil {
		return err
	}
	logger, err := load(&i.Config, telemetry.NewSecrets(), typed)
	if err != nil {
		return err
	}
	summary, err := app.Import(ctx, &i.Config, options, hooks, logger)
	if summary != "" {
		fmt.Println(summary)
	}
	return err
}

// options returns what the flags ask for, or an error that names every problem.
func (i *importCommand) options() (app.ImportOptions, error) {
	var problems []error
	since, err := parseSince(i.Since)
	if err != nil {
		problems = append(problems, err)
	} else if since.After(time.Now()) {
		problems = append(problems, errors.New("--since is in the future: no session was created since then"))
	}
	for _, account := range i.Account {
		if !importedPattern.MatchString(account) {
			problems = append(problems, errors.New("--account must be the id of a connected account (acct_...), or platform"))
			break
		}
	}
	if i.Reads != 0 && i.Reads < minReads {
		problems = append(problems, fmt.Errorf("--reads must be at least %d, or 0 for no limit: with fewer, a run cannot complete a part of the list", minReads))
	}
	return app.ImportOptions{Since: since, Accounts: i.Account, Again: i.Again, Reads: i.Reads, Progress: os.Stderr, Terminal: isTerminal(os.Stderr)}, errors.Join(problems...)
}

// parseSince returns the time that a text stands for: a day in UTC, or a time of RFC 3339.
func parseSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if since, err := time.Parse(layout, text); err == nil {
			return since, nil
		}
	}
	return time.Time{}, errors.New("--since must be a day such as 2025-01-31, or a time such as 2025-01-31T12:00:00Z")
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
