package remote

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Show writes how a session stands, each input that reached it, and what an operator can do. It needs the right read. now is the time
// from which ages are counted.
func Show(ctx context.Context, server *Server, subject Subject, now func() time.Time, out io.Writer) error {
	answer, err := server.status(ctx, subject)
	if err != nil {
		return fmt.Errorf("the session cannot be shown: %w", err)
	}
	if err := writeSummary(out, answer, now()); err != nil {
		return err
	}
	if err := writeHistory(out, answer.GetHistory()); err != nil {
		return err
	}
	return writeNext(out, answer.GetVerification())
}

// ShowJSON writes the server's answer as JSON, in the form of the contract.
func ShowJSON(ctx context.Context, server *Server, subject Subject, out io.Writer) error {
	answer, err := server.status(ctx, subject)
	if err != nil {
		return fmt.Errorf("the session cannot be shown: %w", err)
	}
	text, err := protojson.MarshalOptions{Multiline: true, Indent: "  "}.Marshal(answer)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}

// writeSummary writes how a session stands, a line for each fact.
func writeSummary(out io.Writer, answer *verificationv1.GetStatusResponse, now time.Time) error {
	v := answer.GetVerification()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, text string, args ...any) { _, _ = fmt.Fprintf(table, name+"\t"+text+"\n", args...) }
	mode := "test mode"
	if v.GetLivemode() {
		mode = "live mode"
	}
	if v.GetAccount() != "" {
		mode += ", account " + printable(v.GetAccount())
	}
	line("session", "%s (%s)", printable(v.GetSessionId()), mode)
	line("reference", "%s", printable(v.GetClientReferenceId()))
	state := printable(v.GetStripeStatus())
	if words := stateWords(v.GetStatus(), v.GetLastError()); words != state {
		state += ": " + words
	}
	line("status", "%s", state)
	if v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED {
		line("erased", "the personal data is %s", map[bool]string{true: "erased", false: "being erased"}[v.GetRedaction() == verificationv1.Redaction_REDACTION_REDACTED])
	}
	line("since", "%s, %s ago", timeWords(v.GetUpdateTime()), age(now.Sub(v.GetUpdateTime().AsTime())))
	line("outcome", "of revision %d; the session is at revision %d", v.GetOutcomeRevision(), v.GetRevision())
	retry := v.GetRetry()
	line("tries", "%d failed; retries: %d granted, %d left", retry.GetFailedAttempts(), retry.GetRetriesGranted(), retry.GetRetriesRemaining())
	line("next try", "%s", retryWords(retry))
	if r := v.GetResolution(); r != nil {
		line("resolved", "as %s by %s, %s", resolutionWords(r.GetKind()), printable(r.GetPrincipal()), timeWords(r.GetTime()))
	}
	if v.GetSupersededBy() != "" {
		line("replaced by", "%s", printable(v.GetSupersededBy()))
	}
	if v.GetReplaces() != "" {
		line("replaces", "%s", printable(v.GetReplaces()))
	}
	if p := answer.GetPerson(); p != nil {
		verified := "none of them is verified"
		if p.GetVerified() != nil {
			verified = "verified in " + printable(p.GetVerified().GetSessionId())
		}
		line("person", "sessions: %d, failed tries: %d; %s", p.GetSessions(), p.GetFailedAttempts(), verified)
	}
	return table.Flush()
}

// retryWords says whether a retry would be granted now, and if not, why. An operator's allowance stays open under a denial that it
// does not lift.
func retryWords(retry *verificationv1.RetryState) string {
	if retry.GetAllowed() {
		if retry.GetOverrideOpen() {
			return "allowed by an operator"
		}
		return "allowed"
	}
	switch words := deniedWords(retry); {
	case !retry.GetOverrideOpen():
		return words
	case retry.GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED:
		return words + ", as an operator has allowed"
	default:
		return words + "; an operator has allowed one more try for later"
	}
}

// deniedWords says why a retry is denied.
func deniedWords(retry *verificationv1.RetryState) string {
	switch words, known := denialWords[retry.GetDenial()]; {
	case retry.GetNextRetryTime() != nil:
		return "denied until " + timeWords(retry.GetNextRetryTime()) + ": " + words
	case known:
		return "denied: " + words
	default:
		return "denied for a reason that this version does not know: " + retry.GetDenial().String()
	}
}

// writeHistory writes a table of the inputs that reached a session, the oldest first.
func writeHistory(out io.Writer, history []*verificationv1.HistoryEntry) error {
	if len(history) == 0 {
		_, err := fmt.Fprintln(out, "\nNo history is kept of this session: it is erased or archived.")
		return err
	}
	_, _ = fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "TIME\tREVISION\tFROM\tBY\tWHAT")
	for _, entry := range history {
		revision := "-"
		if entry.GetRevision() > 0 {
			revision = fmt.Sprint(entry.GetRevision())
		}
		from, known := sourceWords[entry.GetSource()]
		if !known {
			from = "unknown"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", timeWords(entry.GetRecordTime()), revision, from, printable(entry.GetPrincipal()), entryWords(entry))
	}
	return table.Flush()
}

// writeNext writes the commands with which an operator can help. Each names the outcome that is shown, so that it changes nothing if
// another one comes in between.
func writeNext(out io.Writer, v *verificationv1.Verification) error {
	type hint struct{ what, command string }
	at := fmt.Sprintf("%s --outcome %d", v.GetSessionId(), v.GetOutcomeRevision())
	var hints []hint
	switch v.GetRetry().GetDenial() {
	case verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED, verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE, verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:
		hints = append(hints, hint{"one more try", "operator allow " + at})
	}
	switch {
	case v.GetResolution() != nil:
		hints = append(hints, hint{"take the resolution back", "operator resolve " + at + " --take-back"})
	case !v.GetSettled():
		hints = append(hints, hint{"dealt with elsewhere", "operator resolve " + at + " --kind verified-elsewhere (or declined, closed)"})
	}
	if len(hints) == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, h := range hints {
		_, _ = fmt.Fprintf(table, "%s:\t%s\n", h.what, h.command)
	}
	return table.Flush()
}

// timeWords returns a time in UTC, or a dash for none.
func timeWords(at *timestamppb.Timestamp) string {
	if at == nil {
		return "-"
	}
	return at.AsTime().UTC().Format("2006-01-02 15:04:05")
}
