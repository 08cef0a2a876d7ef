package differential

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/verification"
)

// scale is how much faster time passes at Stripe than here: people need minutes, a round has seconds.
const scale = 600

// sessionClock is Stripe's clock. It runs behind this machine's, so that no event is of the future.
type sessionClock struct{ began, at time.Time }

func newClock() sessionClock {
	now := time.Now()
	return sessionClock{began: now, at: now.Add(-24 * time.Hour).Truncate(time.Second)}
}

func (c sessionClock) now() time.Time { return c.at.Add(scale * time.Since(c.began)) }

// stripe is Stripe as the service sees it: sessions that live, events, and an API that can be away.
type stripe struct {
	clock   sessionClock
	away    atomic.Bool
	emitted func(verification.Event)

	mu       sync.Mutex
	lives    map[string]*life
	ids      []string
	all      []verification.Event
	pending  []verification.Event // not yet acknowledged, in no order
	replaced map[string]string    // successors by the session that they replaced
	links    int
}

// life is one session at Stripe.
type life struct {
	object verification.Object
	second int64 // of the newest event
	events int
	tries  int
}

func newStripe(clock sessionClock, emitted func(verification.Event)) *stripe {
	return &stripe{clock: clock, emitted: emitted, lives: make(map[string]*life), replaced: make(map[string]string)}
}

// born makes a session; replaces is the one that its metadata claims to replace, if any. It needs s.mu.
func (s *stripe) born(id, reference, replaces string) {
	l := &life{object: verification.Object{
		ID: id, Type: "document", Status: verification.StatusRequiresInput, Created: s.clock.now().Unix(), Reference: reference, Replaces: replaces,
	}}
	s.lives[id] = l
	s.ids = append(s.ids, id)
	s.happens(l, verification.EventCreated)
}

// happens emits an event with the session as it is now. It needs s.mu.
func (s *stripe) happens(l *life, kind string) {
	l.events++
	l.second = max(l.second, s.clock.now().Unix())
	event := verification.Event{
		ID: fmt.Sprintf("evt_%s_%d", l.object.ID, l.events), Type: kind, Source: verification.SourceWebhook,
		Second: l.second, Object: l.object,
	}
	s.all = append(s.all, event)
	s.emitted(event)
	s.pending = append(s.pending, event)
}

// steps lets one of the newest sessions make a step, in a quarter of the cases two within a second, and
// sometimes makes a new session.
func (s *stripe) steps(rng *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rng.IntN(60) == 0 {
		s.born(fmt.Sprintf("vs_%04d", len(s.ids)), fmt.Sprintf("person %d", rng.IntN(6)), "")
	}
	l := s.lives[s.pick(rng)]
	for range 1 + rng.IntN(4)/3 {
		s.step(l, rng)
	}
	if last := len(s.pending) - 1; last >= 0 && rng.IntN(40) == 0 {
		s.pending = s.pending[:last] // its webhook is never sent
	}
}

// step makes the next step of a session. The caller holds s.mu.
func (s *stripe) step(l *life, rng *rand.Rand) {
	o := &l.object
	switch {
	case o.Redaction == verification.RedactionRedacted:
	case o.Redaction == verification.RedactionProcessing:
		s.redacted(l)
	case o.Status == verification.StatusProcessing && rng.IntN(3) == 0:
		l.tries++
		o.Status, o.Report = verification.StatusVerified, fmt.Sprintf("vr_%s_%d", o.ID, l.tries)
		s.happens(l, verification.EventVerified)
	case o.Status == verification.StatusProcessing:
		s.fails(l, []string{"document_expired", "selfie_face_mismatch", "consent_declined", verification.CodeAbandoned}[rng.IntN(4)])
	case o.Status == verification.StatusRequiresInput && !o.Error.IsZero() && rng.IntN(2) == 0: // thinks it over
	case o.Status == verification.StatusRequiresInput && rng.IntN(12) > 0:
		o.Status, o.Error = verification.StatusProcessing, verification.Error{}
		s.happens(l, verification.EventProcessing)
	case rng.IntN(8) == 0:
		o.Redaction = verification.RedactionProcessing // Stripe has no event for it
	case o.Status == verification.StatusRequiresInput && rng.IntN(3) == 0:
		o.Status, o.Error = verification.StatusCanceled, verification.Error{}
		s.happens(l, verification.EventCanceled)
	case o.Status == verification.StatusVerified && rng.IntN(6) == 0 && l.second < s.clock.now().Unix():
		s.fails(l, "document_unverified_other") // a reviewer overrides it
	}
}

func (s *stripe) fails(l *life, code string) {
	l.tries++
	l.object.Status, l.object.Error = verification.StatusRequiresInput, verification.Error{Code: code, Reason: "a sentence"}
	l.object.Report = fmt.Sprintf("vr_%s_%d", l.object.ID, l.tries)
	s.happens(l, verification.EventRequiresInput)
}

func (s *stripe) redacted(l *life) {
	o := &l.object
	o.Redaction, o.Error, o.Report, o.Reference = verification.RedactionRedacted, verification.Error{}, "", ""
	s.happens(l, verification.EventRedacted)
}

// finish ends every redaction that is under way.
func (s *stripe) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lives {
		if l.object.Redaction == verification.RedactionProcessing {
			s.redacted(l)
		}
	}
}

