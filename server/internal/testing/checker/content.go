package checker

import (
	"fmt"
	"strings"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// content is what a Verification shows at one revision, without the fields that depend on the clock and the policy. It is
// comparable.
type content struct {
	status       verificationv1.Status
	stripeStatus string
	kind         verificationv1.VerificationType
	stripeType   string

	failed     bool // last_error is set
	code       verificationv1.ErrorCode
	category   verificationv1.ErrorCategory
	stripeCode string
	reason     string

	report       string
	reference    string
	account      string
	supersededBy string
	created      int64 // Unix seconds; 0 if unknown
	updated      int64
	attempts     int32
	granted      int32
	redaction    verificationv1.Redaction
	livemode     bool
	settled      bool

	resolution   verificationv1.ResolutionKind
	resolved     int64 // Unix seconds; 0 if not resolved
	overrideOpen bool
}

// contentOf copies a Verification. Strings that many sessions share are kept once.
func (r *Recorder) contentOf(v *verificationv1.Verification) content {
	return content{
		status:       v.GetStatus(),
		stripeStatus: r.shared(v.GetStripeStatus()),
		kind:         v.GetType(),
		stripeType:   r.shared(v.GetStripeType()),
		failed:       v.GetLastError() != nil,
		code:         v.GetLastError().GetCode(),
		category:     v.GetLastError().GetCategory(),
		stripeCode:   r.shared(v.GetLastError().GetStripeCode()),
		reason:       r.shared(v.GetLastError().GetReason()),
		report:       v.GetLastVerificationReport(),
		reference:    r.shared(v.GetClientReferenceId()),
		account:      r.shared(v.GetAccount()),
		supersededBy: v.GetSupersededBy(),
		created:      v.GetCreateTime().GetSeconds(),
		updated:      v.GetUpdateTime().GetSeconds(),
		attempts:     v.GetRetry().GetFailedAttempts(),
		granted:      v.GetRetry().GetRetriesGranted(),
		redaction:    v.GetRedaction(),
		livemode:     v.GetLivemode(),
		settled:      v.GetSettled(),
		resolution:   v.GetResolution().GetKind(),
		resolved:     v.GetResolution().GetTime().GetSeconds(),
		overrideOpen: v.GetRetry().GetOverrideOpen(),
	}
}

// ended returns whether the contract expects nothing more of the person: Stripe's state says so, or an operator resolved the session.
func (c content) ended() bool {
	return c.status == verificationv1.Status_STATUS_VERIFIED || c.status == verificationv1.Status_STATUS_CANCELED ||
		c.redaction == verificationv1.Redaction_REDACTION_REDACTED || c.resolution != verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED
}

// canceled returns whether the session is canceled.
func (c content) canceled() bool { return c.stripeStatus == verification.StatusCanceled }

// abandoned returns whether the error shown is "abandoned", which is not a failed submission and does not count as one.
func (c content) abandoned() bool { return c.failed && c.stripeCode == "abandoned" }

// redacted returns whether a redaction has at least begun.
func (c content) redacted() bool {
	return c.redaction != verificationv1.Redaction_REDACTION_UNSPECIFIED
}

// String leaves out the reason that Stripe writes for the person, and the reference.
func (c content) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", c.stripeStatus)
	if c.failed {
		fmt.Fprintf(&b, " (%s)", c.stripeCode)
	}
	if c.report != "" {
		fmt.Fprintf(&b, " %s", c.report)
	}
	fmt.Fprintf(&b, ", failed %d, granted %d, updated %d", c.attempts, c.granted, c.updated)
	if c.redacted() {
		fmt.Fprintf(&b, ", %v", c.redaction)
	}
	if c.supersededBy != "" {
		fmt.Fprintf(&b, ", superseded by %s", c.supersededBy)
	}
	return b.String()
}

// differences returns the names of the fields in which two contents differ.
func differences(a, b content) string {
	var names []string
	for _, field := range []struct {
		name string
		same bool
	}{
		{"status", a.status == b.status && a.stripeStatus == b.stripeStatus},
		{"type", a.kind == b.kind && a.stripeType == b.stripeType},
		{"last_error", a.failed == b.failed && a.code == b.code && a.stripeCode == b.stripeCode && a.category == b.category && a.reason == b.reason},
		{"last_verification_report", a.report == b.report},
		{"client_reference_id", a.reference == b.reference},
		{"account", a.account == b.account},
		{"superseded_by", a.supersededBy == b.supersededBy},
		{"create_time", a.created == b.created},
		{"update_time", a.updated == b.updated},
		{"failed_attempts", a.attempts == b.attempts},
		{"retries_granted", a.granted == b.granted},
		{"redaction", a.redaction == b.redaction},
		{"livemode", a.livemode == b.livemode},
		{"settled", a.settled == b.settled},
		{"resolution", a.resolution == b.resolution && a.resolved == b.resolved},
		{"override_open", a.overrideOpen == b.overrideOpen},
	} {
		if !field.same {
			names = append(names, field.name)
		}
	}
	return strings.Join(names, ", ")
}

// moment is a position in the order of the recorder's calls, and its time.
type moment struct {
	seq uint64
	at  int64 // Unix milliseconds
}

func (m moment) String() string { return time.UnixMilli(m.at).UTC().Format("15:04:05.000") }

// fact is one content of one revision. Every sighting of it is the same fact.
type fact struct {
	content
	session  *session
	revision int32
	first    sighting
	again    []sighting // the first after each begin and end of a loss since
	outcomes []*shownOutcome
}

// sighting is the time at which a client saw a fact, and the name of the client.
type sighting struct {
	moment
	by string
}

// sightings returns the first sighting, and the first one since each begin and end of a loss.
func (f *fact) sightings() []sighting { return append([]sighting{f.first}, f.again...) }

// seenAgain adds a sighting if a loss began or ended since the last one.
func (f *fact) seenAgain(now sighting, turned uint64) {
	last := f.first
	if len(f.again) > 0 {
		last = f.again[len(f.again)-1]
	}
	if last.seq < turned {
		f.again = append(f.again, now)
	}
}

func (f *fact) String() string {
	text := fmt.Sprintf("%v %s revision %d: %v; first seen by %s", f.first.moment, f.session.id, f.revision, f.content, f.first.by)
	for _, seen := range f.again {
		text += fmt.Sprintf("; at %v by %s", seen, seen.by)
	}
	return text
}
