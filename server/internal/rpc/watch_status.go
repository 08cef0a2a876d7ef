package rpc

import (
	"context"
	"errors"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// watcher serves WatchStatus. It reads through the slots of Live.Limited.
type watcher struct {
	lookup
	stopping context.Context // ends with Drain
}

// WatchStatus implements the RPC.
func (s *Service) WatchStatus(request *verificationv1.WatchStatusRequest, server verificationv1.VerificationService_WatchStatusServer) error {
	if err := s.watcher.watchStatus(request, server); err != nil {
		return s.fail(server.Context(), err)
	}
	return nil
}

// watchStatus stays on the stack for the life of the stream, so it keeps few locals: parse reads the request.
func (w *watcher) watchStatus(request *verificationv1.WatchStatusRequest, server verificationv1.VerificationService_WatchStatusServer) error {
	heartbeat, topics, err := w.parse(request)
	if err != nil {
		return err
	}
	st := w.newStream(server, heartbeat, topics...)
	defer st.close()
	switch subject := request.GetSubject().(type) {
	case *verificationv1.WatchStatusRequest_SessionId:
		return w.watchSession(st, request, subject.SessionId)
	case *verificationv1.WatchStatusRequest_ClientReferenceId:
		return w.watchReference(st, request, subject.ClientReferenceId)
	default:
		return w.watchAll(st, request)
	}
}

// parse returns the heartbeat of a request (0: none) and the topics that wake its watch. It returns an error if the
// request is invalid.
func (w *watcher) parse(request *verificationv1.WatchStatusRequest) (heartbeat time.Duration, topics []hub.Topic, err error) {
	if heartbeat, err = heartbeatOf(request); err != nil {
		return 0, nil, err
	}
	if err := checkToken("resume_token", request.GetResumeToken()); err != nil {
		return 0, nil, err
	}
	switch subject := request.GetSubject().(type) {
	case *verificationv1.WatchStatusRequest_SessionId:
		return heartbeat, []hub.Topic{hub.Session(subject.SessionId)}, checkSessionID(subject.SessionId)
	case *verificationv1.WatchStatusRequest_ClientReferenceId:
		return heartbeat, []hub.Topic{hub.Reference(subject.ClientReferenceId)}, checkReference(subject.ClientReferenceId)
	case *verificationv1.WatchStatusRequest_AllSessions:
		if request.GetUntilSettled() {
			return 0, nil, invalid("until_settled", "does not go with all_sessions")
		}
		if heartbeat == 0 && isSelective(subject.AllSessions) {
			heartbeat = selectiveHeartbeat
		}
		return heartbeat, w.partitionTopics(), checkAllSessions(subject.AllSessions)
	default:
		return 0, nil, invalid("subject", "is missing: set session_id, client_reference_id or all_sessions")
	}
}

// watchSession is snapshot, resume and live in one loop: send what follows the cursor, wait for a wake-up, read again.
// A store that is unavailable does not end a watch that has begun: it resumes when the store is back. If the session is
// not known here and Stripe cannot be asked now, the watch waits for the session.
func (w *watcher) watchSession(st *stream, request *verificationv1.WatchStatusRequest, id string) error {
	var c cursor
	look := st.untilWoken(func(ctx context.Context) (verification.Session, error) { return w.session(ctx, "", id, 0) })
	if token := request.GetResumeToken(); token != "" {
		resumed, err := resumetoken.DecodeSession(token, id)
		if err != nil {
			return err
		}
		c, look = cursor(resumed), w.readKnown(id, resumed.Revision)
	}
	until, token := request.GetUntilSettled(), func() string { return tokenOf(c, encodeSession) }
	for begun := false; ; {
		var settled bool
		err := st.do(func() (err error) {
			settled, err = w.showSession(st, &c, id, look)
			return err
		})
		if err == nil && settled && until {
			return nil
		}
		begun = begun || err == nil
		if err := st.pause(token, begun, err); err != nil {
			return err
		}
		if begun {
			look = w.readKnown(id, c.Revision)
		}
	}
}

// showSession reads once, and sends what follows the cursor. A cached session needs no context with a timeout, and most
// changes are cached.
func (w *watcher) showSession(st *stream, c *cursor, id string, look reader) (settled bool, err error) {
	session := w.sessions.Peek(id, c.Revision)
	if session == nil {
		read, err := st.look(look)
		if err != nil {
			return false, err
		}
		session = &read
	}
	*c, err = w.sendAfter(st, session, *c, encodeSession)
	return session.Settled(), err
}

// reader reads the session that a watch is about.
type reader func(context.Context) (verification.Session, error)

// readKnown returns a reader of a session that was in the store before, at that revision. A session that is gone was
// lost.
func (w *watcher) readKnown(id string, revision int32) reader {
	return func(ctx context.Context) (verification.Session, error) {
		session, err := w.sessions.Session(ctx, id, revision)
		if errors.Is(err, store.ErrNotFound) {
			return session, errTokenExpired
		}
		return session, err
	}
}

// sendAfter sends the changes after the cursor, and returns the cursor after the last one.
func (w *watcher) sendAfter(st *stream, session *verification.Session, c cursor, token func(cursor) string) (cursor, error) {
	if c.Revision > 0 {
		if err := c.check(*session); err != nil {
			return c, err
		}
	}
	for _, change := range c.after(*session) {
		if err := st.ended(); err != nil {
			return c, err
		}
		c = cursorAt(*session, change.Revision)
		if err := st.respond(w.config.asOf(st.ctx, *session, change), token(c)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// tokenOf returns a watch's token. It is empty before the first status: such a watch begins again.
func tokenOf(c cursor, encode func(cursor) string) string {
	if c == (cursor{}) {
		return ""
	}
	return encode(c)
}

func encodeSession(c cursor) string { return resumetoken.EncodeSession(resumetoken.Session(c)) }

// heartbeatOf returns the longest silence that a request allows. It returns 0 if the request sets no bound.
func heartbeatOf(request *verificationv1.WatchStatusRequest) (time.Duration, error) {
	if request.Heartbeat == nil {
		return 0, nil
	}
	if err := request.Heartbeat.CheckValid(); err != nil {
		return 0, invalid("heartbeat", "is not a valid duration")
	}
	heartbeat := request.Heartbeat.AsDuration()
	if heartbeat <= 0 {
		return 0, invalid("heartbeat", "is not positive; leave it out for none")
	}
	return min(max(heartbeat, minHeartbeat), maxHeartbeat), nil
}
