package dev

import (
	"context"
	"fmt"
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/rpc"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// hooks returns the hooks through which the console observes the server.
func (c *console) hooks() app.Hooks {
	return app.Hooks{WrapStore: c.store, WrapApplier: c.applier, WrapService: c.service, ObserveWebhook: c.webhook}
}

// committed is the session that an Apply has committed. The store sets it through the context.
type committed struct{ session verification.Session }

type committedKey struct{}

// observedStore sets the committed session for observedApplier.
type observedStore struct{ store.Store }

func (c *console) store(s store.Store) store.Store {
	return observedStore{s}
}

// Update implements store.Store.
func (s observedStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	session, err := s.Store.Update(ctx, id, fn)
	if note, ok := ctx.Value(committedKey{}).(*committed); ok && err == nil {
		note.session = session
	}
	return session, err
}

type observedApplier struct {
	webhook.Applier
	console *console
}

func (c *console) applier(a webhook.Applier) webhook.Applier {
	return observedApplier{a, c}
}

// Apply implements webhook.Applier.
func (a observedApplier) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	var note committed
	outcome, err := a.Applier.Apply(context.WithValue(ctx, committedKey{}, &note), event)
	a.console.say("webhook", "%s  %s %s", strings.TrimPrefix(event.Type, "identity."), event.Object.ID, became(note.session, outcome, err))
	return outcome, err
}

// became describes the effect of an event on its session.
func became(session verification.Session, outcome verification.Outcome, err error) string {
	is := stripeStatus(session.Status, session.Error.Code, session.Revision)
	switch {
	case err != nil:
		return "could not be kept; Stripe sends it again"
	case outcome.Duplicate:
		return "was known already; still " + is
	case outcome.Effect == verification.EffectApplied && session.Redaction != verification.RedactionNone:
		return "→ " + is + ", personal data erased or being erased"
	case outcome.Effect == verification.EffectApplied:
		return "→ " + is
	case outcome.Effect == verification.EffectCounted:
		return "came late: its failure is counted; still " + is
	case outcome.Effect == verification.EffectPending:
		return "→ " + is + "; its order is not certain until Stripe is asked"
	default:
		return "came late and changes nothing; still " + is
	}
}

func stripeStatus(status, code string, revision int32) string {
	if code != "" {
		status += " (" + code + ")"
	}
	return fmt.Sprintf("%s, revision %d", status, revision)
}

// notKept describes the webhooks that do not reach the applier, by reason.
var notKept = map[webhook.Reason]string{
	webhook.ReasonNotIdentity:        "ignored: not an event of a verification session",
	webhook.ReasonOtherLivemode:      "ignored: an event of the other mode, live or test",
	webhook.ReasonOtherAccount:       "ignored: an event of another connected account",
	webhook.ReasonWrongPath:          "refused: webhooks belong to " + webhook.Path,
	webhook.ReasonWrongMethod:        "refused: webhooks are sent by POST",
	webhook.ReasonTooLarge:           "refused: the body is too large",
	webhook.ReasonUnreadable:         "refused: the body broke off",
	webhook.ReasonNotSigned:          "refused: it has no Stripe-Signature",
	webhook.ReasonMalformedSignature: "refused: its Stripe-Signature cannot be read",
	webhook.ReasonTooOld:             "refused: it was signed more than 5 minutes ago",
	webhook.ReasonInFuture:           "refused: it was signed in the future",
	webhook.ReasonWrongSignature:     "refused: it was signed with another secret",
	webhook.ReasonMalformed:          "refused: it is signed, but no usable event",
	webhook.ReasonOverloaded:         "refused: too many at once; Stripe sends it again",
}

// webhook prints a webhook that does not reach the applier.
func (c *console) webhook(r webhook.Result) {
	if text, ok := notKept[r.Reason]; ok {
		c.say("webhook", "%s (%d)", text, r.Status)
	}
}

// observedService prints retries and watches.
type observedService struct {
	verificationv1.VerificationServiceServer
	console *console
}

func (c *console) service(s verificationv1.VerificationServiceServer) verificationv1.VerificationServiceServer {
	return observedService{s, c}
}

// RetryVerification implements the RPC.
func (s observedService) RetryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	response, err := s.VerificationServiceServer.RetryVerification(ctx, request)
	v, left := response.GetVerification(), ""
	if retry := v.GetRetry(); retry != nil {
		left = fmt.Sprintf("retries left: %d", retry.GetRetriesRemaining())
	}
	switch {
	case err != nil:
		s.console.say("retry", "%s refused: %s", request.GetSessionId(), strings.TrimPrefix(rpc.Message(err), "no retry: "))
	case v.GetSessionId() != request.GetSessionId():
		s.console.say("retry", "%s granted: replaced by %s, %s", request.GetSessionId(), v.GetSessionId(), left)
	default:
		s.console.say("retry", "%s granted: a fresh link, %s, revision %d", v.GetSessionId(), left, v.GetRevision())
	}
	return response, err
}

// WatchStatus implements the RPC.
func (s observedService) WatchStatus(request *verificationv1.WatchStatusRequest, stream verificationv1.VerificationService_WatchStatusServer) error {
	return s.VerificationServiceServer.WatchStatus(request, &observedStream{VerificationService_WatchStatusServer: stream, console: s.console, request: request})
}

// observedStream prints a watch at its first response. A watch that finds no session has no response.
type observedStream struct {
	verificationv1.VerificationService_WatchStatusServer
	console *console
	request *verificationv1.WatchStatusRequest
	opened  bool
}

// Send implements the stream.
func (s *observedStream) Send(response *verificationv1.WatchStatusResponse) error {
	err := s.VerificationService_WatchStatusServer.Send(response)
	if s.opened || err != nil {
		return err
	}
	s.opened = true
	v := response.GetVerification()
	switch {
	case s.request.GetAllSessions() != nil:
		s.console.say("watch", "all sessions: opened")
	case v == nil: // resumed without a new change
		s.console.say("watch", "%s: resumed", s.subject())
	default:
		s.console.say("watch", "%s: opened at %s", v.GetSessionId(), stripeStatus(v.GetStripeStatus(), v.GetLastError().GetStripeCode(), v.GetRevision()))
	}
	return nil
}

func (s *observedStream) subject() string {
	if id := s.request.GetSessionId(); id != "" {
		return id
	}
	return "a person's newest session"
}
