package rpc

import (
	"context"
	"errors"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// ComparisonOutcome is how a call of CompareVerifiedOutputs ended: a small, fixed set.
type ComparisonOutcome string

// The outcomes.
const (
	ComparisonDone          ComparisonOutcome = "compared"
	ComparisonLimited       ComparisonOutcome = "limited"        // the comparisons of the session are used up
	ComparisonNotComparable ComparisonOutcome = "not_comparable" // the session is not verified, or is redacted
	ComparisonUnknown       ComparisonOutcome = "unknown"        // there is no such session
	ComparisonInvalid       ComparisonOutcome = "invalid"        // the request is wrong
	ComparisonFailed        ComparisonOutcome = "failed"         // the calls are off, or Stripe or the store is unavailable
)

// comparisonLimitError is a comparison of a session that was compared too often.
type comparisonLimitError struct {
	again time.Time
}

func (*comparisonLimitError) Error() string { return "the comparisons of the session are used up" }

// CompareVerifiedOutputs implements the RPC. The values of the request and of Stripe stay in this call: the log and the record have
// the names of the fields.
func (s *Service) CompareVerifiedOutputs(ctx context.Context, request *verificationv1.CompareVerifiedOutputsRequest) (*verificationv1.CompareVerifiedOutputsResponse, error) {
	fields, err := s.compareOutputs(ctx, request)
	if err != nil {
		s.config.ObserveComparison(comparisonFailure(err))
		return nil, s.failRetry(ctx, err)
	}
	s.config.ObserveComparison(ComparisonDone)
	response := &verificationv1.CompareVerifiedOutputsResponse{}
	for _, field := range fields {
		response.Fields = append(response.Fields, &verificationv1.FieldComparison{
			Field: field.Name, Result: verificationv1.MatchResult(field.Result), Rule: verificationv1.MatchRule(field.Rule),
		})
	}
	return response, nil
}

func (s *Service) compareOutputs(ctx context.Context, request *verificationv1.CompareVerifiedOutputsRequest) ([]comparison.Field, error) {
	if !s.config.Operators {
		return nil, errOperatorsOff
	}
	expected, err := expectedOf(request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	session, err := s.lookup.session(ctx, "", request.GetSessionId(), asStored)
	if err != nil {
		return nil, err
	}
	if !isComparable(session) {
		return nil, comparison.ErrNotComparable
	}
	if s.config.Stripe == nil {
		return nil, verification.ErrStripeNotConfigured
	}
	if err := s.commitComparison(ctx, session.ID, expected); err != nil {
		return nil, err
	}
	outputs, err := s.readOutputs(ctx, session, expected)
	if err != nil {
		return nil, err
	}
	return comparison.Compare(expected, outputs), nil
}

// expectedOf returns the expectation of a request, or an error that does not quote it.
func expectedOf(request *verificationv1.CompareVerifiedOutputsRequest) (comparison.Expected, error) {
	expected := comparison.Expected{
		FirstName: comparison.Text(request.GetFirstName()), LastName: comparison.Text(request.GetLastName()),
		DateOfBirth: comparison.Text(request.GetDateOfBirth()),
		PostalCode:  comparison.Text(request.GetPostalCode()), Country: comparison.Text(request.GetCountry()),
		IDNumber: comparison.Text(request.GetIdNumber()),
		Email:    comparison.Text(request.GetEmail()), Phone: comparison.Text(request.GetPhone()),
	}
	if err := checkSessionID(request.GetSessionId()); err != nil {
		return expected, err
	}
	if len(expected.Fields()) == 0 {
		return expected, invalid("first_name", "no field is set: set at least one that is to be compared")
	}
	if field, reason := expected.Check(); field != "" {
		return expected, invalid(field, "%s", reason)
	}
	return expected, nil
}

// isComparable reports whether the record says that the session has verified values. Stripe is asked only then.
func isComparable(session verification.Session) bool {
	return session.Status == verification.StatusVerified && session.Redaction == verification.RedactionNone
}

// commitComparison counts the comparison before Stripe is asked. The count is in the store, so that callers at the same time on
// several servers have one limit, and a comparison that fails afterwards is counted too.
func (s *Service) commitComparison(ctx context.Context, id string, expected comparison.Expected) error {
	principal, fields := s.config.Principal(ctx), expected.Fields()
	_, err := s.config.Live.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
		if !isComparable(current) {
			return current, false, comparison.ErrNotComparable
		}
		next, again, changed := verification.Compare(current, s.config.ComparisonLimit, s.config.Clock(), principal, comparedSet(fields))
		if !changed {
			return current, false, &comparisonLimitError{again}
		}
		return next, true, nil
	})
	if err == nil {
		s.config.Logger.InfoContext(ctx, "verified outputs are compared", "session_id", id, "fields", fields, "principal", principal)
	}
	return err
}

// comparedSet returns the fields as the record has them: see comparedFields.
func comparedSet(names []string) (set verification.ComparedFields) {
	fields := (*verificationv1.CompareVerifiedOutputsRequest)(nil).ProtoReflect().Descriptor().Fields()
	for n := range fields.Len() {
		for _, name := range names {
			if string(fields.Get(n).Name()) == name {
				set |= 1 << (fields.Get(n).Number() - 2)
			}
		}
	}
	return set
}

// readOutputs reads from Stripe what is compared and nothing else. The sensitive fields need another key, and so another request.
func (s *Service) readOutputs(ctx context.Context, session verification.Session, expected comparison.Expected) (comparison.Outputs, error) {
	var outputs comparison.Outputs
	sensitive := expected.DateOfBirth != "" || expected.IDNumber != ""
	others := expected
	others.DateOfBirth, others.IDNumber = "", ""
	if len(others.Fields()) > 0 {
		var err error
		if outputs, err = s.config.Stripe.Outputs(ctx, session.Account, session.ID, false); err != nil {
			return comparison.Outputs{}, err
		}
	}
	if sensitive {
		read, err := s.config.Stripe.Outputs(ctx, session.Account, session.ID, true)
		if err != nil {
			return comparison.Outputs{}, err
		}
		outputs.DateOfBirth, outputs.IDNumber = read.DateOfBirth, read.IDNumber
	}
	return outputs, nil
}

// comparisonFailure returns the outcome of a call that failed.
func comparisonFailure(err error) ComparisonOutcome {
	var limited *comparisonLimitError
	var wrong *invalidError
	switch {
	case errors.As(err, &limited):
		return ComparisonLimited
	case errors.Is(err, comparison.ErrNotComparable):
		return ComparisonNotComparable
	case errors.Is(err, store.ErrNotFound):
		return ComparisonUnknown
	case errors.As(err, &wrong):
		return ComparisonInvalid
	default:
		return ComparisonFailed
	}
}
