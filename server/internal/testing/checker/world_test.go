package checker

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

const partitions = 2

// world is a right service, drawn step by step: a Stripe with its lives, a store that may lose its
// newest writes or all of them, and clients that are cut off and come back.
type world struct {
	*history
	t       *rapid.T
	stripe  []*life
	records map[string]verification.Session
	feeds   [partitions]log
	epoch   int
	made    int // ids and nonces
	watches []*client
	highest map[string]int32 // what the getter has seen
	memory  map[string]verification.Session
	policy  verification.RetryPolicy
	flaw    string // what the service does wrong; empty: nothing
}

// life is one session at Stripe.
type life struct {
	object    verification.Object
	events    []verification.Event
	coming    []verification.Event // webhooks under way
	successor string
}

// log is a partition's feed, with what it takes to lose its newest commits.
type log struct {
	entries []change
	commits []commit
}

type change struct {
	id       string
	revision int32
	nonce    int
}

type commit struct {
	before  verification.Session
	id      string
	entries int
}

func (w *world) draw(n int) int { return rapid.IntRange(0, n-1).Draw(w.t, "choice") }

func (w *world) name(prefix string) string {
	w.made++
	return fmt.Sprintf("%s_%04d", prefix, w.made)
}

func (w *world) partition(id string) int { return int(id[len(id)-1]) % partitions }

func (w *world) life(id string) *life {
	return w.stripe[slices.IndexFunc(w.stripe, func(l *life) bool { return l.object.ID == id })]
}

// born makes a session at Stripe.
func (w *world) born() *life {
	l := &life{object: verification.Object{
		ID: w.name("vs"), Type: "document", Status: verification.StatusRequiresInput, Created: w.now.Unix(), Reference: "person",
	}}
	w.stripe = append(w.stripe, l)
	w.happens(l, verification.EventCreated)
	return l
}

func (w *world) happens(l *life, kind string) {
	event := verification.Event{ID: w.name("evt"), Type: kind, Source: verification.SourceWebhook, Second: w.now.Unix(), Object: l.object}
	l.events = append(l.events, event)
	for range 1 + w.draw(2) {
		l.coming = append(l.coming, event)
	}
	w.Emitted(event)
}

// lives lets a session make its next step at Stripe.
func (w *world) lives(l *life) {
	o := &l.object
	switch {
	case o.Redaction == verification.RedactionRedacted:
	case o.Redaction == verification.RedactionProcessing:
		o.Redaction = verification.RedactionRedacted
		w.happens(l, verification.EventRedacted)
	case o.Status == verification.StatusProcessing:
		o.Report = w.name("vr")
		if w.draw(3) == 0 {
			o.Status = verification.StatusVerified
			w.happens(l, verification.EventVerified)
			return
		}
		w.failsWith(l, "document_expired")
	case o.Status == verification.StatusRequiresInput:
		switch w.draw(8) {
		case 0:
			w.failsWith(l, verification.CodeAbandoned)
		case 1:
			o.Status, o.Error = verification.StatusCanceled, verification.Error{}
			w.happens(l, verification.EventCanceled)
		default:
			o.Status, o.Error = verification.StatusProcessing, verification.Error{}
			w.happens(l, verification.EventProcessing)
		}
	case w.draw(6) == 0:
		o.Redaction = verification.RedactionProcessing
	case o.Status == verification.StatusVerified:
		w.failsWith(l, "selfie_face_mismatch")
	}
}

func (w *world) failsWith(l *life, code string) {
	l.object.Status, l.object.Error = verification.StatusRequiresInput, verification.Error{Code: code, Reason: "SECRET reason"}
	w.happens(l, verification.EventRequiresInput)
}

// arrives takes a webhook: the rules, and Stripe's answer if the order is ambiguous.
func (w *world) arrives(event verification.Event) {
	if w.flaw == "an event is lost" && event.Second%7 == 0 {
		return
	}
	event.RecordTime = w.now.UnixMilli()
	record := w.records[event.Object.ID]
	next, outcome := verification.Transition(record, event)
	if outcome.Ambiguous {
		next, outcome = verification.Resolve(record, event, w.read(event.Object.ID))
	}
	if outcome.Write {
		w.commit(event.Object.ID, next)
	}
}

