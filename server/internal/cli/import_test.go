package cli

import (
	"testing"
	"time"
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
