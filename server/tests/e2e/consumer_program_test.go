package e2e

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/tests/rig"
)

// program is a backend that acts once on each outcome, as the named consumer.
type program struct {
	t    *testing.T
	name string
	conn *client.Client

	mu    sync.Mutex
	acted map[string]string // session by outcome_id
	again int               // how often an outcome came again

	stop    context.CancelFunc // of the present run
	ran     chan struct{}      // closed when the present run has ended
	refused error              // why the present run ended by itself; read it after ran
}

// newProgram connects a program to a server, until the test ends. It does not run yet.
func newProgram(t *testing.T, name, target string, options ...client.Option) *program {
	t.Helper()
	conn, err := client.Dial(target, append(options, client.WithPlaintext())...)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, name: name, conn: conn, acted: map[string]string{}, stop: func() {}}
	t.Cleanup(func() {
		p.halt()
		_ = conn.Close()
	})
	return p
}

// start runs the program until halt, or until the service refuses to continue. Without mustExist it creates the consumer;
// start then waits until it exists.
func (p *program) start(mustExist bool) {
	p.t.Helper()
	ctx, stop := context.WithCancel(p.t.Context())
	ran := make(chan struct{})
	p.stop, p.ran, p.refused = stop, ran, nil
	var options []client.ConsumeOption
	if mustExist {
		options = append(options, client.MustExist())
	}
	go func() {
		defer close(ran)
		if err := p.conn.Consume(ctx, p.name, p.act, options...); ctx.Err() == nil {
			p.refused = err
		}
	}()
	if !mustExist {
		rig.Await(p.t, "the consumer "+p.name+" exists", func() bool { return p.find() != nil })
	}
}

// halt ends the present run as a roll-out does: it acknowledges what it has acted on.
func (p *program) halt() {
	p.stop()
	if p.ran != nil {
		await.One(p.t, p.ran)
	}
}

func (p *program) act(_ context.Context, update client.Update) error {
	id := update.Verification.GetOutcomeId()
	if id == "" || update.Verification.GetOutcomeRevision() == 0 {
		p.t.Errorf("%s was sent a change without an outcome: %v", p.name, update.Verification)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.acted[id]; known {
		p.again++
	}
	p.acted[id] = update.Verification.GetSessionId()
	return nil
}

// has reports whether the program acted on the outcome with an id.
func (p *program) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acted[id] != ""
}

// hasEnded reports whether the present run has ended by itself.
func (p *program) hasEnded() bool {
	select {
	case <-p.ran:
		return true
	default:
		return false
	}
}

// wantRefused waits until the present run ends by itself, with one of the errors.
func (p *program) wantRefused(errs ...error) {
	p.t.Helper()
	rig.Await(p.t, p.name+" is refused", p.hasEnded)
	if !slices.ContainsFunc(errs, func(err error) bool { return errors.Is(p.refused, err) }) {
		p.t.Errorf("%s was refused with %v; want one of %v", p.name, p.refused, errs)
	}
}

// find returns the program's consumer as the service lists it, or nil.
func (p *program) find() *verificationv1.Consumer {
	p.t.Helper()
	consumers, err := p.conn.ListConsumers(rig.Within(p.t, rig.Soon))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range consumers {
		if c.GetName() == p.name {
			return c
		}
	}
	return nil
}

// awaitAcknowledged waits until the consumer has acknowledged everything.
func (p *program) awaitAcknowledged() {
	p.t.Helper()
	rig.Await(p.t, p.name+" has acknowledged everything", func() bool {
		c := p.find()
		return c != nil && c.GetPendingChanges() == 0
	})
}

// outcomesOf returns the outcome_id of each session now.
func outcomesOf(t *testing.T, service verificationv1.VerificationServiceClient, sessions []string) (ids []string) {
	t.Helper()
	for _, session := range sessions {
		ids = append(ids, rig.GetStatus(t, service, session).GetVerification().GetOutcomeId())
	}
	return ids
}

// wantCompleteOrRefused waits until the program acted on every outcome that the sessions have now. The service can refuse to continue instead;
// wantCompleteOrRefused returns whether it did.
func (p *program) wantCompleteOrRefused(service verificationv1.VerificationServiceClient, sessions []string) (refused bool) {
	p.t.Helper()
	rig.Await(p.t, p.name+" acts on every outcome, or is refused", func() bool {
		if p.hasEnded() {
			return true
		}
		return !slices.ContainsFunc(outcomesOf(p.t, service, sessions), func(id string) bool { return !p.has(id) })
	})
	if !p.hasEnded() {
		return false
	}
	p.wantRefused(client.ErrConsumerNotFound, client.ErrConsumerExpired, client.ErrResumeTokenExpired)
	return true
}

// catchUp acts on the outcomes that the sessions have now.
func (p *program) catchUp(service verificationv1.VerificationServiceClient, sessions []string) {
	p.t.Helper()
	for i, id := range outcomesOf(p.t, service, sessions) {
		p.mu.Lock()
		p.acted[id] = sessions[i]
		p.mu.Unlock()
	}
}

// watchAs opens a stream of a named consumer without a client's help, and returns its first response.
func watchAs(ctx context.Context, service verificationv1.VerificationServiceClient, name string, mustExist bool) (grpc.ServerStreamingClient[verificationv1.WatchStatusResponse], *verificationv1.WatchStatusResponse, error) {
	request := rig.WatchAllRequest("")
	request.GetAllSessions().Consumer, request.GetAllSessions().MustExist = name, mustExist
	stream, err := service.WatchStatus(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	first, err := stream.Recv()
	return stream, first, err
}