// pick is one of the newest sessions: the load must meet in a few. It needs s.mu.
func (s *stripe) pick(rng *rand.Rand) string {
	return s.ids[len(s.ids)-1-rng.IntN(min(len(s.ids), 24))]
}

func (s *stripe) anyID(rng *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pick(rng)
}

// nextEvent is one to deliver: mostly one that was not acknowledged yet, else any, again.
func (s *stripe) nextEvent(rng *rand.Rand) (event verification.Event, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 {
		return s.pending[rng.IntN(len(s.pending))], true
	}
	return s.all[rng.IntN(len(s.all))], false
}

// acknowledged notes that an event need not be delivered again.
func (s *stripe) acknowledged(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = slices.DeleteFunc(s.pending, func(e verification.Event) bool { return e.ID == id })
}

func (s *stripe) sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func (s *stripe) events() []verification.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *stripe) truth(id string) verification.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lives[id].object
}

// Retrieve implements rpc.Stripe: it takes a moment, before and after.
func (s *stripe) Retrieve(ctx context.Context, _, id string) (verification.Retrieved, error) {
	asOf := s.clock.now().Unix() - 1
	if err := pause(ctx, rand.N(3*time.Millisecond)); err != nil || s.away.Load() {
		return verification.Retrieved{}, verification.ErrStripeUnavailable
	}
	answer, err := s.retrieve(asOf, id)
	_ = pause(ctx, rand.N(3*time.Millisecond))
	return answer, err
}

func (s *stripe) retrieve(asOf int64, id string) (verification.Retrieved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lives[id]
	if l == nil {
		return verification.Retrieved{}, verification.ErrStripeUnknown
	}
	answer := verification.Retrieved{Object: l.object, AsOf: asOf}
	if l.object.Status == verification.StatusRequiresInput && l.object.Redaction == verification.RedactionNone {
		s.links++
		answer.Link = verification.Link{
			URL: verification.Secret(fmt.Sprintf("https://verify.example/%s/%d", id, s.links)), ClientSecret: verification.Secret(fmt.Sprintf("%s_secret_%d", id, s.links)),
		}
	}
	return answer, nil
}

// Read implements ingest.Stripe.
func (s *stripe) Read(ctx context.Context, _ verification.Purpose, account, id string) (verification.Retrieved, error) {
	return s.Retrieve(ctx, account, id)
}

// FindByReference implements ingest.Stripe.
func (s *stripe) FindByReference(ctx context.Context, reference string) (verification.Retrieved, error) {
	s.mu.Lock()
	newest := ""
	for _, id := range s.ids {
		if s.lives[id].object.Reference == reference && (newest == "" || s.lives[id].object.Created >= s.lives[newest].object.Created) {
			newest = id
		}
	}
	s.mu.Unlock()
	if newest == "" {
		return verification.Retrieved{}, verification.ErrStripeUnknown
	}
	return s.Retrieve(ctx, "", newest)
}

// CreateLike implements rpc.Stripe. The successor exists even if no caller learns of it.
func (s *stripe) CreateLike(ctx context.Context, _, id, _ string) (string, error) {
	if s.away.Load() {
		return "", verification.ErrStripeUnavailable
	}
	s.mu.Lock()
	successor := s.replaced[id]
	if successor == "" {
		successor = id + "r"
		s.replaced[id] = successor
		s.born(successor, s.lives[id].object.Reference, id)
	}
	s.mu.Unlock()
	if err := pause(ctx, rand.N(3*time.Millisecond)); err != nil {
		return "", verification.ErrStripeUnavailable
	}
	return successor, nil
}

// EphemeralKey implements rpc.Stripe. No call of this test asks for a key.
func (s *stripe) EphemeralKey(context.Context, string, string, string) (verification.Secret, error) {
	return "", verification.ErrStripeUnavailable
}

// Outputs implements rpc.Stripe. No call of this test compares.
func (s *stripe) Outputs(context.Context, string, string, bool) (comparison.Outputs, error) {
	return comparison.Outputs{}, verification.ErrStripeUnavailable
}

// Events implements reconcile.Stripe: the newest first, 100 a page.
func (s *stripe) Events(_ context.Context, _ string, query verification.EventQuery) (verification.EventPage, error) {
	if s.away.Load() {
		return verification.EventPage{}, verification.ErrStripeUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := slices.Clone(s.all)
	slices.SortStableFunc(listed, func(a, b verification.Event) int { return int(b.Second - a.Second) })
	listed = slices.DeleteFunc(listed, func(e verification.Event) bool {
		return e.Second < query.From || query.Before > 0 && e.Second >= query.Before
	})
	if query.After != "" {
		at := slices.IndexFunc(listed, func(e verification.Event) bool { return e.ID == query.After })
		listed = listed[at+1:]
	}
	const most = 100
	page := verification.EventPage{More: len(listed) > most, AsOf: s.clock.now().Unix()}
	page.Events = listed[:min(most, len(listed))]
	for i := range page.Events {
		page.Events[i].Source = verification.SourceStripeAPI
	}
	if n := len(page.Events); n > 0 {
		page.Newest, page.Oldest, page.Last = page.Events[0].Second, page.Events[n-1].Second, page.Events[n-1].ID
	}
	return page, nil
}

// pause ends early, with an error, when ctx does.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
