package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// deed is one act of one person on one session.
type deed struct {
	*site
	session string
	act     act
	seen    int32 // the outcome that the person saw
}

func (d deed) allow(ctx context.Context) error {
	_, err := d.status.AllowRetry(ctx, d.session, client.SeenOutcome(d.seen))
	d.audit(ctx, "", err)
	return err
}

func (d deed) resolve(ctx context.Context, k kind) error {
	_, err := d.status.Resolve(ctx, d.session, k.kind, client.SeenOutcome(d.seen))
	d.audit(ctx, k.Value, err)
	return err
}

// link makes a link for the person. The call has no condition on the outcome, so link reads the outcome first. What comes in between is
// judged by the service: it grants a retry for a failure once, and none after a verification.
func (d deed) link(ctx context.Context) (*client.Link, error) {
	v, err := d.status.Status(ctx, client.Session(d.session))
	if err == nil && v.GetOutcomeRevision() != d.seen {
		err = errOutcomeMoved
	}
	var link *client.Link
	if err == nil {
		var options []client.RetryOption
		if v.GetStatus() == verificationv1.Status_STATUS_CANCELED {
			options = append(options, client.ReplaceClosed(d.returnURL))
		}
		link, err = d.status.Retry(ctx, d.session, options...)
	}
	d.audit(ctx, "", err)
	return link, err
}

// audit logs the act. If the desk has one token for all, the service's history names the desk, and this line names the person. It has
// no link and no reference.
func (d deed) audit(ctx context.Context, kind string, err error) {
	attributes := []any{"person", personOf(ctx).name, "session_id", d.session, "act", d.act.name, "outcome_revision", d.seen}
	if kind != "" {
		attributes = append(attributes, "kind", kind)
	}
	if err != nil {
		d.logger.WarnContext(ctx, "an act at the desk failed", append(attributes, "error", err)...)
		return
	}
	d.logger.InfoContext(ctx, "an act at the desk", attributes...)
}

// failed returns a failed act in words. An act without an answer might have been done: only a look tells.
func (d deed) failed(ctx context.Context, err error) trouble {
	var denied *client.RetryDeniedError
	var t trouble
	switch {
	case errors.Is(err, client.ErrOutcomeChanged), errors.Is(err, errOutcomeMoved):
		return changed(d.session)
	case errors.As(err, &denied):
		t = trouble{Status: http.StatusConflict, Title: "That was refused", Text: upperFirst(denials[denied.Denial]), Changed: true, Advice: "Nothing was changed."}
		if denials[denied.Denial] == "" {
			t.Text = "The service refuses it for a reason that this page does not know."
		}
		if denied.SupersededBy != "" {
			t.Back, t.BackText = sessionPath(denied.SupersededBy), "Look at the newer check"
			return t
		}
	case isUncertain(err):
		t = d.explain(ctx, err)
		t.Title, t.Text = "It is not known whether that was done", "The service does not answer right now."
		t.Advice = "Look again in a moment: the story says whether it was done. Doing it again is safe."
	default:
		t = d.explain(ctx, err)
	}
	t.Back, t.BackText = sessionPath(d.session), "Look at the story"
	return t
}

func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// linkPage shows a link once. It is in this answer and nowhere else: not in an address, a log or a cookie.
type linkPage struct {
	frame
	Session, Reference string
	URL                string
	New                string // the session that took the place of a closed one
}

func (s *site) showLink(w http.ResponseWriter, r *http.Request, id string, link *client.Link) {
	v := link.Verification
	page := linkPage{frame: s.frame(r, "The new link", ""), Session: id, Reference: v.GetClientReferenceId(), URL: link.URL.Reveal()}
	if v.GetSessionId() != "" && v.GetSessionId() != id {
		page.New = v.GetSessionId()
	}
	if page.URL == "" {
		slog.ErrorContext(r.Context(), "Stripe gave a link for its own components only, and none for its page", "session_id", id)
		s.problem(w, r, trouble{Status: http.StatusConflict, Title: "Stripe gave no link", Text: "This check can be continued on your own page only.", Advice: "Ask the person to open your page.", Back: sessionPath(id), BackText: "Look at the story"})
		return
	}
	s.render(w, http.StatusOK, "link", page)
}
