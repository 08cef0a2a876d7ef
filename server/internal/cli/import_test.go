package cli

import (
	"testing"
	"time"

	"example.com/verification-status/server/internal/app"
)

func TestImportFlags(t *testing.T) {
	day := time.Date(2025, 1, 31, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		command importCommand
		since   time.Time
		valid   bool
	}{
		"none":                   {importCommand{}, time.Time{}, true},
		"a day":                  {importCommand{Since: "2025-01-31"}, day, true},
		"a time":                 {importCommand{Since: "2025-01-31T02:00:00+02:00"}, day, true},
		"tomorrow":               {importCommand{Since: time.Now().Add(24 * time.Hour).Format(time.RFC3339)}, time.Time{}, false},
		"accounts":               {importCommand{Account: []string{"acct_1Abc", "platform"}, Reads: 100}, time.Time{}, true},
		"no time":                {importCommand{Since: "last week"}, time.Time{}, false},
		"a month that is not":    {importCommand{Since: "2025-13-31"}, time.Time{}, false},
		"an account that is not": {importCommand{Account: []string{"acct_1,acct_2"}}, time.Time{}, false},
		"an empty account":       {importCommand{Account: []string{""}}, time.Time{}, false},
		"too few reads":          {importCommand{Reads: 99}, time.Time{}, false},
		"a negative number":      {importCommand{Reads: -1}, time.Time{}, false},
	} {
		options, err := test.command.options()
		if (err == nil) != test.valid {
			t.Errorf("%s: error %v, want valid %v", name, err, test.valid)
		}
		if err == nil && !options.Since.Equal(test.since) {
			t.Errorf("%s: since %v, want %v", name, options.Since, test.since)
		}
	}
}

// A wrong flag of import is a wrong command line: the exit code is 2, and nothing is read.
func TestAWrongFlagOfImport(t *testing.T) {
	for _, flag := range []string{"--since=yesterday", "--since=2999-01-01", "--reads=5", "--reads=many", "--account=vs_1"} {
		if code := Run([]string{"import", flag}, "", app.Hooks{}); code != 2 {
			t.Errorf("%s: exit code %d, want 2", flag, code)
		}
	}
	if code := Run([]string{"import", "--since=2025-01-31", "--reads=100", "--account=acct_1", "--stripe-api-key="}, "", app.Hooks{}); code != 1 {
		t.Errorf("valid flags without a key: exit code %d, want 1", code)
	}
}
