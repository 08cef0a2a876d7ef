package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// fakeStore is as much of a store as watches use, and faults at exact moments. The positions of its partitions count the entries of all.
type fakeStore struct {
	store.Store
	partitions int // 0: one

	mu      sync.Mutex
	held    map[string]verification.Session
	newest  map[string]string
	entries []store.Entry
	fail    error
	hang    bool
	looks   int
}

func (s *fakeStore) trouble(ctx context.Context) error {
	s.mu.Lock()
	s.looks++
	hang, fail := s.hang, s.fail
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fail
}

func (s *fakeStore) Get(ctx context.Context, id string) (verification.Session, error) {
	if err := s.trouble(ctx); err != nil {
		return verification.Session{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.held[id]
	if !ok {
		return session, store.ErrNotFound
	}
	return session, nil
}

func (s *fakeStore) Newest(ctx context.Context, reference string) (string, error) {
	if err := s.trouble(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.newest[reference]
	if !ok {
		return "", store.ErrNotFound
	}
	return id, nil
}

func (s *fakeStore) Partitions() int { return max(1, s.partitions) }

func (s *fakeStore) Head(ctx context.Context, _ int) (store.Position, error) {
	err := s.trouble(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Position{Epoch: 1, Seq: uint64(len(s.entries))}, err
}

func (s *fakeStore) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	if err := s.trouble(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.after(partition, after)
	return rest[:min(limit, len(rest))], nil
}

// after returns the entries of a partition that follow a position. The caller holds the lock.
func (s *fakeStore) after(partition int, position store.Position) (entries []store.Entry) {
	for _, entry := range s.entries[position.Seq:] {
		if entry.Partition == partition {
			entries = append(entries, entry)
		}
	}
	return entries
}

// put stores a session, and an entry for each revision that is new.
func (s *fakeStore) put(session verification.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for revision := s.held[session.ID].Revision + 1; revision <= session.Revision; revision++ {
		s.entries = append(s.entries, store.Entry{
			Partition: int(session.ID[len(session.ID)-1]) % s.Partitions(),
			Position:  store.Position{Epoch: 1, Seq: uint64(len(s.entries) + 1)},
			SessionID: session.ID, Revision: revision,
		})
	}
	s.held[session.ID] = session
}

// ofPerson makes a session bear the reference "person".
func ofPerson(session verification.Session) verification.Session {
	session.Reference = "person"
	return session
}

func (s *fakeStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// emptyIngest is an Ingest that knows nothing more than the store.
type emptyIngest struct{}

func (emptyIngest) ReadUnknown(context.Context, string, string) (verification.Session, error) {
	return verification.Session{}, store.ErrNotFound
}

func (emptyIngest) ReadUnknownReference(context.Context, string) (verification.Session, error) {
	return verification.Session{}, store.ErrNotFound
}

func (emptyIngest) Refresh(_ context.Context, current verification.Session) (verification.Session, error) {
	return current, verification.ErrStripeNotConfigured
}

func (emptyIngest) Inherit(_ context.Context, current verification.Session) (verification.Session, error) {
	return current, nil
}

// arrival is one response and when it was sent.
type arrival struct {
	*verificationv1.WatchStatusResponse
	at time.Time
}

// sink is the server's end of a stream.
type sink struct {
	grpc.ServerStream
	ctx  context.Context
	got  chan arrival
	slow time.Duration // how long each send takes
}

func (s *sink) Context() context.Context { return s.ctx }

func (s *sink) Send(r *verificationv1.WatchStatusResponse) error {
	if s.slow > 0 {
		time.Sleep(s.slow)
	}
	s.got <- arrival{r, time.Now()}
	return nil
}

// watching is one WatchStatus in a bubble of synctest.
type watching struct {
	*fakeStore
	hub     *hub.Hub
	t       *testing.T
	service *Service
	sink    *sink
	cancel  context.CancelFunc
	ended   chan error
}

func newWatching(t *testing.T, maxAge time.Duration) *watching {
	w := &watching{
		t: t, hub: hub.New(), fakeStore: &fakeStore{held: map[string]verification.Session{}, newest: map[string]string{}},
		ended: make(chan error, 1),
	}
	w.service = New(Config{
		Live: uncached{w.fakeStore, w.hub, 0}, Ingest: emptyIngest{}, Clock: time.Now, Logger: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)),
		StreamMaxAge: maxAge,
	})
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.sink = &sink{ctx: ctx, got: make(chan arrival, 10_000)}
	t.Cleanup(cancel)
	return w
}

func (w *watching) start(request *verificationv1.WatchStatusRequest) {
	go func() { w.ended <- w.service.WatchStatus(request, w.sink) }()
	synctest.Wait()
}

// stop ends the stream from the caller's side and waits for it.
func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

func (w *watching) next() arrival {
	w.t.Helper()
	select {
	case got := <-w.sink.got:
		return got
	case err := <-w.ended:
		w.t.Fatalf("the stream ended: %v", err)
	case <-time.After(time.Hour):
		w.t.Fatal("nothing came within an hour")
	}
	return arrival{}
}

func (w *watching) none() {
	w.t.Helper()
	synctest.Wait()
	select {
	case got := <-w.sink.got:
		w.t.Fatalf("unexpected: %v", got.WatchStatusResponse)
	case err := <-w.ended:
		w.t.Fatalf("the stream ended: %v", err)
	default:
	}
}

func bySession(id string, heartbeat time.Duration) *verificationv1.WatchStatusRequest {
	request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}}
	if heartbeat > 0 {
		request.Heartbeat = durationpb.New(heartbeat)
	}
	return request
}

func byReference(reference string) *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: reference}}
}

func allSessions() *verificationv1.WatchStatusRequest {
	return &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}}
}
