package app

import (
	"context"
	"errors"
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/verification"
)

// The settings that limit the reads at Stripe, as labels and in log lines.
const (
	settingReads = "API_READS_PER_DAY"
	settingShare = "CALLER_SHARE_PERCENT"
)

// budgetPurposes has the labels of the purposes that the budget can refuse.
var budgetPurposes = map[verification.Purpose]string{
	verification.PurposeRetry: "retry", verification.PurposeCatchUp: "catch_up", verification.PurposeLookup: "lookup",
}

// readingMethods are the methods whose calls can need a read at Stripe.
var readingMethods = []string{
	verificationv1.VerificationService_GetStatus_FullMethodName, verificationv1.VerificationService_WatchStatus_FullMethodName,
	verificationv1.VerificationService_RetryVerification_FullMethodName, verificationv1.ComparisonService_CompareVerifiedOutputs_FullMethodName,
}

// showBudget registers the metrics of the reads that are left, and makes the counts of refusals appear with 0, since alerts look at
// their increase.
func (a *App) showBudget() {
	a.metrics.Gauge("verification_stripe_reads_per_day", func() float64 { return float64(a.config.APIReadsPerDay) })
	for purpose, name := range budgetPurposes {
		a.metrics.GaugeFor("verification_stripe_reads_left_by_purpose", name, func() float64 { return float64(a.stripe.ReadsLeftFor(purpose)) })
	}
	for _, setting := range []string{settingReads, settingShare} {
		for _, purpose := range budgetPurposes {
			a.metrics.NoReadRefused(purpose, setting)
		}
		for _, method := range readingMethods {
			a.metrics.NoCallRefused(strings.TrimPrefix(method, "/"), setting)
		}
	}
}

func (a *App) observeRefusedRead(purpose verification.Purpose, err error) {
	a.metrics.ReadRefused(budgetPurposes[purpose], budgetLimit(errors.Is(err, verification.ErrStripeShare)))
}

// observeRefusedCall has the call counted and logged with the limit. The contract has no reason of its own for it.
func (a *App) observeRefusedCall(ctx context.Context, share bool) {
	grpcserver.NoteLimit(ctx, budgetLimit(share))
}

// budgetLimit returns the setting that refused a read. share says that it was the caller's share.
func budgetLimit(share bool) string {
	if share {
		return settingShare
	}
	return settingReads
}
