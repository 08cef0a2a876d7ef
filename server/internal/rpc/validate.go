package rpc

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/verification"
)

// Bounds of requests.
const (
	maxReference = 255
	maxReturnURL = 2048
	minHeartbeat = 5 * time.Second
	maxHeartbeat = 5 * time.Minute
	// selectiveHeartbeat is the heartbeat of a watch with a filter or a consumer that asks for none: its token must move over
	// what was passed over.
	selectiveHeartbeat = time.Minute
)

// invalidError is a request that the caller must change.
type invalidError struct {
	field  string // as in the contract
	reason string // what is wrong, and what is allowed
}

func (e *invalidError) Error() string { return e.field + ": " + e.reason }

func invalid(field, format string, args ...any) error {
	return &invalidError{field: field, reason: fmt.Sprintf(format, args...)}
}

// checkAccount accepts the id of a connected account, or none.
func checkAccount(account string) error {
	if account != "" && !isID(account, "acct_") {
		return invalid("account", `is not an account's id: "acct_" and 1 to 250 letters, digits or underscores`)
	}
	return nil
}

// checkNoAccount refuses an account beside a reference: Stripe is asked for references of the platform alone.
func checkNoAccount(account string) error {
	if account != "" {
		return invalid("account", "does not go with client_reference_id: set session_id")
	}
	return nil
}

// checkNoPerson refuses the sum of a person's sessions beside a session's id.
func checkNoPerson(include bool) error {
	if include {
		return invalid("include_person", "does not go with session_id: set client_reference_id")
	}
	return nil
}

// keyVersion matches the names of Stripe's API versions.
var keyVersion = regexp.MustCompile(`^20\d\d-\d\d-\d\d(\.[a-z]{1,50})?$`)

func checkKeyVersion(version string) error {
	if version != "" && !keyVersion.MatchString(version) {
		return invalid("ephemeral_key_version", `is not an API version of Stripe, such as "2026-09-30.endive"`)
	}
	return nil
}

func checkSessionID(id string) error {
	if !isSessionID(id) {
		return invalid("session_id", `is not a verification session's id: "vs_" and 1 to 252 letters, digits or underscores`)
	}
	return nil
}

// isSessionID reports whether an id matches ^vs_[A-Za-z0-9_]{1,252}$. A regular expression took a sixth of GetStatus,
// mostly to grow the goroutine's stack.
func isSessionID(id string) bool { return isID(id, "vs_") }

// isID reports whether an id is a prefix and letters, digits or underscores, at least one of them and 255 bytes in all.
func isID(id, prefix string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || rest == "" || len(id) > 255 {
		return false
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return false
		}
	}
	return true
}

func checkReference(reference string) error {
	switch {
	case reference == "":
		return invalid("client_reference_id", "is empty")
	case len(reference) > maxReference:
		return invalid("client_reference_id", "has %d bytes; %d are allowed", len(reference), maxReference)
	case !utf8.ValidString(reference):
		return invalid("client_reference_id", "is not UTF-8")
	}
	return nil
}

func checkToken(field, token string) error {
	if len(token) > resumetoken.MaxLength {
		return invalid(field, "has %d characters; %d are allowed", len(token), resumetoken.MaxLength)
	}
	return nil
}

// checkReturnURL accepts what Stripe accepts: an absolute web address.
func checkReturnURL(text string) error {
	if text == "" {
		return nil
	}
	parsed, err := url.Parse(text)
	if len(text) > maxReturnURL || err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return invalid("return_url", "is not an absolute http or https address of at most %d bytes", maxReturnURL)
	}
	return nil
}

// consumerName matches the names of consumers.
var consumerName = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)

func checkConsumer(field, name string) error {
	if !consumerName.MatchString(name) {
		return invalid(field, "is not a consumer's name: 1 to 64 of a-z, 0-9, '-', '_' and '.', the first a letter")
	}
	return nil
}

func checkAllSessions(all *verificationv1.AllSessions) error {
	for _, status := range all.GetStatuses() {
		// A status that a later version adds is refused too: without it the stream would lack changes.
		if stripeStatuses[status] == "" {
			return invalid("all_sessions.statuses", "%s cannot be selected; give the contract's other statuses", status)
		}
	}
	if all.GetConsumer() != "" {
		return checkConsumer("all_sessions.consumer", all.GetConsumer())
	}
	if all.GetMustExist() {
		return invalid("all_sessions.must_exist", "does not go without a consumer")
	}
	return nil
}

// stripeStatuses maps the contract's statuses to Stripe's.
var stripeStatuses = func() map[verificationv1.Status]string {
	byStatus := make(map[verificationv1.Status]string)
	for stripe, status := range statuses {
		byStatus[status] = stripe
	}
	return byStatus
}()

// filterOf returns the filter of a valid request. It has each status once.
func filterOf(all *verificationv1.AllSessions) verification.Filter {
	filter := verification.Filter{OutcomesOnly: all.GetOutcomesOnly()}
	for _, status := range all.GetStatuses() {
		if stripe := stripeStatuses[status]; !slices.Contains(filter.Statuses, stripe) {
			filter.Statuses = append(filter.Statuses, stripe)
		}
	}
	return filter
}

// isSelective reports whether a watch can be silent for long while the feed is busy, or has a consumer.
func isSelective(all *verificationv1.AllSessions) bool {
	return all.GetOutcomesOnly() || len(all.GetStatuses()) > 0 || all.GetConsumer() != ""
}
