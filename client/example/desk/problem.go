package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// trouble is an error in words: what happened, and what to do about it.
type trouble struct {
	Status       int
	Title        string
	Text, Advice string
	Detail       string // the service's own words
	Back         string // an address; empty: the queue
	BackText     string
	Changed      bool // the trouble is no error, but something has changed
}

type problemPage struct {
	frame
	Problem trouble
}

// problem writes a page about an error.
func (s *site) problem(w http.ResponseWriter, r *http.Request, t trouble) {
	if t.Back == "" {
		t.Back, t.BackText = "/", "Go to the queue"
	}
	f := s.frame(r, t.Title, "")
	s.render(w, t.Status, "problem", problemPage{f, t})
}

// fail writes the page for a failed call to the service.
func (s *site) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.problem(w, r, s.explain(r.Context(), err))
}

// explain returns a failed call to the service in words. A look changes nothing, so it can always be repeated. For an act, see failed.
func (s *site) explain(ctx context.Context, err error) trouble {
	detail := detailOf(err)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return trouble{Status: http.StatusNotFound, Title: "Nobody is known by that name", Text: "Neither this service nor Stripe knows it.",
			Advice: "Compare it letter by letter. A check that was erased has no reference any more: search for its session id."}
	case errors.Is(err, client.ErrInvalidRequest):
		return trouble{Status: http.StatusBadRequest, Title: "The service does not accept that", Advice: "Compare it letter by letter.", Detail: detail}
	case isUnimplemented(err):
		return trouble{Status: http.StatusConflict, Title: "The service cannot do that yet", Text: "It is an older version, or it is being updated.",
			Advice: "Try again later, or tell the people that run verification-status.", Detail: detail}
	case errors.Is(err, client.ErrPermissionDenied):
		return trouble{Status: http.StatusForbidden, Title: "That right is missing", Text: s.callerWord("may", "do") + ".",
			Advice: "Ask the people that give out rights. This desk needs: list, read, watch-all, retry and override.", Detail: detail}
	case errors.Is(err, client.ErrUnauthenticated):
		return trouble{Status: http.StatusForbidden, Title: "The service does not know this desk", Text: "It did not accept the token of this call.",
			Advice: s.tokenAdvice(), Detail: detail}
	case errors.Is(err, client.ErrStripeRefused), errors.Is(err, client.ErrStripeSessionUnknown):
		return trouble{Status: http.StatusConflict, Title: "Stripe refuses that", Text: "Another try would be refused too.",
			Advice: "Look at the check in Stripe’s Dashboard. It might have been deleted there, or the person’s account at Stripe gives no access any more.", Detail: detail}
	case errors.Is(err, client.ErrStripeNotConfigured):
		return trouble{Status: http.StatusConflict, Title: "The service cannot ask Stripe", Text: "It has no key for Stripe’s API, so it makes no links.",
			Advice: "Tell the people that run verification-status: STRIPE_API_KEY is not set.", Detail: detail}
	case isTurnedAway(err):
		return trouble{Status: http.StatusTooManyRequests, Title: "Too much at once", Text: "The service is busy with other calls, or somebody else is changing this check. Nothing was done.",
			Advice: "Try again in a few seconds.", Detail: detail, Changed: true}
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return trouble{Status: http.StatusServiceUnavailable, Title: "The service does not answer", Text: "verification-status, or Stripe behind it, cannot be reached right now.",
			Advice: "Try again in a moment. Nothing is lost meanwhile: what Stripe reports arrives later.", Detail: detail}
	}
	slog.ErrorContext(ctx, "a call failed", "error", err)
	return trouble{Status: http.StatusBadGateway, Title: "That did not work", Text: "The service answered with an error that this page does not know.",
		Advice: "Try again in a moment. If it stays, tell the people that run the desk: its log has the error.", Detail: detail}
}

// callerWord says for whose rights a call was judged.
func (s *site) callerWord(may, verb string) string {
	if s.staff.tokenHeader != "" {
		return "You " + may + " not " + verb + " that with your own token"
	}
	return "The desk " + may + " not " + verb + " that with its token"
}

func (s *site) tokenAdvice() string {
	if s.staff.tokenHeader != "" {
		return "Sign out and in again: your token might have expired."
	}
	return "Tell the people that run the desk: its token is missing, or no longer valid."
}

// detailOf returns the service's own words, or "".
func detailOf(err error) string {
	var call *client.Error
	if errors.As(err, &call) {
		return call.Message
	}
	return ""
}

// isTurnedAway reports whether the service did nothing and asks for the same call again: the caller has used up a limit, or other writers
// were faster.
func isTurnedAway(err error) bool {
	var call *client.Error
	if !errors.As(err, &call) {
		return false
	}
	return call.Reason == verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED || call.RetryAfter > 0 &&
		(call.Code.String() == "ResourceExhausted" || call.Reason == verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
}

// isUncertain reports whether a call failed without an answer of the service. It might have been done.
func isUncertain(err error) bool {
	return !isTurnedAway(err) && (errors.Is(err, client.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
}

// isUnimplemented reports whether the service is too old for a call, or is being updated from such a version.
func isUnimplemented(err error) bool {
	var call *client.Error
	return errors.As(err, &call) && call.Code.String() == "Unimplemented"
}
