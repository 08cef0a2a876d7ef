package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// act is what a person at the desk can do to a session.
type act struct {
	name   string // in addresses and in the log
	button string // on the story
	title  string // the question
	about  string // what will happen
	sure   string // the button that does it
	done   string // said afterwards
	// fits reports whether the act makes sense now. The service decides nevertheless.
	fits func(*verificationv1.Verification) bool
}

var acts = map[string]act{
	"allow": {
		name: "allow", button: "Allow one more try", title: "Allow one more try?",
		about: "The person can submit once more, although the rules say no. It is for this one failure: if they fail again, somebody has to decide again.",
		sure:  "Allow one more try", done: "You allowed one more try. The person can use it on your page, or with a new link from here.",
		fits: func(v *verificationv1.Verification) bool {
			closed := v.GetRetry().GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED // then it is for the check that replaces it
			return slices.Contains(canAllow, v.GetRetry().GetDenial()) || closed && !v.GetRetry().GetOverrideOpen()
		},
	},
	"link": {
		name: "link", button: "New link to send", title: "Make a new link?",
		about: "You get a link to Stripe’s page, to give to this person and to nobody else. It works once, for 48 hours. After a failure, it uses one of the person’s tries.",
		sure:  "Make the link",
		fits: func(v *verificationv1.Verification) bool {
			return v.GetRetry().GetAllowed() || v.GetRetry().GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED
		},
	},
	"resolve": {
		name: "resolve", button: "Dealt with elsewhere", title: "How was this person dealt with?",
		about: "The person leaves the queue, and no retry is granted until somebody takes it back. Stripe’s status stays as it is.",
		sure:  "Mark as dealt with", done: "You marked this person as dealt with.",
		fits: func(v *verificationv1.Verification) bool { return v.GetResolution() == nil && !isOver(v) },
	},
	"take-back": {
		name: "take-back", button: "Take the mark back", title: "Take the mark “dealt with” back?",
		about: "The person returns to the queue if they still need help, and retries follow the rules again.",
		sure:  "Take it back", done: "You took the mark back.",
		fits: func(v *verificationv1.Verification) bool { return v.GetResolution() != nil },
	},
}

// isOver reports whether nobody needs to deal with a session any more.
func isOver(v *verificationv1.Verification) bool {
	return v.GetStatus() == verificationv1.Status_STATUS_VERIFIED || v.GetSupersededBy() != "" || v.GetRedaction() != 0
}

// button leads to the question of an act.
type button struct {
	Name, Text, Path string
	First            bool // the act that is most likely meant
}

// actsOf returns the acts that make sense for a session. Each address has the outcome that the page shows.
func actsOf(v *verificationv1.Verification) []button {
	var all []button
	for _, name := range []string{"allow", "link", "resolve", "take-back"} {
		if a := acts[name]; a.fits(v) && (name != "allow" || !mightNotNeedIt(v)) {
			all = append(all, button{name, a.button, actPath(v, name), len(all) == 0})
		}
	}
	return all
}

// mightNotNeedIt reports whether the replacement of a closed session can be allowed without an operator. The session does not say so;
// without a retry left it is not. If the service refuses a link, the page of the refusal leads to the question.
func mightNotNeedIt(v *verificationv1.Verification) bool {
	return v.GetRetry().GetDenial() == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED && v.GetRetry().GetRetriesRemaining() > 0
}

// canAllow has the denials that AllowRetry lifts.
var canAllow = []verificationv1.RetryDenial{
	verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED, verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE, verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN,
}

func actPath(v *verificationv1.Verification, name string) string {
	return sessionPath(v.GetSessionId()) + "/" + name + "?" + url.Values{"seen": {number(v.GetOutcomeRevision())}}.Encode()
}

// actTimeout bounds an act. A link can take several requests to Stripe.
const actTimeout = 30 * time.Second

type actPage struct {
	frame
	Session, Reference string
	Now                state
	Failure            *failure
	Title, About, Sure string
	Form               string // the address of the form
	Token              string // of the form
	Seen, Mark, Open   string // what the person sees: the outcome, the resolution, and whether an allowance is open
	Kinds              []kind
	Missing            bool // no kind was chosen
	Replaces           bool // a link begins a new check
	Back               string
}

// confirm asks once before an act, and shows what the session is now.
func (s *site) confirm(w http.ResponseWriter, r *http.Request) { s.ask(w, r, http.StatusOK, false) }

