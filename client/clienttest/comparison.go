package clienttest

import (
	"context"
	"regexp"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// The service's default settings and bounds of comparisons.
const (
	maxComparisons   = 10 // in comparisonWindow, of one session
	comparisonWindow = 24 * time.Hour
	keptComparisons  = 8 // entries in a history
)

// SetOutputs sets what Stripe verified in a session. CompareVerifiedOutputs compares with it character by character: it does not
// know the rules of names. A field that is empty was not verified. See [Server.OnCompare] for other results.
func (s *Server) SetOutputs(sessionID string, outputs client.Expected) {
	s.change(func(st *state) { st.outputs[sessionID] = outputs })
}

// OnCompare sets the function that answers CompareVerifiedOutputs after the request was checked and counted. With nil, the server
// compares with [Server.SetOutputs].
func (s *Server) OnCompare(answer func(*verificationv1.CompareVerifiedOutputsRequest) (*verificationv1.CompareVerifiedOutputsResponse, error)) {
	s.change(func(st *state) { st.onCompare = answer })
}

// comparisonService answers comparisons.
type comparisonService struct {
	verificationv1.UnimplementedComparisonServiceServer
	state *state
}

func (s *comparisonService) CompareVerifiedOutputs(ctx context.Context, request *verificationv1.CompareVerifiedOutputsRequest) (*verificationv1.CompareVerifiedOutputsResponse, error) {
	s.state.mu.Lock()
	answer, outputs := s.state.onCompare, s.state.outputs[request.GetSessionId()]
	err := s.state.beginComparison(request, s.state.principal(ctx))
	s.state.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case answer != nil:
		return answer(request)
	}
	response := &verificationv1.CompareVerifiedOutputsResponse{}
	for _, f := range comparedFields(request, outputs) {
		response.Fields = append(response.Fields, f.compare())
	}
	return response, nil
}

// comparedField is one field that is set in a request.
type comparedField struct {
	name, expected, verified string
}

func (f comparedField) compare() *verificationv1.FieldComparison {
	compared := &verificationv1.FieldComparison{Field: f.name}
	switch f.verified {
	case "":
		compared.Result = verificationv1.MatchResult_MATCH_RESULT_NOT_VERIFIED
	case f.expected:
		compared.Result, compared.Rule = verificationv1.MatchResult_MATCH_RESULT_MATCH, verificationv1.MatchRule_MATCH_RULE_EXACT
	default:
		compared.Result = verificationv1.MatchResult_MATCH_RESULT_MISMATCH
	}
	return compared
}

// comparedFields returns the fields that are set, in the order of their numbers.
func comparedFields(r *verificationv1.CompareVerifiedOutputsRequest, outputs client.Expected) []comparedField {
	return slices.DeleteFunc([]comparedField{
		{"first_name", r.GetFirstName(), outputs.FirstName},
		{"last_name", r.GetLastName(), outputs.LastName},
		{"date_of_birth", r.GetDateOfBirth(), outputs.DateOfBirth},
		{"postal_code", r.GetPostalCode(), outputs.PostalCode},
		{"country", r.GetCountry(), outputs.Country},
		{"id_number", r.GetIdNumber(), outputs.IDNumber},
		{"email", r.GetEmail(), outputs.Email},
		{"phone", r.GetPhone(), outputs.Phone},
	}, func(f comparedField) bool { return f.expected == "" })
}

var (
	countryForm = regexp.MustCompile(`^[A-Za-z]{2}$`)
	phoneForm   = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
)

// checkComparison returns the error of an invalid request. It quotes no value.
func checkComparison(r *verificationv1.CompareVerifiedOutputsRequest) error {
	if err := checkSessionID(r.GetSessionId()); err != nil {
		return err
	}
	date := r.GetDateOfBirth()
	_, err := time.Parse(time.DateOnly, date)
	switch {
	case len(comparedFields(r, client.Expected{})) == 0:
		return invalid("fields", "at least one field must be set")
	case date != "" && err != nil:
		return invalid("date_of_birth", "is not a date of the form YYYY-MM-DD")
	case r.GetCountry() != "" && !countryForm.MatchString(r.GetCountry()):
		return invalid("country", "is not a country of ISO 3166-1 alpha-2")
	case r.GetPhone() != "" && !phoneForm.MatchString(r.GetPhone()):
		return invalid("phone", "is not a number in E.164")
	}
	return nil
}

// beginComparison checks a request and counts it. The lock is held.
func (s *state) beginComparison(request *verificationv1.CompareVerifiedOutputsRequest, principal string) error {
	if err := s.nextFailure(); err != nil {
		return err
	}
	if err := checkComparison(request); err != nil {
		return err
	}
	life := s.sessions[request.GetSessionId()]
	v, now := life.latest(), time.Now()
	switch {
	case life == nil:
		return Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	case v.GetStatus() != verificationv1.Status_STATUS_VERIFIED, v.GetRedaction() != 0:
		return Error(verificationv1.ErrorReason_ERROR_REASON_NOT_COMPARABLE)
	}
	life.compared = slices.DeleteFunc(life.compared, func(at time.Time) bool { return now.Sub(at) >= comparisonWindow })
	if len(life.compared) >= maxComparisons {
		wait := life.compared[len(life.compared)-maxComparisons].Add(comparisonWindow).Sub(now)
		return newError(verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT, "the comparisons of the session are used up", nil,
			&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	life.compared = append(life.compared, now)
	life.noteComparison(request, principal, now)
	return nil
}

// noteComparison appends the entry of a comparison, and drops the oldest one beyond keptComparisons.
func (l *session) noteComparison(request *verificationv1.CompareVerifiedOutputsRequest, principal string, now time.Time) {
	isComparison := func(e *verificationv1.HistoryEntry) bool {
		return e.GetSource() == verificationv1.Source_SOURCE_COMPARISON
	}
	entries := 0
	for _, e := range l.history {
		if isComparison(e) {
			entries++
		}
	}
	if entries >= keptComparisons {
		oldest := slices.IndexFunc(l.history, isComparison)
		l.history = slices.Delete(l.history, oldest, oldest+1)
	}
	v := l.latest()
	entry := &verificationv1.HistoryEntry{
		Source: verificationv1.Source_SOURCE_COMPARISON, Status: v.GetStatus(), Error: v.GetLastError(),
		RecordTime: timestamppb.New(now), Principal: principal,
	}
	for _, f := range comparedFields(request, client.Expected{}) {
		entry.ComparedFields = append(entry.ComparedFields, f.name)
	}
	l.history = append(l.history, entry)
}
