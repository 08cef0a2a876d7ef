package importing

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Summary is what a Run did.
type Summary struct {
	// Took is how long the Run took, and Waited how much of it was a wait for readers of the feed.
	Took, Waited time.Duration
	// Stopped is why the Run stopped early. It is nil if it tried every account.
	Stopped error
	// Resume says where the next Run resumes. It is empty if this one did not stop within an account.
	Resume string
	// Resumed is true if the Run resumed an unfinished import.
	Resumed bool

	// Accounts is the number of accounts that are done, including the platform and those that an earlier Run has imported.
	// Refused holds those whose sessions Stripe refuses to list.
	Accounts int
	Refused  []string
	// Reads is the number of requests to Stripe.
	Reads int
	// New counts the sessions that were not known, and Redacted those of them that Stripe has redacted.
	New, Redacted int
	// Known counts the sessions whose record equals the list. Reread counts those that differed and were read again, and
	// Corrected those of them that the read changed.
	Known, Reread, Corrected int
	// Unknown counts the sessions that were deleted at Stripe between the list and the read. Nothing of them is left to import.
	// Unread counts those that Stripe refuses to return for another reason.
	Unknown, Unread int
	// Broken counts the sessions whose record could not be read or written.
	Broken int
	// Malformed counts the sessions of the list that cannot be used. MalformedIDs holds the ids of the first ones.
	Malformed    int
	MalformedIDs []string
}

// maxMalformedIDs bounds the malformed sessions that a summary names.
const maxMalformedIDs = 20

func (s *Summary) noteMalformed(ids []string) {
	s.Malformed += len(ids)
	for _, id := range ids {
		if id != "" && len(s.MalformedIDs) < maxMalformedIDs {
			s.MalformedIDs = append(s.MalformedIDs, id)
		}
	}
}

// Sessions returns how many sessions of the list were applied or compared.
func (s Summary) Sessions() int { return s.New + s.Known + s.Reread + s.Unknown + s.Unread + s.Broken }

// incomplete returns an error if an account or a session is left out although the Run tried all. It returns nil otherwise.
func (s Summary) incomplete() error {
	var left []error
	if len(s.Refused) > 0 {
		left = append(left, fmt.Errorf("Stripe refuses %s: %s. When it gives access again, import each with --account", plural(len(s.Refused), "account"), strings.Join(s.Refused, " ")))
	}
	if s.Broken > 0 {
		left = append(left, fmt.Errorf("%s could not be stored: the log has the ids", plural(s.Broken, "session")))
	}
	if s.Unread > 0 {
		left = append(left, fmt.Errorf("Stripe refuses to return %s of its list: the log has the ids", plural(s.Unread, "session")))
	}
	if s.Malformed > 0 {
		left = append(left, fmt.Errorf("%s of Stripe's list cannot be used: the log has the ids", plural(s.Malformed, "session")))
	}
	return errors.Join(left...)
}

// String returns several lines of plain text, without a newline at the end.
func (s Summary) String() string {
	var b strings.Builder
	state := "complete"
	switch {
	case errors.Is(s.Stopped, verification.ErrStripeUnauthorized), errors.Is(s.Stopped, ErrNoAccounts):
		state = "stopped early"
	case s.Stopped != nil:
		state = "stopped early. To resume, run the same command again"
	case s.incomplete() != nil:
		state = "ended, but not complete"
	}
	fmt.Fprintf(&b, "import %s (%v)\n", state, s.Took.Round(time.Millisecond))
	if s.Resume != "" {
		fmt.Fprintf(&b, "  resumes:  at %s\n", s.Resume)
	}
	fmt.Fprintf(&b, "  accounts: %d done, %d refused by Stripe\n", s.Accounts, len(s.Refused))
	fmt.Fprintf(&b, "  sessions: %d; %d new, %d of them redacted; %d known; %d differed and were read again, %d of them changed", s.Sessions(), s.New, s.Redacted, s.Known, s.Reread, s.Corrected)
	if s.Unknown > 0 {
		fmt.Fprintf(&b, "; %d that Stripe no longer returns", s.Unknown)
	}
	if s.Unread > 0 {
		fmt.Fprintf(&b, "; %d that Stripe refuses to return", s.Unread)
	}
	if s.Broken > 0 {
		fmt.Fprintf(&b, "; %d that could not be stored", s.Broken)
	}
	if s.Malformed > 0 {
		fmt.Fprintf(&b, "\n  malformed: %d %s", s.Malformed, strings.Join(s.MalformedIDs, " "))
	}
	fmt.Fprintf(&b, "\n  reads:    %d", s.Reads)
	if s.Waited > time.Second {
		fmt.Fprintf(&b, "\n  waited:   %v for readers of the feed", s.Waited.Round(time.Second))
	}
	return b.String()
}

// plural returns a number with its noun, such as "1 read" or "2 reads".
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