func (s *site) ask(w http.ResponseWriter, r *http.Request, status int, missing bool) {
	id, a, ok := actIn(r)
	if !ok {
		s.nothing(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	v, err := s.status.Status(ctx, client.Session(id))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if isUnguarded(v) {
		s.problem(w, r, beingUpdated(id))
		return
	}
	if seen := r.FormValue("seen"); seen != "" && seen != number(v.GetOutcomeRevision()) {
		s.problem(w, r, changed(id))
		return
	}
	if !a.fits(v) {
		s.problem(w, r, doesNotFit(id, v, s.clock()))
		return
	}
	page := actPage{
		frame: s.frame(r, a.title, ""), Session: id, Reference: v.GetClientReferenceId(), Now: stateOf(v, s.clock()),
		Title: a.title, About: a.about, Sure: a.sure, Form: sessionPath(id) + "/" + a.name,
		Seen: number(v.GetOutcomeRevision()), Mark: markOf(v), Open: strconv.FormatBool(v.GetRetry().GetOverrideOpen()),
		Token: s.formToken(r, id, a.name), Missing: missing, Back: sessionPath(id),
		Replaces: a.name == "link" && v.GetStatus() == verificationv1.Status_STATUS_CANCELED,
	}
	if v.GetLastError() != nil {
		words := wordsOf(v.GetLastError())
		page.Failure = &words
	}
	if a.name == "resolve" {
		page.Kinds = kinds
	}
	s.render(w, status, "act", page)
}

// actIn returns the session and the act in the address of a request.
func actIn(r *http.Request) (id string, a act, ok bool) {
	id = r.PathValue("id")
	a, ok = acts[r.PathValue("act")]
	return id, a, ok && isSession(id)
}

// formToken returns what a form must have in it: another site cannot make it, and neither can another person at the desk.
func (s *site) formToken(r *http.Request, id, name string) string {
	return s.staff.seal("form", personOf(r.Context()).name, id, name)
}

// do does an act.
func (s *site) do(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	id, a, ok := actIn(r)
	if !ok {
		s.nothing(w, r)
		return
	}
	if !s.staff.opens(r.PostFormValue("token"), formFor, "form", personOf(r.Context()).name, id, a.name) {
		s.problem(w, r, trouble{Status: http.StatusForbidden, Title: "This page was open for too long", Text: "Nothing was changed.", Advice: "Look again, and decide then.", Back: sessionPath(id), BackText: "Look again"})
		return
	}
	seen, err := strconv.ParseInt(r.PostFormValue("seen"), 10, 32)
	if err != nil || seen < 0 {
		s.problem(w, r, changed(id))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actTimeout)
	defer cancel()
	deed := deed{site: s, session: id, act: a, seen: int32(seen), mark: r.PostFormValue("mark"), open: r.PostFormValue("open")}
	said := a.name
	switch a.name {
	case "link":
		link, err := deed.link(ctx)
		if err != nil {
			s.problem(w, r, deed.failed(ctx, err))
			return
		}
		s.showLink(w, r, id, link)
		return
	case "allow":
		var opened bool
		if opened, err = deed.allow(ctx); !opened {
			said = unneeded
		}
	case "resolve":
		chosen, known := kindOf(r.PostFormValue("kind"))
		if !known {
			s.ask(w, r, http.StatusUnprocessableEntity, true)
			return
		}
		err = deed.resolve(ctx, chosen)
	case "take-back":
		err = deed.resolve(ctx, kind{Value: "none"})
	}
	if err != nil {
		s.problem(w, r, deed.failed(ctx, err))
		return
	}
	http.Redirect(w, r, s.donePath(r, id, said), http.StatusSeeOther)
}

func kindOf(value string) (kind, bool) {
	for _, one := range kinds {
		if one.Value == value {
			return one, true
		}
	}
	return kind{}, false
}

// markOf returns the resolution of a session for a comparison. "" is none.
func markOf(v *verificationv1.Verification) string {
	mark := v.GetResolution()
	if mark == nil {
		return ""
	}
	return number(int32(mark.GetKind())) + "@" + mark.GetTime().AsTime().Format(time.RFC3339Nano) + " " + mark.GetPrincipal()
}

// isUnguarded reports whether the outcome of a session has no number. A replica of an older version answers so during an update.
// Without the number no act can be bound to what the person saw: to the service, 0 is no condition.
func isUnguarded(v *verificationv1.Verification) bool { return v.GetOutcomeRevision() < 1 }

func beingUpdated(id string) trouble {
	return trouble{Status: http.StatusServiceUnavailable, Title: "The service is being updated", Text: "It does not say which outcome this check has. Nothing was changed.",
		Advice: "Look again in a minute.", Back: sessionPath(id), BackText: "Look again", Changed: true}
}

// changed is the page for a person that has seen something else than what is now.
func changed(id string) trouble {
	return trouble{Status: http.StatusConflict, Title: "Something has changed since you looked", Text: "Stripe has reported something new about this person, or somebody else has marked them or allowed a try. Nothing was changed by you.",
		Advice: "Look again, and decide then.", Back: sessionPath(id), BackText: "Look again", Changed: true}
}

// doesNotFit is the page for an act that makes no sense any more, most often because somebody else has done it.
func doesNotFit(id string, v *verificationv1.Verification, times clock) trouble {
	now := stateOf(v, times)
	return trouble{Status: http.StatusConflict, Title: "That is not needed any more", Text: fmt.Sprintf("%s. %s", now.Title, now.Text),
		Advice: "Somebody else might have been faster. The story says who.", Back: sessionPath(id), BackText: "Look at the story", Changed: true}
}

var (
	errChanged   = errors.New("the outcome, the resolution or the allowance is another one than the person saw")
	errUnguarded = errors.New("the service does not say which outcome the session has")
)
