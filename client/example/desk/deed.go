package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// deed is one act of one person on one session.
type deed struct {
	*site
	session    string
	act        act
	seen       int32  // the outcome that the person saw
	mark, open string // the resolution that the person saw, and whether an allowance was open
}

// allow allows one more try. It reports whether an allowance is open now: if a retry was allowed anyway, none is needed.
func (d deed) allow(ctx context.Context) (opened bool, err error) {
	err = d.perform(ctx, "", func(*verificationv1.Verification) (result, error) {
		v, err := d.status.AllowRetry(ctx, d.session, client.SeenOutcome(d.seen))
		if opened = v.GetRetry().GetOverrideOpen(); !opened {
			return notNeeded, err
		}
		return done, err
	})
	return opened, err
}

func (d deed) resolve(ctx context.Context, k kind) error {
	return d.perform(ctx, k.Value, func(*verificationv1.Verification) (result, error) {
		_, err := d.status.Resolve(ctx, d.session, k.kind, client.SeenOutcome(d.seen))
		return done, err
	})
}

// link makes a link for the person. The call has no condition on the outcome. What comes between the look and the call is judged by the
// service: it grants a retry for a failure once, and none after a verification.
func (d deed) link(ctx context.Context) (link *client.Link, err error) {
	err = d.perform(ctx, "", func(v *verificationv1.Verification) (result, error) {
		var options []client.RetryOption
		if v.GetStatus() == verificationv1.Status_STATUS_CANCELED {
			options = append(options, client.ReplaceClosed(d.returnURL))
		}
		link, err = d.status.Retry(ctx, d.session, options...)
		return done, err
	})
	return link, err
}

// perform looks, makes the call of an act if the person saw what is now, and logs both. The service compares the outcome once more with
// the call. It does not compare the resolution: of two marks within a moment the later one holds.
func (d deed) perform(ctx context.Context, kind string, call func(*verificationv1.Verification) (result, error)) error {
	log := d.audit(ctx, kind)
	v, err := d.look(ctx)
	if err != nil {
		log.ended(ctx, refusedResult, err)
		return notBegun{err}
	}
	result, err := call(v)
	switch {
	case err != nil && isUncertain(err):
		result = unknown
	case err != nil:
		result = refusedResult
	}
	log.ended(ctx, result, err)
	return err
}

// look returns the session if it is what the person saw.
func (d deed) look(ctx context.Context) (*verificationv1.Verification, error) {
	v, err := d.status.Status(ctx, client.Session(d.session))
	switch {
	case err != nil:
		return nil, err
	case isUnguarded(v):
		return nil, errUnguarded
	case v.GetOutcomeRevision() != d.seen, markOf(v) != d.mark, strconv.FormatBool(v.GetRetry().GetOverrideOpen()) != d.open:
		return nil, errChanged
	}
	return v, nil
}

// notBegun is the error of an act that failed before its call.
type notBegun struct{ error }

func (e notBegun) Unwrap() error { return e.error }

// failed returns a failed act in words. An act without an answer might have been done: only a look tells.
func (d deed) failed(ctx context.Context, err error) trouble {
	var denied *client.RetryDeniedError
	var t trouble
	switch {
	case errors.Is(err, client.ErrOutcomeChanged), errors.Is(err, errChanged):
		return changed(d.session)
	case errors.Is(err, errUnguarded):
		return beingUpdated(d.session)
	case errors.As(err, new(notBegun)):
		t = d.explain(ctx, err)
		t.Text = "Nothing was changed. " + t.Text
	case errors.As(err, &denied):
		t = trouble{Status: http.StatusConflict, Title: "That was refused", Text: upperFirst(denials[denied.Denial]), Changed: true, Advice: "Nothing was changed."}
		if denials[denied.Denial] == "" {
			t.Text = "The service refuses it for a reason that this page does not know."
		}
		if denied.SupersededBy != "" {
			t.Back, t.BackText = sessionPath(denied.SupersededBy), "Look at the newer check"
			return t
		}
		if d.act.name == "link" && slices.Contains(canAllow, denied.Denial) {
			t.Back, t.BackText = sessionPath(d.session)+"/allow", acts["allow"].button
			return t
		}
	case isUncertain(err):
		t = d.explain(ctx, err)
		t.Title, t.Text = "It is not known whether that was done", "The service does not answer right now."
		t.Advice = "Look again in a moment: the story says whether it was done. The desk looks too before it does it again."
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