func (w *world) read(id string) verification.Read {
	return verification.Read{
		Object: w.life(id).object, AsOf: w.now.Unix() - 1, Applied: w.records[id].Applied, RecordTime: w.now.UnixMilli(),
	}
}

// reread reads a session from Stripe and returns the record after it.
func (w *world) reread(id string) verification.Session {
	next, outcome := verification.ApplyRead(w.records[id], w.read(id))
	if outcome.Write {
		w.commit(id, next)
	}
	return w.records[id]
}

func (w *world) commit(id string, next verification.Session) {
	before, feed := w.records[id], &w.feeds[w.partition(id)]
	feed.commits = append(feed.commits, commit{before, id, len(feed.entries)})
	for revision := before.Revision + 1; revision <= next.Revision; revision++ {
		w.made++
		feed.entries = append(feed.entries, change{id, revision, w.made})
	}
	w.records[id] = next
}

// loses takes a partition's newest commits, or everything.
func (w *world) loses() {
	if w.draw(3) == 0 {
		settled := w.Era(Loss{Reason: "FLUSHALL", Everything: true})
		w.records, w.feeds = make(map[string]verification.Session), [partitions]log{}
		w.epoch++
		settled()
		return
	}
	partition := w.draw(partitions)
	loss := Loss{Reason: "failover", Affects: func(id string) bool { return w.partition(id) == partition }}
	kept := make(map[string]int32)
	if w.draw(2) == 0 {
		loss.Kept = func(id string) int32 { return kept[id] }
	}
	settled := w.Era(loss)
	feed := &w.feeds[partition]
	for range min(w.draw(5), len(feed.commits)) {
		last := feed.commits[len(feed.commits)-1]
		feed.commits, feed.entries = feed.commits[:len(feed.commits)-1], feed.entries[:last.entries]
		if delete(w.records, last.id); last.before.Exists() {
			w.records[last.id] = last.before
		}
	}
	for id, record := range w.records {
		kept[id] = record.Revision
	}
	settled()
}

// retries calls RetryVerification with replace_closed.
func (w *world) retries(id string) {
	request := &verificationv1.RetryVerificationRequest{SessionId: id, ReplaceClosed: true}
	for w.records[id].SupersededBy != "" {
		id = w.records[id].SupersededBy
	}
	record := w.reread(id)
	inherit := func(s verification.Session) verification.Session { return s }
	if record.Status == verification.StatusCanceled {
		closed, decision, changed := verification.GrantReplacement(record, w.policy, w.now, "bff", "")
		if decision.Denial != verification.DenialNone {
			w.Retry(request, nil, errUnavailable)
			return
		}
		if changed {
			w.commit(id, closed)
		}
		if w.life(id).successor == "" {
			w.life(id).successor = w.born().object.ID
		}
		inherit = func(s verification.Session) verification.Session {
			next, _ := verification.Inherit(s, closed, w.now)
			return next
		}
		successor := w.life(id).successor
		defer func(id string) {
			if next, changed := verification.Supersede(w.records[id], successor, w.now); changed {
				w.commit(id, next)
			}
		}(id)
		id = successor
		record = w.reread(id)
	}
	record = inherit(record)
	if w.flaw == "a grant is not kept" {
		record.ShownGranted = false
	}
	next, decision, _ := verification.GrantRetry(record, w.policy, w.now, "bff")
	if next.Revision != w.records[id].Revision {
		w.commit(id, next)
	}
	if decision.Denial == verification.DenialNone {
		link := w.name("link")
		w.Retry(request, &verificationv1.RetryVerificationResponse{Verification: w.shown(next, next.Current()), ClientSecret: link, Url: link + "/url"}, nil)
	}
}

// getsStatus asks with the highest revision seen, and drops it where it is lost.
func (w *world) getsStatus(id string) {
	request := &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}, MinRevision: w.highest[id]}
	record := w.records[id]
	if !record.Exists() || record.Revision < w.highest[id] {
		record = w.reread(id)
	}
	if record.Revision < w.highest[id] && w.flaw != "min_revision is ignored" {
		w.Get(request, nil, errOutOfRange)
		w.highest[id] = 0
		return
	}
	if remembered := w.memory[id]; w.flaw == "memory outlives a loss" && remembered.Revision > record.Revision {
		record = remembered
	}
	w.memory[id] = record
	w.highest[id] = record.Revision
	w.Get(request, &verificationv1.GetStatusResponse{Verification: w.shown(record, record.Current())}, nil)
}

