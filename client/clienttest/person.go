package clienttest

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// maxOfPerson is how many sessions a summary has.
const maxOfPerson = 100

// person returns the summary of the sessions that have the reference of this one, in its account and mode. The lock is held.
func (s *state) person(answers *verificationv1.Verification) *verificationv1.Person {
	var all []*session
	for _, life := range s.sessions {
		v := life.latest()
		if v.GetClientReferenceId() == answers.GetClientReferenceId() && v.GetAccount() == answers.GetAccount() && v.GetLivemode() == answers.GetLivemode() {
			all = append(all, life)
		}
	}
	slices.SortFunc(all, func(a, b *session) int {
		x, y := a.latest(), b.latest()
		return cmp.Or(
			cmp.Compare(y.GetCreateTime().GetSeconds(), x.GetCreateTime().GetSeconds()),
			cmp.Compare(y.GetSessionId(), x.GetSessionId()),
		)
	})
	all = all[:min(len(all), maxOfPerson)]
	summary := &verificationv1.Person{Sessions: int32(len(all))}
	for _, life := range all {
		v := life.latest()
		summary.FailedAttempts += v.GetRetry().GetFailedAttempts() - life.inherited
		if summary.Verified == nil && v.GetStatus() == verificationv1.Status_STATUS_VERIFIED {
			summary.Verified = proto.CloneOf(v)
		}
	}
	return summary
}
