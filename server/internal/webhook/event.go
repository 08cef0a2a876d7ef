package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// withoutEvent answers a body that holds no event to apply.
func (h *Handler) withoutEvent(ctx context.Context, err error) Result {
	malformed := (*stripeevent.MalformedError)(nil)
	left, came := (*stripeevent.DeauthorizedError)(nil), (*stripeevent.AuthorizedError)(nil)
	switch {
	case errors.As(err, &malformed):
		h.config.Logger.Warn("webhook: malformed event", "event_id", malformed.EventID, "reason", malformed.Reason)
		return Result{Status: http.StatusBadRequest, Reason: ReasonMalformed}
	case errors.As(err, &left):
		if reason := h.foreign(left.Livemode, false, left.Account); reason != "" {
			return Result{Status: http.StatusOK, Reason: reason}
		}
		h.config.Logger.Warn("webhook: a connected account has revoked its permission", "event_id", left.EventID, "account", left.Account)
		return h.noted(ReasonDeauthorized, left.EventID, left.Account, h.config.Deauthorized(ctx, left.Account, left.Second))
	case errors.As(err, &came):
		if reason := h.foreign(came.Livemode, false, came.Account); reason != "" {
			return Result{Status: http.StatusOK, Reason: reason}
		}
		h.config.Logger.Info("webhook: a connected account has given its permission", "event_id", came.EventID, "account", came.Account)
		return h.noted(ReasonNotIdentity, came.EventID, came.Account, h.config.Authorized(ctx, came.Account, came.Second))
	case errors.Is(err, stripeevent.ErrPing):
		h.config.Logger.Info("webhook: the event destination was pinged")
		return Result{Status: http.StatusOK, Reason: ReasonPing}
	default:
		return Result{Status: http.StatusOK, Reason: ReasonNotIdentity}
	}
}

// noted returns the answer to an event about the permission of an account. err is what the hook returned.
func (h *Handler) noted(reason Reason, event, account string, err error) Result {
	if err != nil {
		h.config.Logger.Error("webhook: event not kept, Stripe will send it again", "event_id", event, "account", account, "error", err)
		return Result{Status: http.StatusServiceUnavailable, Reason: ReasonApplyFailed}
	}
	return Result{Status: http.StatusOK, Reason: reason}
}

// foreign returns why an event of a mode and an account is ignored, or "".
func (h *Handler) foreign(livemode, modeUnknown bool, account string) Reason {
	switch {
	case h.config.Livemode != nil && !modeUnknown && *h.config.Livemode != livemode:
		return ReasonOtherLivemode
	case !h.config.Accounts.Accept(account):
		return ReasonOtherAccount
	default:
		return ""
	}
}

// logFailure writes a line about an event that was not kept.
func (h *Handler) logFailure(ctx context.Context, event verification.Event, result Result, err error) {
	text, level := "webhook: event not kept, Stripe will send it again", slog.LevelError
	switch {
	case result.Status == http.StatusOK:
		text, level = "webhook: thin event ignored: another delivery would not help", slog.LevelWarn
	case result.Reason == ReasonStripeAway:
		level = slog.LevelWarn
	}
	h.log(ctx, level, text, event, slog.String("reason", string(result.Reason)), slog.String("account", event.Object.Account), slog.Any("error", err))
}

// log writes a line about an event. It builds the record itself: a child logger and the source position would cost an allocation for
// each event.
func (h *Handler) log(ctx context.Context, level slog.Level, text string, event verification.Event, attrs ...slog.Attr) {
	if !h.config.Logger.Enabled(ctx, level) {
		return
	}
	line := slog.NewRecord(time.Now(), level, text, 0)
	line.AddAttrs(slog.String("event_id", event.ID), slog.String("type", event.Type), slog.String("session_id", event.Object.ID))
	line.AddAttrs(attrs...)
	_ = h.config.Logger.Handler().Handle(ctx, line) // the error of a log cannot be logged
}
