package clienttest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// The contract's page sizes, and the number of sessions in the list of a reference.
const (
	defaultPageSize = 50
	maxPageSize     = 200
	maxOfReference  = 1000
)

// filter defines one list.
type filter struct {
	name string // in tokens
	has  func(*session) bool
	// second is the sort key. The greatest comes first.
	second func(*verificationv1.Verification) int64
	most   int // sessions in the list; 0: any number
}

func (s *state) list(request *verificationv1.ListVerificationsRequest, now time.Time) (*verificationv1.ListVerificationsResponse, error) {
	f, err := filterOf(request, now)
	if err != nil {
		return nil, err
	}
	size := int(request.GetPageSize())
	switch {
	case size < 0:
		return nil, invalid("page_size", "is negative")
	case size == 0:
		size = defaultPageSize
	}
	size = min(size, maxPageSize)
	subject := digest("list", f.name)
	sessions := s.listed(f)
	if text := request.GetPageToken(); text != "" {
		if err := checkToken("page_token", text); err != nil {
			return nil, err
		}
		after, err := parseToken(text, subject)
		if err != nil {
			return nil, invalid("page_token", "is not a token of this list")
		}
		behind := func(v *verificationv1.Verification) bool {
			return f.second(v) < after.Second || f.second(v) == after.Second && v.GetSessionId() < after.Session
		}
		sessions = slices.DeleteFunc(sessions, func(v *verificationv1.Verification) bool { return !behind(v) })
	}
	response := &verificationv1.ListVerificationsResponse{Verifications: sessions}
	if len(sessions) > size {
		response.Verifications = sessions[:size]
		last := sessions[size-1]
		response.NextPageToken = token{Subject: subject, Session: last.GetSessionId(), Second: f.second(last)}.String()
	}
	return response, nil
}

// listed returns the whole list.
func (s *state) listed(f filter) []*verificationv1.Verification {
	var all []*verificationv1.Verification
	for _, life := range s.sessions {
		if life.redacted == 0 && f.has(life) {
			all = append(all, life.latest())
		}
	}
	slices.SortFunc(all, func(a, b *verificationv1.Verification) int {
		return cmp.Or(cmp.Compare(f.second(b), f.second(a)), cmp.Compare(b.GetSessionId(), a.GetSessionId()))
	})
	if f.most > 0 {
		all = all[:min(len(all), f.most)]
	}
	return all
}

func filterOf(request *verificationv1.ListVerificationsRequest, now time.Time) (filter, error) {
	f := filter{second: func(v *verificationv1.Verification) int64 { return v.GetUpdateTime().GetSeconds() }}
	switch by := request.GetFilter().(type) {
	case *verificationv1.ListVerificationsRequest_ClientReferenceId:
		f.name, f.most = "reference "+by.ClientReferenceId, maxOfReference
		f.second = func(v *verificationv1.Verification) int64 { return v.GetCreateTime().GetSeconds() }
		f.has = func(l *session) bool { return l.latest().GetClientReferenceId() == by.ClientReferenceId }
		return f, checkReference(by.ClientReferenceId)
	case *verificationv1.ListVerificationsRequest_Status:
		f.name = "status " + by.Status.String()
		f.has = func(l *session) bool { return listStatus(l) == by.Status }
		if _, known := verificationv1.Status_name[int32(by.Status)]; !known || by.Status == 0 {
			return f, invalid("status", by.Status.String()+" cannot be listed")
		}
	case *verificationv1.ListVerificationsRequest_Denial:
		f.name = "denial " + by.Denial.String()
		f.has = func(l *session) bool { return l.latest().GetRetry().GetDenial() == by.Denial }
		if by.Denial != verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED && by.Denial != verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE {
			return f, invalid("denial", by.Denial.String()+" has no list")
		}
	case *verificationv1.ListVerificationsRequest_InDoubt:
		f.name = "in doubt"
		f.has = func(l *session) bool { return l.inDoubt }
	case *verificationv1.ListVerificationsRequest_ProcessingLongerThan:
		f.name = fmt.Sprint("processing ", by.ProcessingLongerThan.AsDuration())
		f.has = longerThan(by.ProcessingLongerThan, now)
		if by.ProcessingLongerThan.CheckValid() != nil || by.ProcessingLongerThan.AsDuration() < 0 {
			return f, invalid("processing_longer_than", "is no duration of 0 or more")
		}
	default:
		return f, invalid("filter", "is missing")
	}
	return f, nil
}

// listStatus returns the status under which a session is listed. An unknown status is listed as processing.
func listStatus(l *session) verificationv1.Status {
	if status := l.latest().GetStatus(); status != 0 {
		return status
	}
	return verificationv1.Status_STATUS_PROCESSING
}

func longerThan(d *durationpb.Duration, now time.Time) func(*session) bool {
	until := now.Add(-d.AsDuration()).Unix()
	return func(l *session) bool {
		return listStatus(l) == verificationv1.Status_STATUS_PROCESSING && l.latest().GetUpdateTime().GetSeconds() <= until
	}
}
