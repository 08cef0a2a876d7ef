package consumers

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/verification-status/server/internal/store"
)

// passTries is how often one PassOver tries to move: the second try knows what was acknowledged since the last PassOver. What others
// acknowledge meanwhile is left to the next call.
const passTries = 2

// Stream is an open stream of a consumer. It holds the consumer's lease until Close. PassOver must not run twice at the same time;
// the other methods are safe for concurrent use.
type Stream struct {
	consumers   *Consumers
	name        string
	incarnation uint64
	caller      string
	id          string           // random: it tells this stream from others of the consumer
	positions   []store.Position // see Positions
	known       []store.Position // the stored positions, as this stream saw them last; zero if the feed denied one

	stop chan struct{} // closed by Close
	done chan struct{} // closed when keep has ended
	lost chan struct{}
	err  error // why lost was closed
}

// Incarnation returns the incarnation of the consumer.
func (s *Stream) Incarnation() uint64 { return s.incarnation }

// Positions returns what the consumer had acknowledged when the stream was opened: one position for each partition.
func (s *Stream) Positions() []store.Position { return slices.Clone(s.positions) }

// Lost is closed if the stream no longer has the lease: another stream took it, or the consumer was deleted. A store that is
// unavailable is no loss.
func (s *Stream) Lost() <-chan struct{} { return s.lost }

// Err returns why the lease was lost: a *BusyError if another stream took it, or store.ErrNotFound if the consumer was deleted. It
// returns nil until Lost is closed.
func (s *Stream) Err() error {
	select {
	case <-s.lost:
		return s.err
	default:
		return nil
	}
}

// Close gives the lease back, so that another stream can begin at once. It takes at most 4 s, if the store hangs. Call it once, after
// the last PassOver.
func (s *Stream) Close() {
	close(s.stop)
	<-s.done
	s.release()
	s.consumers.changed.Store(true)
}

// keep renews the lease until Close or the loss of the lease. A renewal that fails is repeated sooner: if
// the lease ends meanwhile and no other stream takes it, this stream gets it again.
func (s *Stream) keep() {
	defer close(s.done)
	every := s.consumers.config.Lease / 3
	for pause := every; ; {
		timer := time.NewTimer(pause)
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		err := s.renew(ctx)
		cancel()
		switch {
		case err == nil:
			pause = every
		case isLost(err):
			s.err = err
			close(s.lost)
			return
		default:
			pause = every / 5
		}
	}
}

// renew takes or prolongs the lease. It returns a *BusyError if another stream has it.
func (s *Stream) renew(ctx context.Context) error {
	duration := s.consumers.config.Lease
	held, left, err := s.consumers.config.Store.LeaseConsumer(ctx, s.name, s.incarnation, s.id, s.caller, duration)
	if err == nil && !held {
		return &BusyError{RetryAfter: min(max(left, time.Millisecond), duration)}
	}
	return err
}

// isLost reports whether an error of renew says that this stream does not have the lease.
func isLost(err error) bool {
	var busy *BusyError
	return errors.As(err, &busy) || errors.Is(err, store.ErrNotFound)
}

// release gives the lease back. If that fails the lease ends by itself.
func (s *Stream) release() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := s.consumers.config.Store.ReleaseConsumer(ctx, s.name, s.incarnation, s.id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.consumers.config.Logger.Warn("the lease of a consumer was not given back; it ends by itself", "consumer", s.name, "error", err)
	}
}

// PassOver acknowledges for the consumer what its stream did not send. sent holds, for each partition, the position of the last change
// that was sent or, before the first one, the position at which the stream began; passed holds the positions up to which the
// stream has read. A partition moves only if the consumer has acknowledged everything that was sent in it. PassOver returns a
// *BusyError or store.ErrNotFound if the lease is lost, because the stream that has it can have other filters. It leaves the lease
// to the next stream then. It returns
// store.ErrTrimmed or store.ErrRewound if the feed no longer holds passed. It costs four round trips, and two more if the
// consumer has acknowledged something since the last call.
func (s *Stream) PassOver(ctx context.Context, sent, passed []store.Position) error {
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.renew(ctx); err != nil {
		return err
	}
	// The feed can have lost an entry since it was acknowledged. This check comes before that of passed: if the loss is between the two,
	// passed was lost too.
	each, err := s.consumers.config.Store.Check(ctx, s.known)
	if err != nil {
		return err
	}
	s.known = held(s.known, each)
	each, err = s.consumers.config.Store.Check(ctx, passed)
	if err = errors.Join(append(each, err)...); err != nil {
		return err
	}
	for range passTries {
		to := passable(s.known, sent, passed)
		now, err := s.consumers.config.Store.MoveConsumer(ctx, s.name, s.incarnation, s.known, to)
		if err != nil {
			return err
		}
		if slices.Equal(now.Positions, to) {
			s.known = to
			return nil
		}
		// Acknowledged elsewhere. A position that the feed denies proves nothing: it was acknowledged before a loss.
		if each, err = s.consumers.config.Store.Check(ctx, now.Positions); err != nil {
			return err
		}
		s.known = held(now.Positions, each)
	}
	return nil
}

// passable returns the known positions, moved to passed where nothing that was sent is unacknowledged.
func passable(known, sent, passed []store.Position) []store.Position {
	to := slices.Clone(known)
	for partition, position := range known {
		acknowledged := position.Epoch == sent[partition].Epoch && position.Seq >= sent[partition].Seq
		if acknowledged && isAfter(passed[partition], position) {
			to[partition] = passed[partition]
		}
	}
	return to
}

// isAfter reports whether one position is after another one of the same data set.
func isAfter(position, other store.Position) bool {
	return position.Epoch == other.Epoch && position.Seq > other.Seq
}
