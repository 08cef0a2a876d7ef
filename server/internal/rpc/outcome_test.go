package rpc

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// shownOutcomes collects, for each revision of one session, the outcome with which any caller saw it.
type shownOutcomes struct {
	t         *rapid.T
	revisions map[int32]*verificationv1.Verification
}

// see compares a sighting with the first one of the revision.
func (s *shownOutcomes) see(where string, v *verificationv1.Verification) {
	first, known := s.revisions[v.GetRevision()]
	switch {
	case v.GetOutcomeRevision() < 1 || v.GetOutcomeRevision() > v.GetRevision() || len(v.GetOutcomeId()) != 22:
		s.t.Fatalf("%s: revision %d shows the outcome of revision %d, %q", where, v.GetRevision(), v.GetOutcomeRevision(), v.GetOutcomeId())
	case !known:
		s.revisions[v.GetRevision()] = v
	case v.GetOutcomeRevision() != first.GetOutcomeRevision() || v.GetOutcomeId() != first.GetOutcomeId() || v.GetReplaces() != first.GetReplaces():
		s.t.Fatalf("%s: revision %d shows the outcome %d %s, replacing %q; it was seen as %d %s, replacing %q", where, v.GetRevision(),
			v.GetOutcomeRevision(), v.GetOutcomeId(), v.GetReplaces(), first.GetOutcomeRevision(), first.GetOutcomeId(), first.GetReplaces())
	}
}

// follow sees what a watch shows up to a revision, ends the watch, and returns its last token.
func (s *shownOutcomes) follow(where string, w *watched, last int32) (token string) {
	defer w.stop()
	for shown := int32(0); shown < last; {
		if v := w.next(); v != nil { // nil: a bookmark
			s.see(where, v)
			shown = v.GetRevision()
		}
	}
	return w.token
}

// check compares the outcomes with the states as they were seen.
func (s *shownOutcomes) check(last int32) {
	want := int32(1)
	for revision := int32(1); revision <= last; revision++ {
		v, before := s.revisions[revision], s.revisions[revision-1]
		if v == nil {
			s.t.Fatalf("revision %d of %d was never seen", revision, last)
		}
		erased := v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED
		if before != nil && (v.GetStripeStatus() != before.GetStripeStatus() ||
			!erased && (v.GetLastError().GetStripeCode() != before.GetLastError().GetStripeCode() || v.GetLastVerificationReport() != before.GetLastVerificationReport())) {
			want = revision
		}
		if v.GetOutcomeRevision() != want {
			s.t.Fatalf("revision %d shows the outcome of revision %d; want %d", revision, v.GetOutcomeRevision(), want)
		}
	}
}

// TestG13_EveryCallerSeesOneOutcomeForARevision: a life with a grant, an operator's override and resolution, inherited counts and a
// redaction comes in any order to two replicas. Watches of the session and of all sessions, resumed at any revision, and GetStatus show one outcome for each revision.
func TestG13_EveryCallerSeesOneOutcomeForARevision(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	replicas := []*replica{b.replica(t), b.replica(t)}
	lives, overrides := 0, 0
	strict := b.policy
	strict.MaxRetries = 0 // each failure needs an override
	rapid.Check(t, func(rt *rapid.T) {
		lives++
		id := fmt.Sprintf("vs_life%d", lives)
		either := func(label string) *replica { return replicas[rapid.IntRange(0, 1).Draw(rt, label)] }
		seen := &shownOutcomes{rt, make(map[int32]*verificationv1.Verification)}
		own := func(change func(verification.Session) (verification.Session, bool)) func() {
			return func() {
				if _, err := either("writer").store.Update(t.Context(), id, func(current verification.Session) (verification.Session, bool, error) {
					next, changed := change(current)
					return next, changed && current.Exists(), nil
				}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		now := time.Unix(t0+50, 0)
		var steps []func()
		for n, o := range []verification.Object{
			object(id, "requires_input"), object(id, "processing"), object(id, "requires_input", failure("document_expired", 1)),
			object(id, "requires_input", failure("document_expired", 1), reference("person")), object(id, "processing", failure("", 1)),
			object(id, "verified", failure("", 2)), object(id, "verified", failure("", 2), erased),
		} {
			if o.Status != "requires_input" {
				o.Error = verification.Error{}
			}
			event := eventOf(n+1, int64(10*n+1), o)
			steps = append(steps, func() { either("replica").apply(event) })
		}
		steps = append(steps,
			own(func(s verification.Session) (verification.Session, bool) {
				next, _, changed := verification.GrantRetry(s, b.policy, now, "billing")
				return next, changed
			}),
			own(func(s verification.Session) (verification.Session, bool) {
				return verification.Inherit(s, verification.Session{ID: "vs_0", State: verification.State{RetriesGranted: 1}}, now)
			}),
			own(func(s verification.Session) (verification.Session, bool) {
				next, _, changed := verification.AllowRetry(s, strict, now, "ada")
				if changed {
					overrides++
				}
				return next, changed
			}),
			own(func(s verification.Session) (verification.Session, bool) {
				return verification.ResolveVerification(s, verification.ResolutionDeclined, now, "ada")
			}))
		first := replicas[0].watch(allSessions())
		first.next()
		token := first.token
		first.stop()
		last, resumes := int32(0), make(map[int32]string) // tokens by revision
		for _, at := range rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}).Draw(rt, "order") {
			steps[at]()
			if session, err := replicas[0].store.Get(t.Context(), id); err == nil {
				last = session.Revision
				for n, r := range replicas {
					seen.see(fmt.Sprintf("GetStatus of replica %d", n), r.statusAt(id, last))
				}
			}
			if last > 0 && rapid.IntRange(0, 3).Draw(rt, "watch") == 0 {
				resumes[last] = seen.follow("a watch of the session", either("watched").watch(bySession(id, 0)), last)
				seen.follow("a watch of all sessions", either("watched").watch(resumed(allSessions(), token)), last)
			}
		}
		seen.follow("a watch of all sessions", either("watched").watch(resumed(allSessions(), token)), last)
		for _, from := range slices.Sorted(maps.Keys(resumes)) {
			if from < last {
				seen.follow("a resumed watch of the session", either("resumed").watch(resumed(bySession(id, 0), resumes[from])), last)
			}
		}
		seen.check(last)
	})
	if overrides == 0 {
		t.Errorf("no override in %d lives", lives)
	}
}

// statusAt returns the status at a revision or a later one.
func (r *replica) statusAt(id string, revision int32) *verificationv1.Verification {
	r.t.Helper()
	response, err := r.GetStatus(r.t.Context(), bySessionAt(id, revision))
	if err != nil {
		r.t.Fatalf("status of %s: %v", id, err)
	}
	return response.GetVerification()
}

func bySessionAt(id string, revision int32) *verificationv1.GetStatusRequest {
	return &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}, MinRevision: revision}
}