// shown is a session as the service shows it.
func (w *world) shown(s verification.Session, change verification.Change) *verificationv1.Verification {
	if w.flaw == "the outcome is not kept" {
		s.Kept = verification.KeptOutcome{}
		change = s.ChangesAfter(change.Revision - 1)[0]
	}
	if w.flaw == "each revision is an outcome" {
		change.Outcome.Revision = change.Revision
	}
	state := change.State
	v := at(change.Revision, about(s.ID), is(state.Status), counting(state.FailedAttempts, state.RetriesGranted))
	v.OutcomeRevision, v.OutcomeId, v.Replaces = change.Outcome.Revision, change.Outcome.ID.String(), change.Replaces
	v.StripeType, v.ClientReferenceId, v.LastVerificationReport = state.Type, state.Reference, state.Report
	v.SupersededBy, v.Redaction, v.Settled = state.SupersededBy, verificationv1.Redaction(state.Redaction), state.Settled()
	v.CreateTime, v.UpdateTime = &timestamppb.Timestamp{Seconds: state.Created}, &timestamppb.Timestamp{Seconds: state.UpdateTime}
	v.Retry.OverrideOpen = state.OverrideOpen()
	if kind := verificationv1.ResolutionKind(state.Resolution.Kind); kind != 0 {
		v.Resolution = &verificationv1.Resolution{Kind: kind, Time: &timestamppb.Timestamp{Seconds: state.Resolution.Second}}
	}
	if w.flaw == "a resolution does not settle" && state.Resolution.Kind != 0 {
		state.Resolution = verification.Resolution{}
		v.Settled = state.Settled()
	}
	if !state.Error.IsZero() {
		v.LastError = &verificationv1.VerificationError{StripeCode: state.Error.Code, Reason: state.Error.Reason}
	}
	return v
}

// drawHistory draws a life of the whole, with a flaw or none, checked by nobody yet.
func drawHistory(t *rapid.T, flaw string) *history {
	w := &world{
		history: newHistory(), t: t, records: make(map[string]verification.Session), memory: make(map[string]verification.Session),
		highest: make(map[string]int32), policy: verification.RetryPolicy{MaxRetries: 2}, flaw: flaw,
	}
	w.born()
	for range rapid.IntRange(10, 150).Draw(t, "steps") {
		w.passes(3)
		w.step()
	}
	w.settles()
	return w.history
}

func (w *world) step() {
	l := w.stripe[w.draw(len(w.stripe))]
	switch w.draw(13) {
	case 0:
		if len(w.stripe) < 6 {
			w.born()
		}
	case 1, 2, 3:
		w.lives(l)
	case 4, 5, 6:
		if len(l.coming) > 0 {
			i := w.draw(len(l.coming))
			w.arrives(l.coming[i])
			l.coming = slices.Delete(l.coming, i, i+1)
		}
	case 7:
		w.getsStatus(l.object.ID)
	case 8:
		w.retries(l.object.ID)
	case 9:
		if w.draw(6) == 0 {
			w.loses()
		}
	case 10:
		w.watchesMore(l.object.ID)
	case 11:
		kind := verification.ResolutionKind(w.draw(4))
		if next, changed := verification.ResolveVerification(w.records[l.object.ID], kind, w.now, "desk"); changed {
			w.commit(l.object.ID, next)
		}
	case 12:
		for _, c := range w.watches {
			c.cut(w)
		}
	}
	for _, c := range w.watches {
		if w.draw(3) > 0 {
			c.look(w)
		}
	}
}

// settles ends every redaction, catches up, and asks everybody a last time.
func (w *world) settles() {
	for _, l := range w.stripe {
		w.passes(3)
		if l.object.Redaction == verification.RedactionProcessing {
			w.lives(l)
		}
	}
	for _, l := range w.stripe {
		for _, event := range rapid.Permutation(l.events).Draw(w.t, "caught up") {
			w.arrives(event)
		}
	}
	for _, l := range w.stripe {
		w.Truth(l.object)
		w.getsStatus(l.object.ID)
		if w.highest[l.object.ID] == 0 {
			w.getsStatus(l.object.ID)
		}
	}
	for _, c := range w.watches {
		for c.look(w) {
		}
	}
}
