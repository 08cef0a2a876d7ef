package importing

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressIsOneLine(t *testing.T) {
	for want, report := range map[string]Progress{
		"import: 12300 done, 480 a second; about 87700 left (3m3s); platform, account 1 of 2, created up to 2026-02-03; 130 reads": {
			Account: Platform, Accounts: 1, Of: 2, Done: 12300, Reads: 130, Rate: 480, At: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Left: 87700,
		},
		"import: 7 done, 0 a second; acct_1, account 2 of 2; 1 read; waiting: x": {Account: "acct_1", Accounts: 2, Of: 2, Done: 7, Reads: 1, Left: -1, Waiting: "x"},
		"import: waiting: another import is running":                             {Waiting: "another import is running"},
	} {
		if got := report.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestPrinter(t *testing.T) {
	for name, test := range map[string]struct {
		terminal bool
		want     string
	}{
		"a terminal": {true, "\r\x1b[Kimport: waiting: 0\r\x1b[Kimport: waiting: 2\r\x1b[Kimport: waiting: 3\n"},
		"a file":     {false, "import: waiting: 0\nimport: waiting: 3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			now := time.Unix(1_790_000_000, 0)
			p := NewPrinter(&out, test.terminal, func() time.Time { return now })
			for i, pause := range []time.Duration{100 * time.Millisecond, 150 * time.Millisecond, 10 * time.Second, 0} {
				p.Print(Progress{Waiting: string(rune('0' + i))})
				now = now.Add(pause)
			}
			p.End()
			p.End()
			if out.String() != test.want {
				t.Errorf("printed %q, want %q", out.String(), test.want)
			}
		})
	}
}

// The estimate of what is left falls to nearly nothing, and what is done rises to everything.
func TestProgressOfAnImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 5000
		stripe, kept := newFakeStripe(), newFakeStore()
		for n := range count {
			stripe.add(listedSession(n, "", time.Now().Unix()-30*day+int64(n)*500))
		}
		var reports []Progress
		i := importer(t, kept, stripe, func(c *Config) { c.Progress = func(p Progress) { reports = append(reports, p) } })
		complete(t, i)
		if len(reports) < count/stepSize {
			t.Fatalf("%d reports, want at least one for each step", len(reports))
		}
		for n, p := range reports {
			if n > 0 && p.Done < reports[n-1].Done {
				t.Fatalf("done fell from %d to %d", reports[n-1].Done, p.Done)
			}
			// Less than a window is done that is not yet counted in At.
			if off := p.Done + p.Left - count; p.Left >= 0 && (off < -windowHolds || off > 3*windowHolds) {
				t.Errorf("%d done and about %d left; want %d in all", p.Done, p.Left, count)
			}
		}
		if last := reports[len(reports)-1]; last.Done != count || last.Left > pageSize {
			t.Errorf("the last report: %s", last)
		}
	})
}

func TestSummarySaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		summary Summary
		want    []string
	}{
		"complete":    {Summary{Accounts: 1, New: 3, Redacted: 1, Reads: 2}, []string{"import complete", "accounts: 1 done, 0 refused", "3 new, 1 of them redacted", "reads:    2"}},
		"stopped":     {Summary{Stopped: ErrReads, Resume: "platform, sessions created from 2026-02-03T04:05:06Z on"}, []string{"stopped early. To resume, run the same command again", "resumes:  at platform, sessions created from 2026-02-03"}},
		"incomplete":  {Summary{Refused: []string{"acct_1"}}, []string{"ended, but not complete", "1 refused"}},
		"with others": {Summary{Unknown: 1, Broken: 2, Malformed: 3, MalformedIDs: []string{"vs_1"}, Waited: time.Minute}, []string{"1 that Stripe no longer returns", "2 that could not be stored", "malformed: 3 vs_1", "waited:   1m0s"}},
	} {
		for _, want := range test.want {
			if text := test.summary.String(); !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, text)
			}
		}
	}
	if err := (Summary{Refused: []string{"acct_1"}, Broken: 1}).incomplete(); err == nil || !strings.Contains(err.Error(), "acct_1") || errors.Is(err, ErrReads) {
		t.Errorf("incomplete: %v", err)
	}
}
