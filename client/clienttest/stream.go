package clienttest

import (
	"errors"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// The contract's limits of a heartbeat. never is longer than a test, for watches without heartbeats.
const (
	minHeartbeat = 5 * time.Second
	maxHeartbeat = 5 * time.Minute
	never        = 24 * time.Hour
	// selectiveHeartbeat is for a watch with a filter or a consumer that asks for none.
	selectiveHeartbeat = time.Minute
)

// errDone: the stream has ended because of until_settled.
var errDone = errors.New("settled")

// stream is one open watch.
type stream struct {
	*follower
	untilSettled bool
	heartbeat    time.Duration
	sent         time.Time // the time of the last response
	due          bool      // a heartbeat is due
	beats, cuts  int       // the values of the state that the stream has seen
}

// open returns the stream of a new watch, or the error for its caller.
func (s *state) open(request *verificationv1.WatchStatusRequest) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.nextFailure(); err != nil {
		return nil, err
	}
	heartbeat := never
	if isSelective(request.GetAllSessions()) {
		heartbeat = selectiveHeartbeat
	}
	if asked := request.GetHeartbeat(); asked != nil {
		if asked.CheckValid() != nil || asked.AsDuration() <= 0 {
			return nil, invalid("heartbeat", "is no duration above 0; leave it out for none")
		}
		heartbeat = min(max(asked.AsDuration(), minHeartbeat), maxHeartbeat)
	}
	f, err := s.follow(request)
	if err != nil {
		return nil, err
	}
	s.streams++
	s.opened++
	s.wake()
	return &stream{follower: f, untilSettled: request.GetUntilSettled(), heartbeat: heartbeat, sent: time.Now(), beats: s.beats, cuts: s.cuts}, nil
}

func (s *state) close(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(st.follower)
	s.streams--
	s.wake()
}

func isSelective(all *verificationv1.AllSessions) bool {
	return all.GetOutcomesOnly() || len(all.GetStatuses()) > 0 || all.GetConsumer() != ""
}

// look returns the responses that a stream must send now, and the channel that closes at the next change or the error that
// ends the stream.
func (s *state) look(st *stream) ([]*verificationv1.WatchStatusResponse, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case st.cuts != s.cuts:
		return nil, nil, s.cut
	case s.fail != nil:
		return nil, nil, s.fail
	case st.lost() != nil:
		return nil, nil, st.lost()
	case s.silent:
		return nil, s.changed, nil
	}
	st.at.Epoch = s.epoch
	responses, err := s.pending(st.follower)
	if err != nil {
		return nil, nil, err
	}
	if len(responses) == 0 && (st.due || st.beats != s.beats) {
		responses = append(responses, st.response(nil))
	}
	st.due, st.beats = false, s.beats
	if len(responses) > 0 {
		st.sent = time.Now()
	}
	if st.untilSettled && s.settled(st.follower) {
		return responses, nil, errDone
	}
	return responses, s.changed, nil
}
