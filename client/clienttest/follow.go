package clienttest

import (
	"cmp"
	"slices"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// follower is the subject and the position of one watch. The state's lock is held in its methods.
type follower struct {
	at        token
	reference string
	all       bool
	begun     bool                        // a watch of all sessions has sent its first token
	filter    *verificationv1.AllSessions // of a watch of all sessions
	consumer  *consumer                   // of the filter; nil: none
	sent      int                         // feed entries, to the last one that was sent
}

// follow returns the follower of a request, or the error for its caller.
func (s *state) follow(request *verificationv1.WatchStatusRequest) (*follower, error) {
	f := &follower{}
	if err := checkToken("resume_token", request.GetResumeToken()); err != nil {
		return nil, err
	}
	var err error
	switch subject := request.GetSubject().(type) {
	case *verificationv1.WatchStatusRequest_SessionId:
		f.at = token{Subject: subject.SessionId, Session: subject.SessionId}
		err = checkSessionID(subject.SessionId)
	case *verificationv1.WatchStatusRequest_ClientReferenceId:
		f.reference = subject.ClientReferenceId
		f.at = token{Subject: digest("reference", f.reference)}
		err = checkReference(f.reference)
	case *verificationv1.WatchStatusRequest_AllSessions:
		f.all, f.filter = true, subject.AllSessions
		f.at = token{Subject: "all", Entries: len(s.feed)}
		if request.GetUntilSettled() {
			err = invalid("until_settled", "does not go with all_sessions")
		}
		err = cmp.Or(err, checkAllSessions(f.filter))
		if err == nil && f.filter.GetConsumer() != "" {
			err = s.take(f, request.GetResumeToken())
		}
	default:
		err = invalid("subject", "is missing: set session_id, client_reference_id or all_sessions")
	}
	if err != nil {
		return nil, err
	}
	f.at.Epoch = s.epoch
	if text := request.GetResumeToken(); text != "" {
		at, err := parseToken(text, f.at.Subject)
		switch {
		case err != nil:
			return nil, Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID)
		case at.Epoch != s.epoch:
			return nil, Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
		}
		f.at, f.sent = at, at.Entries
	}
	if err := s.exists(f); err != nil {
		return nil, err
	}
	if f.consumer != nil {
		f.consumer.holder = f
	}
	return f, nil
}

// exists returns an error if the session or reference of a watch is unknown.
func (s *state) exists(f *follower) error {
	if f.all {
		return nil
	}
	if f.at.Session == "" {
		life := s.newest(f.reference)
		if life == nil {
			return Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		}
		f.at.Session = life.latest().GetSessionId()
	}
	life := s.sessions[f.at.Session]
	switch {
	case life == nil:
		return Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	case f.reference != "" && life.latest().GetClientReferenceId() != f.reference:
		return Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	}
	return nil
}

// pending returns the responses that the watch has not sent yet, or the error that ends it.
func (s *state) pending(f *follower) ([]*verificationv1.WatchStatusResponse, error) {
	if f.all {
		return s.pendingFeed(f), nil
	}
	if err := s.lead(f); err != nil {
		return nil, err
	}
	life := s.sessions[f.at.Session]
	next := f.at.Revision + 1
	if f.at.Revision == 0 {
		next = life.latest().GetRevision() // the current status first
	}
	var responses []*verificationv1.WatchStatusResponse
	for ; next <= life.latest().GetRevision(); next++ {
		f.at.Revision = next
		if v := life.at(next); v != nil {
			responses = append(responses, f.response(v))
		}
	}
	return responses, nil
}

// lead moves a watch by reference to the newest session with the reference, if that is newer than the one shown, or if the one
// shown has had another reference since: it was another person's then.
func (s *state) lead(f *follower) error {
	if f.reference == "" {
		return nil
	}
	shown, newest := s.sessions[f.at.Session], s.newest(f.reference)
	moved := shown.hadOtherReference(f.reference, f.at.Revision)
	switch {
	case moved && newest == nil:
		return Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	case moved && newest == shown: // it has the reference again
		return Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	case moved, newest != nil && newer(newest.latest(), shown.latest()):
		f.at.Session, f.at.Revision = newest.latest().GetSessionId(), 0
	}
	return nil
}

// hadOtherReference reports whether the session had another reference than this one after a revision.
func (l *session) hadOtherReference(reference string, revision int32) bool {
	return revision > 0 && slices.ContainsFunc(l.revisions[min(int(revision), len(l.revisions)):], func(v *verificationv1.Verification) bool {
		return v.GetClientReferenceId() != "" && v.GetClientReferenceId() != reference
	})
}

func (s *state) pendingFeed(f *follower) []*verificationv1.WatchStatusResponse {
	var responses []*verificationv1.WatchStatusResponse
	if !f.begun {
		f.begun = true
		first := f.response(nil)
		first.Consumer = f.filter.GetConsumer()
		responses = append(responses, first)
	}
	for ; f.at.Entries < len(s.feed); f.at.Entries++ {
		changed := s.feed[f.at.Entries]
		life := s.sessions[changed.id]
		if v := life.at(changed.revision); v != nil && life.selects(f.filter, v) {
			behind := *f
			behind.at.Entries++
			f.sent = behind.at.Entries
			responses = append(responses, behind.response(v))
		}
	}
	f.passOver()
	return responses
}

func (f *follower) response(v *verificationv1.Verification) *verificationv1.WatchStatusResponse {
	return &verificationv1.WatchStatusResponse{Verification: v, ResumeToken: f.at.String()}
}

// settled: until_settled ends the stream.
func (s *state) settled(f *follower) bool {
	v := s.sessions[f.at.Session].latest()
	return v.GetSettled() && (f.reference == "" || v.GetSupersededBy() == "")
}
